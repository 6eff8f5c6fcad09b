"""Connections of the user's own: psycopg's, asyncpg's, and SQLAlchemy's over either, from asynchronous code and not.

Laws kept here: no driver is imported for this, as whoever has such a connection has done so; what a driver does not let
others do at once is done while nobody else can; a step that has begun ends before anybody hears of a cancellation.
"""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from struct import unpack_from
from typing import Any

from psycopg import Error, errors
from psycopg.pq import PipelineStatus, TransactionStatus

from perdure._work import ClientItem, Outcome
from perdure.errors import UsageError
from perdure.storage.lending import uninterrupted
from perdure.storage.postgres.failures import FailedError, LostError
from perdure.storage.postgres.joining import Runs, Store, join, not_begun
from perdure.storage.postgres.wire import Call, Rows, Wire

KINDS = "an asyncpg, psycopg or SQLAlchemy connection to the store's database (SQLAlchemy's over asyncpg or psycopg)"

_TYPE = re.compile(r"\$(\d+)::(\w+(?:\[\])?)")
_SCALARS: dict[str, Callable[[bytes], Any]] = {
    "bigint": lambda value: unpack_from(">q", value)[0],
    "boolean": lambda value: value != b"\x00",
    "bytea": lambda value: value,
    "text": lambda value: value.decode(),
}


async def join_guest(connection: Any, store: Store, statements: Mapping[str, str], item: ClientItem) -> Outcome:
    """Make an item part of the transaction that a connection of the user's is in.

    Raises:
        UsageError: It is of no kind that we know, or in no transaction that the item could be part of.
        StorageError: As the failure means.
    """
    driver = await _driver_of(connection)
    if _is_of(driver, "asyncpg"):
        return await _join_asyncpg(driver, store, statements, item)
    if not _is_of(driver, "psycopg") or not hasattr(driver, "pgconn"):
        raise UsageError(f"connection= is {connection!r}: pass {KINDS}")
    work = _PsycopgWork(driver, store, statements, item)
    if asyncio.iscoroutinefunction(driver.execute):
        if work.is_to_begin():
            await driver.execute("SELECT 1")
        async with driver.lock:
            return await uninterrupted(asyncio.to_thread(work))
    return await uninterrupted(asyncio.to_thread(work.alone))


class _PsycopgWork:
    """An item joins the transaction of a connection of psycopg's."""

    def __init__(self, driver: Any, store: Store, statements: Mapping[str, str], item: ClientItem) -> None:
        self._driver = driver
        self._store = store
        self._statements = statements
        self._item = item

    def is_to_begin(self) -> bool:
        """Whether the driver would begin a transaction with the next statement.

        Raises:
            UsageError: The connection can't be used for this.
        """
        driver, raw = self._driver, self._driver.pgconn
        if driver.closed:
            raise UsageError("connection= is closed")
        if raw.pipeline_status != PipelineStatus.OFF:
            raise UsageError("connection= is in pipeline mode: leave it first, what is asked here needs its answers")
        match raw.transaction_status:
            case TransactionStatus.IDLE if driver.autocommit:
                raise UsageError(not_begun("connection="))
            case TransactionStatus.IDLE:
                return True
            case TransactionStatus.ACTIVE:
                raise UsageError("connection= is at work for somebody else: use it in one task or thread at a time")
            case _:
                return False

    def alone(self) -> Outcome:
        """The whole of it, for a synchronous connection."""
        if self.is_to_begin():
            self._driver.execute("SELECT 1")
        with self._driver.lock:
            return self()

    def __call__(self) -> Outcome:
        """The part for which nobody else may use the connection; blocks."""
        wire = Wire.over(self._driver.pgconn, self._statements)
        try:
            return join(wire, self._store, self._item)
        finally:
            wire.release()


async def _join_asyncpg(driver: Any, store: Store, statements: Mapping[str, str], item: ClientItem) -> Outcome:
    if driver.is_closed():
        raise UsageError("connection= is closed")
    if not driver.is_in_transaction():
        raise UsageError(not_begun("connection="))
    guest = _Asyncpg(driver, statements, asyncio.get_running_loop())
    return await uninterrupted(asyncio.to_thread(join, guest, store, item))


class _Asyncpg(Runs):
    """Runs statements over asyncpg's connection, from another thread than that of its event loop."""

    def __init__(self, driver: Any, statements: Mapping[str, str], loop: asyncio.AbstractEventLoop) -> None:
        self._driver = driver
        self._statements = statements
        self._loop = loop

    def run(self, calls: Sequence[Call]) -> list[Rows]:
        """Their answers."""
        return asyncio.run_coroutine_threadsafe(self._run(calls), self._loop).result()

    async def _run(self, calls: Sequence[Call]) -> list[Rows]:
        answers: list[Rows] = []
        for place, (name, values) in enumerate(calls):
            sql = self._statements[name]
            try:
                rows = await self._driver.fetch(sql, *_python_values(sql, values))
            except Exception as exc:  # noqa: BLE001 - of a driver that is not imported here
                raise _failure(exc, place) from None
            answers.append([tuple(row) for row in rows])
        return answers


def _failure(exc: Exception, place: int) -> Exception:
    state = getattr(exc, "sqlstate", None)
    if not isinstance(state, str) or state.startswith("08"):
        return LostError(f"{type(exc).__name__}: {exc}")
    try:
        kind: type[Error] = errors.lookup(state)
    except KeyError:
        kind = Error
    return FailedError(kind(str(exc)), place)


def _python_values(sql: str, values: Sequence[bytes | None]) -> list[Any]:
    """The values of a statement as Python has them; their types stand in the statement."""
    types = {int(place): name for place, name in _TYPE.findall(sql)}
    return [_python_value(types[place], value) for place, value in enumerate(values, start=1)]


def _python_value(type_: str, value: bytes | None) -> Any:
    if value is None:
        return None
    if not type_.endswith("[]"):
        return _SCALARS[type_](value)
    convert = _SCALARS[type_.removesuffix("[]")]
    found: list[Any] = []
    if not unpack_from(">i", value)[0]:
        return found
    (count,) = unpack_from(">i", value, 12)
    at = 20
    for _ in range(count):
        (size,) = unpack_from(">i", value, at)
        at += 4
        if size < 0:
            found.append(None)
            continue
        found.append(convert(value[at : at + size]))
        at += size
    return found


async def _driver_of(connection: Any) -> Any:
    """The driver's own connection behind what the user has, in a transaction if that is to be in one."""
    if not _is_of(connection, "sqlalchemy"):
        return connection
    kinds = {kind.__name__ for kind in type(connection).__mro__}
    if kinds & {"AsyncSession", "async_scoped_session"}:
        connection = await connection.connection()
        kinds = {"AsyncConnection"}
    if "AsyncConnection" in kinds:
        # SQLAlchemy begins with the first statement.
        await connection.exec_driver_sql("SELECT 1")
        return (await connection.get_raw_connection()).driver_connection
    if not kinds & {"Session", "scoped_session", "Connection"}:
        raise UsageError(f"connection= is {connection!r}: pass a Connection or Session of SQLAlchemy's, begun")
    return await uninterrupted(asyncio.to_thread(_driver_of_synchronous, connection))


def _driver_of_synchronous(connection: Any) -> Any:
    if hasattr(connection, "get_bind"):
        connection = connection.connection()
    connection.exec_driver_sql("SELECT 1")
    return connection.connection.driver_connection


def _is_of(thing: object, package: str) -> bool:
    return any(kind.__module__.partition(".")[0] == package for kind in type(thing).__mro__)
