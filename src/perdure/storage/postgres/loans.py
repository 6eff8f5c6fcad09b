"""Connections that the store lends to activities, whose commit carries the activity's end.

Laws kept here: the end of the task is judged in the transaction that the activity has filled, so what a worker does
that has lost its work is rolled back; who commits by himself is found out, and his task has not ended by that.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from perdure._ports import Entropy
from perdure._work import Outcome, Refused, TaskDone
from perdure.errors import StorageUnavailableError, UsageError
from perdure.storage.lending import uninterrupted
from perdure.storage.postgres.arrays import text, texts
from perdure.storage.postgres.changes import writes
from perdure.storage.postgres.failures import FailedError, LostError, meaning, no_connection
from perdure.storage.postgres.joining import Store, judged
from perdure.storage.postgres.listener import channel_of
from perdure.storage.postgres.session import commit
from perdure.storage.postgres.wire import Call, Wire

T = TypeVar("T")

LOANS_IDLE_MAX = 8
"""Connections that are kept for the next activity, of those for coroutines and of those for threads."""

_NOT_YOURS = (
    "the transaction of a transactional activity is committed with its result, and rolled back with its error: return, "
    "or raise"
)


class _Lent(psycopg.Connection[Any]):
    """For an activity in a thread."""

    def commit(self) -> NoReturn:
        """Not the activity's to do."""
        raise UsageError(_NOT_YOURS)

    def rollback(self) -> NoReturn:
        """Not the activity's to do."""
        raise UsageError(_NOT_YOURS)


class _AsyncLent(psycopg.AsyncConnection[Any]):
    """For an activity that is a coroutine."""

    async def commit(self) -> NoReturn:
        """Not the activity's to do."""
        raise UsageError(_NOT_YOURS)

    async def rollback(self) -> NoReturn:
        """Not the activity's to do."""
        raise UsageError(_NOT_YOURS)


class Loans:
    """The connections that a store lends to activities."""

    def __init__(self, conninfo: str, statements: Mapping[str, str], store: Store, entropy: Entropy) -> None:
        self.statements = statements
        self.store = store
        self._conninfo = conninfo
        self._entropy = entropy
        self._lock = threading.Lock()
        self._idle: dict[bool, list[Any]] = {True: [], False: []}
        self._closed = False

    def mark(self) -> str:
        """Something that no other transaction has."""
        return self._entropy.token().hex()

    def take(self, *, is_async: bool) -> Any | None:
        """A connection that was kept."""
        with self._lock:
            idle = self._idle[is_async]
            return idle.pop() if idle else None

    async def connect(self, *, is_async: bool) -> Any:
        """A new one.

        Raises:
            StorageError: It can't be had.
        """
        try:
            if is_async:
                return await _AsyncLent.connect(self._conninfo, prepare_threshold=None)
            return await uninterrupted(asyncio.to_thread(_Lent.connect, self._conninfo, prepare_threshold=None))
        except psycopg.Error as exc:
            raise no_connection(str(exc), self.store.place) from None

    def give_back(self, connection: Any, *, is_async: bool) -> None:
        """It is in no transaction, and nothing is left in its session."""
        with self._lock:
            idle = self._idle[is_async]
            if not self._closed and len(idle) < LOANS_IDLE_MAX:
                idle.append(connection)
                return
        connection.pgconn.finish()

    def close(self) -> None:
        """Close what nobody has."""
        with self._lock:
            self._closed = True
            connections = [each for idle in self._idle.values() for each in idle]
            self._idle = {True: [], False: []}
        for each in connections:
            each.pgconn.finish()


