"""Write transactions that the store lends: its users' own tables are in the same file, and one writes at a time.

Laws kept here: a connection that is lent is the engine's own kind, because two SQLite libraries on one file in one
process lose each other's locks; whoever has one holds the only writer, so it is taken back after its time, also from
a statement that runs; the store's own tables are changed by the store alone, and only it ends a transaction.
"""

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from re import MULTILINE, findall
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import apsw

from perdure._work import ClientItem, Item, Outcome, Refusal, Refused, TaskDone
from perdure.errors import StorageError, UsageError
from perdure.storage.lending import uninterrupted
from perdure.storage.sqlite.batches import apply_items
from perdure.storage.sqlite.connection import Connection, meaning
from perdure.storage.sqlite.migrations import MIGRATIONS
from perdure.storage.sqlite.statements import STATEMENTS
from perdure.storage.sqlite.transaction import Transaction
from perdure.storage.sqlite.turnstile import Turnstile

T = TypeVar("T")

LENT_IDLE_MAX = 4
"""Connections that are kept for the next one."""

BUSY_LENT_S = 5.0
"""How long one who borrows waits at most for the writer, in seconds."""

_CHANGES = frozenset({
    apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_DELETE, apsw.SQLITE_DROP_TABLE, apsw.SQLITE_DROP_INDEX,
    apsw.SQLITE_DROP_TRIGGER, apsw.SQLITE_DROP_VIEW,
})  # fmt: skip
_CHANGING = _CHANGES | {apsw.SQLITE_ALTER_TABLE, apsw.SQLITE_CREATE_INDEX, apsw.SQLITE_CREATE_TRIGGER}
"""What changes a table; those that are not in `_CHANGES` name it second."""
_NEVER = frozenset({apsw.SQLITE_TRANSACTION, apsw.SQLITE_ATTACH, apsw.SQLITE_DETACH})
_PASSING = frozenset({
    apsw.SQLITE_CREATE_TEMP_INDEX, apsw.SQLITE_CREATE_TEMP_TABLE, apsw.SQLITE_CREATE_TEMP_TRIGGER,
    apsw.SQLITE_CREATE_TEMP_VIEW,
})  # fmt: skip
"""They would outlive the transaction, and hide the store's tables from it."""
_ENDS = frozenset({"commit", "rollback", "roll_back", "close", "begin"})
_NOT_THE_STATEMENT = (apsw.BusyError, apsw.LockedError, apsw.FullError, apsw.IOError, apsw.CorruptError)


@cache
def _tables() -> frozenset[str]:
    """The names of all that is the store's own."""
    pattern = r"^CREATE (?:TABLE|INDEX|UNIQUE INDEX|TRIGGER|VIEW) (\w+)"
    return frozenset(name for script in MIGRATIONS.values() for name in findall(pattern, script, MULTILINE))


class Lending:
    """The connections that a store lends.

    Args:
        path: The store's file.
        connect: Makes a connection.
        now_us: The store's time.
        committed: Called when something that was lent has been committed, from the thread that did.
    """

    def __init__(
        self, path: str, connect: Callable[[], Connection], now_us: Callable[[], int], committed: Callable[[], None]
    ) -> None:
        self.path = path
        self._connect = connect
        self._now_us = now_us
        self._committed = committed
        self._lock = threading.Lock()
        self._idle: list[_Guarded] = []
        self._all: list[Connection] = []
        self._closed = False
        self.turnstile = Turnstile()

    def lend(self, limit_us: int) -> "LentTransaction":
        """A transaction that has not begun."""
        return LentTransaction(self, limit_us)

    @property
    def connections(self) -> list[Connection]:
        """All that there are."""
        return self._all

    def close(self) -> None:
        """Close what nobody has; what somebody has is closed when it comes back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for each in idle:
            each.connection.close()

    def take(self) -> "_Guarded":
        """A connection."""
        with self._lock:
            if self._closed:
                raise StorageError(f"the store {self.path} is closed: open it again, or close it later")
            if self._idle:
                return self._idle.pop()
        guarded = _Guarded(self._connect())
        with self._lock:
            self._all.append(guarded.connection)
        return guarded

    def give_back(self, guarded: "_Guarded") -> None:
        """It is not used any more."""
        with self._lock:
            if not self._closed and len(self._idle) < LENT_IDLE_MAX:
                self._idle.append(guarded)
                return
            self._all.remove(guarded.connection)
        guarded.connection.close()

    def apply(self, guarded: "_Guarded", item: Item, worker: int | None) -> Outcome:
        """Make an item part of the transaction."""
        connection = guarded.connection
        try:
            if worker is not None and connection.execute(STATEMENTS["worker"], (worker,)).get is None:
                return Refused(reason=Refusal.FENCED)
            transaction = Transaction(execute=connection.raw.execute, now=self._now_us(), worker=worker)
            return apply_items(transaction, [item])[0]
        except apsw.Error as exc:
            raise meaning(exc, self.path) from exc

    def tell(self) -> None:
        """Something was committed."""
        self._committed()


class _Guarded:
    """A connection on which its users can change what is theirs and nothing else."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.is_theirs = False
        """Whether what is prepared now is a statement of theirs."""
        self.refused = ""
        connection.raw.authorizer = self._judge

    def _judge(self, operation: int, first: str | None, second: str | None, _database: Any, _trigger: Any) -> int:
        if not self.is_theirs:
            return apsw.SQLITE_OK
        if operation in _NEVER:
            self.refused = "begins, ends or widens the transaction, which only the block around it does"
        elif operation in _CHANGING and (changed := first if operation in _CHANGES else second) in _tables():
            self.refused = f"would change {changed}, which is the store's own"
        elif operation in _PASSING:
            self.refused = "makes something temporary, on a connection that others get after you"
        elif operation == apsw.SQLITE_PRAGMA and second is not None:
            self.refused = f"sets PRAGMA {first}, on a connection that is not yours"
        else:
            return apsw.SQLITE_OK
        return apsw.SQLITE_DENY