class PostgresLoan:
    """One of them, for one attempt."""

    def __init__(self, loans: Loans, *, is_async: bool) -> None:
        self._loans = loans
        self._is_async = is_async
        self._mark = loans.mark()
        self._lock = threading.Lock()
        self._connection: Any = None
        self._used = False
        """Whether a thread is with it."""
        self._dropped = False

    @property
    def connection(self) -> Any:
        """What the activity is given."""
        return self._connection

    @property
    def is_lost(self) -> bool:
        """Whether the server has gone."""
        return self._connection is not None and bool(self._connection.broken)

    async def open(self) -> None:
        """Begin a transaction."""
        kept = self._loans.take(is_async=self._is_async)
        if kept is not None:
            try:
                await uninterrupted(asyncio.to_thread(self._begin, kept))
            except (LostError, FailedError):
                # It has died while nobody used it.
                kept.pgconn.finish()
            else:
                return
        connection = await self._loans.connect(is_async=self._is_async)
        try:
            await uninterrupted(asyncio.to_thread(self._begin, connection))
        except LostError as exc:
            raise StorageUnavailableError(f"{self._loans.store.place} broke the connection: {exc}") from None
        except FailedError as exc:
            raise meaning(exc.error, self._loans.store.place, self._loans.store.schema) from None

    def _begin(self, connection: Any) -> None:
        self._connection = connection
        wire = Wire.over(connection.pgconn, self._loans.statements)
        wire.run([("begin", ()), ("mark_transaction", (text(self._mark),))])
        wire.release()

    def guarded(self, function: Callable[[Any], T]) -> Callable[[Any], T]:
        """The same function; if nobody waits for its end, the connection is closed with it, and not before."""

        def guard(argument: Any) -> T:
            if self._use(used=True):
                raise asyncio.CancelledError
            try:
                return function(argument)
            finally:
                if self._use(used=False):
                    self._connection.pgconn.finish()

        return guard

    def _use(self, *, used: bool) -> bool:
        """A thread begins or ends with it; returns whether nobody waits for that any more."""
        with self._lock:
            self._used = used
            return self._dropped

    async def land(self, done: TaskDone, worker: int) -> Outcome:
        """Commit, together with the end of the task."""
        return await asyncio.to_thread(self._land, done, worker)

    def _land(self, done: TaskDone, worker: int) -> Outcome:
        store, raw = self._loans.store, self._connection.pgconn
        self._check(raw)
        try:
            wire = Wire.over(raw, self._loans.statements)
            [[(mark,)]] = wire.run([("transaction_mark", ())])
            if mark != self._mark:
                raise UsageError(_NOT_YOURS)
            outcome, working = judged(wire, store, done, worker)
            if isinstance(outcome, Refused):
                return outcome
            channels = [*map(channel_of, working.woken), *([store.channel] if working.news else [])]
            tell: list[Call] = [("count_change", ())]
            if channels:
                tell.append(("notify", (texts(channels),)))
            last: list[Call] = [*writes(working), ("check_constraints", ())]
            commit(wire, last, store.place, [*tell, ("reset_session", ())])
            wire.release()
        except FailedError as exc:
            raise meaning(exc.error, store.place, store.schema) from None
        except LostError as exc:
            raise StorageUnavailableError(f"{store.place} broke the connection: {exc}") from None
        connection, self._connection = self._connection, None
        self._loans.give_back(connection, is_async=self._is_async)
        return outcome

    def _check(self, raw: Any) -> None:
        match raw.transaction_status:
            case TransactionStatus.INTRANS:
                return
            case TransactionStatus.INERROR:
                raise UsageError(
                    "the activity has returned although a statement of its transaction had failed, which can't be "
                    "committed any more: raise the error, or try such statements in `connection.transaction()`"
                )
            case TransactionStatus.UNKNOWN:
                raise StorageUnavailableError(f"{self._loans.store.place} broke the connection")
            case _:
                raise UsageError(_NOT_YOURS)

    async def drop(self) -> None:
        """Let nothing have happened: the server rolls back what a connection has left."""
        with self._lock:
            self._dropped = True
            if self._used or self._connection is None:
                return
        self._connection.pgconn.finish()