class Borrowed:
    """A lent transaction as its users have it, a `perdure.Transaction`: its end is not theirs to make."""

    __slots__ = ("_lent",)

    def __init__(self, lent: "LentTransaction") -> None:
        self._lent = lent

    def execute(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = (), /) -> list[tuple[Any, ...]]:
        """The rows of a statement, all of them."""
        return self._lent.execute(sql, values)

    def executemany(self, sql: str, rows: Iterable[Sequence[Any] | Mapping[str, Any]], /) -> None:
        """The same statement for each row of values."""
        self._lent.executemany(sql, rows)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            cure = "it has execute, which returns all rows, and executemany"
            if name in _ENDS:
                cure = "it is committed with the activity's result or its block's end, and rolled back by raising"
            raise AttributeError(f"a transaction that the store lends has no {name!r}: {cure}")


class LentTransaction:
    """What is lent. Threads may share it."""

    def __init__(self, lending: Lending, limit_us: int) -> None:
        self._lending = lending
        self._limit_us = limit_us
        self._lock = threading.RLock()
        self._gate = threading.Lock()
        self._runs = False
        """Whether a statement of theirs runs; only such may be interrupted, and it changes only with the gate."""
        self._guarded: _Guarded | None = None
        self._timer: threading.Timer | None = None
        self._ended: Exception | None = None
        self._has_turn = False
        self.is_lost = False
        """Whether the file could not be written."""

    @property
    def theirs(self) -> Borrowed:
        """What its users get."""
        return Borrowed(self)

    @property
    def path(self) -> str:
        """The file whose transaction it is."""
        return self._lending.path

    def execute(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = (), /) -> list[tuple[Any, ...]]:
        """The rows of a statement, all of them."""
        # Never one that was prepared for the store.
        return self._run(lambda cursor: list(cursor.execute(sql, values, can_cache=False)), sql)

    def executemany(self, sql: str, rows: Iterable[Sequence[Any] | Mapping[str, Any]], /) -> None:
        """The same statement for each row of values."""
        self._run(lambda cursor: list(cursor.executemany(sql, rows, can_cache=False)), sql)

    def _run(self, function: Callable[[Any], list[tuple[Any, ...]]], sql: str) -> list[tuple[Any, ...]]:
        with self._lock:
            guarded = self._begun()
            try:
                return self._run_theirs(guarded, function)
            except apsw.AuthError:
                raise UsageError(f"the statement {sql!r} {guarded.refused or 'is not allowed here'}") from None
            except apsw.InterruptError:
                raise self._end(self._late()) from None
            except _NOT_THE_STATEMENT as exc:
                self.is_lost = True
                raise self._end(meaning(exc, self.path)) from exc
            finally:
                if not guarded.connection.raw.in_transaction:
                    # SQLite does so for some errors, and for who asks for it ("OR ROLLBACK").
                    self._end(UsageError("a statement has rolled this transaction back: begin another"))

    def _run_theirs(self, guarded: _Guarded, function: Callable[[Any], list[tuple[Any, ...]]]) -> list[tuple[Any, ...]]:
        cursor = guarded.connection.raw.cursor()
        guarded.refused, guarded.is_theirs = "", True
        with self._gate:
            self._runs = True
        try:
            return function(cursor)
        finally:
            with self._gate:
                self._runs = False
            guarded.is_theirs = False
            # As long as there is a statement that has begun, an interruption holds, for a rollback too.
            cursor.close(True)  # noqa: FBT003 - apsw's own

    async def open(self) -> None:
        """Take the writer, when those who came before have given it back.

        Raises:
            StorageUnavailableError: It could not be had.
        """
        await self._lending.turnstile.enter()
        self._has_turn = True
        await uninterrupted(asyncio.to_thread(self._begin))

    def _begin(self) -> None:
        with self._lock:
            try:
                self._begun()
            except BaseException:
                self._end(UsageError("this transaction could not begin"))
                raise

    def apply(self, item: Item, worker: int | None = None) -> Outcome:
        """Make an item part of it.

        Raises:
            StorageError: As the failure means; the transaction is rolled back with it.
        """
        with self._lock:
            guarded = self._begun()
            try:
                return self._lending.apply(guarded, item, worker)
            except StorageError as error:
                # A part of it may be there, or all is rolled back already and what follows would commit by itself.
                self.is_lost = True
                self._end(error)
                raise

    @property
    def is_open(self) -> bool:
        """Whether it can still be used."""
        return self._ended is None

    def land(self, done: TaskDone, worker: int) -> Outcome:
        """Commit, with the end of the task whose activity has it; a refusal rolls back."""
        with self._lock:
            outcome = self.apply(done, worker)
            if isinstance(outcome, Refused):
                self.roll_back()
            else:
                self.commit()
            return outcome

    def commit(self) -> None:
        """Make it durable.

        Raises:
            TimeoutError: It was taken back before; nothing has happened.
            StorageUnavailableError: Nothing has happened.
            OutcomeUnknownError: It is there or not.
        """
        with self._lock:
            guarded = self._begun()
            self._leave(UsageError("this transaction is committed: begin another"))
            try:
                guarded.connection.end(None, schema=True)
            finally:
                self._pass_on(guarded)
        self._lending.tell()

    def roll_back(self) -> None:
        """Let nothing of it have happened; harmless when it has ended."""
        with self._lock:
            self._end(UsageError("this transaction was rolled back: begin another"))

    def _begun(self) -> _Guarded:
        if self._ended is not None:
            raise self._ended
        if self._guarded is not None:
            return self._guarded
        guarded = self._lending.take()
        try:
            guarded.connection.begin()
        except BaseException:
            self.is_lost = True
            self._lending.give_back(guarded)
            raise
        self._guarded = guarded
        self._timer = threading.Timer(self._limit_us / 1e6, self._take_back)
        self._timer.daemon = True
        self._timer.start()
        return guarded

    def _take_back(self) -> None:
        guarded = self._guarded
        while guarded is not None and not self._lock.acquire(timeout=0.001):
            with self._gate:
                if self._runs:
                    guarded.connection.raw.interrupt()
        if guarded is None:
            return
        try:
            if self._guarded is guarded:
                self._end(self._late())
        finally:
            self._lock.release()

    def _late(self) -> TimeoutError:
        return TimeoutError(
            f"the transaction was rolled back: it held the only writer of {self.path} for longer than "
            f"{self._limit_us / 1e6:g} s; do what takes long before it begins"
        )

    def _end(self, why: Exception) -> Exception:
        guarded = self._guarded
        if self._ended is None:
            self._leave(why)
        try:
            if guarded is not None:
                guarded.connection.end(why, schema=False)
        finally:
            self._pass_on(guarded)
        return why

    def _leave(self, why: Exception) -> None:
        self._guarded, self._ended = None, why
        if self._timer is not None:
            self._timer.cancel()

    def _pass_on(self, guarded: _Guarded | None) -> None:
        if guarded is not None:
            self._lending.give_back(guarded)
        if self._has_turn:
            self._has_turn = False
            self._lending.turnstile.leave()


class SqliteLoan:
    """One of these for an attempt of an activity."""

    def __init__(self, lent: LentTransaction) -> None:
        self._lent = lent
        self.connection = lent.theirs

    @property
    def is_lost(self) -> bool:
        """Whether the file could not be written."""
        return self._lent.is_lost

    async def open(self) -> None:
        """Take the writer."""
        await self._lent.open()

    def guarded(self, function: Callable[[Any], T]) -> Callable[[Any], T]:
        """The same: what a thread does after the end is refused."""
        return function

    async def land(self, done: TaskDone, worker: int) -> Outcome:
        """Commit, together with the end of the task."""
        return await asyncio.to_thread(self._lent.land, done, worker)

    async def drop(self) -> None:
        """Let nothing have happened."""
        if self._lent.is_open:
            await asyncio.to_thread(self._lent.roll_back)


async def join_lent(path: str, connection: Any, item: ClientItem) -> Outcome:
    """Make an item part of a transaction that was lent.

    Raises:
        UsageError: It was not, or by another store.
    """
    if not isinstance(connection, Borrowed):
        raise UsageError(
            f"connection= is {connection!r}: a store in a SQLite file takes only what it lends itself, by `async with "
            "client.transaction() as tx:`, because another SQLite library in this process would lose its locks"
        )
    lent = connection._lent  # noqa: SLF001 - of this very module
    if lent.path != path:
        raise UsageError(f"connection= is a transaction on {lent.path}, and this store is {path}")
    return lent.apply(item)
