"""`SqliteStorage`: the storage contract and the inspector over one SQLite file."""

import os
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from msgspec.structs import replace

from perdure._events import MIN_READER
from perdure._ports import Clock, Entropy, SystemClock, SystemEntropy
from perdure._work import (
    APPLIED,
    Batch,
    ClientItem,
    Committed,
    HistoryRow,
    Lapsed,
    Outcome,
    Reaped,
    Scan,
    Serves,
    ShardStamp,
    Standing,
    Turn,
    WorkerRecord,
)
from perdure.errors import OutcomeUnknownError, StorageError, UsageError
from perdure.storage.base import LEASE_US, PASSING_US, SERVES
from perdure.storage.clock import ForwardClock
from perdure.storage.lending import LENT_US
from perdure.storage.sqlite.batches import apply_items
from perdure.storage.sqlite.claims import take
from perdure.storage.sqlite.connection import Connection
from perdure.storage.sqlite.files import Durability, connect, locate
from perdure.storage.sqlite.guard import refuse_fork, watch
from perdure.storage.sqlite.inspector import SqliteInspector, lapsed, read_history, read_standings
from perdure.storage.sqlite.lending import BUSY_LENT_S, Lending, LentTransaction, SqliteLoan, join_lent
from perdure.storage.sqlite.locks import WorkerLocks
from perdure.storage.sqlite.migrations import migrate
from perdure.storage.sqlite.parcels import read_stamp
from perdure.storage.sqlite.sessions import look_after
from perdure.storage.sqlite.single import apply_alone, apply_singly
from perdure.storage.sqlite.statements import STATEMENTS
from perdure.storage.sqlite.steps import UnexpectedError
from perdure.storage.sqlite.tokens import LastCommits
from perdure.storage.sqlite.transaction import Transaction
from perdure.storage.sqlite.workers import (
    Places,
    add_worker,
    bury,
    draw_number,
    hold_unknown,
    proven_dead,
    remove_workers,
)

BUSY_TIMEOUT_S = 30.0
"""How long a call waits for other processes that have the database locked, in seconds."""

ODD_MAX = 10_000
"""Instances whose turns are judged since one of their batches was not as expected; then that is forgotten."""

_REMEMBER_TOKEN = STATEMENTS["remember_token"]
_HEARTBEAT_CACHE_KIB = 256
_READER_CACHE_KIB = 4_096


class SqliteStorage(SqliteInspector):
    """A store in one SQLite file, which any number of processes of this machine may have open.

    It is both `Storage` and `Inspector`. What a call has returned from is on the disk. Threads may share it: the
    inspector's calls and `heartbeat` run beside a `commit`, other calls of the storage wait for each other.

    Args:
        path: The file; it is made, readable for its owner only, if its folder is there.
        clock: The store's clock; the machine's by default.
        entropy: Where worker ids come from; the operating system by default.
        durability: "full" survives a power loss with all that was acknowledged; "normal" survives a crash of the
            process or of the operating system's users, and may lose the last moments in a power loss.
        busy_timeout_s: How long a call waits for other processes, in seconds; then it raises `StorageBusyError`.
        allow_shared: Allow a network or FUSE file system, where SQLite's locks may not hold.
        create: Make a file that is not there; otherwise it is a `StorageError`.

    Raises:
        StorageError: The file can't be used; the message says why and what to do.
        ForeignDatabaseError: The file is something else; it was left as it is.
        SchemaVersionError: The file was written by a newer release.

    Example:
        >>> storage = SqliteStorage("orders.db")  # doctest: +SKIP
        >>> storage.workers()  # doctest: +SKIP
        []
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        clock: Clock | None = None,
        entropy: Entropy | None = None,
        durability: Durability = "full",
        busy_timeout_s: float = BUSY_TIMEOUT_S,
        allow_shared: bool = False,
        create: bool = True,
    ) -> None:
        if durability not in ("full", "normal"):
            raise UsageError(f'durability must be "full" or "normal", not {durability!r}')
        self.path = locate(path, allow_shared=allow_shared, create=create)
        self._clock = ForwardClock(clock or SystemClock())
        self._entropy = entropy or SystemEntropy()
        self._pid = os.getpid()
        self._closed = False
        self._connect = partial(connect, self.path, durability=durability, busy_timeout_s=busy_timeout_s)
        self._opening = threading.Lock()
        self._heart: Connection | None = None
        self._reader: Connection | None = None
        # On a shared file system a lock that is free proves nothing.
        self._locks = None if allow_shared else WorkerLocks(self.path)
        self._numbers: set[int] = set()
        self._last_commits = LastCommits()
        self._odd: set[int] = set()
        self._places = Places()
        self._wake: Callable[[], None] = _nobody
        self._writer = self._connect()
        try:
            migrate(self._writer, busy_timeout_s=busy_timeout_s)
            self.opened_as = read_stamp(self._writer, None)
        except BaseException:
            self._writer.close()
            raise
        patience = min(busy_timeout_s, BUSY_LENT_S)
        self._lending = Lending(
            self.path,
            partial(self._connect, busy_timeout_s=patience),
            self.now,
            lambda: self._wake(),  # noqa: PLW0108 - whoever is to be woken may come later
        )
        self._unwatch = watch(self, self.path)
        self._seen = self._data_version()

    def now(self) -> int:
        """The store's time, in microseconds UTC; never less than before."""
        return self._clock.now_us()

    def register(
        self,
        *,
        name: str,
        orchestrations: Sequence[str],
        activities: Sequence[str],
        serves: Serves = SERVES,
        lease_us: int = LEASE_US,
        reader: int = MIN_READER,
    ) -> WorkerRecord:
        """Make a worker row with a fresh random id (63 bits) and take over what dead workers left behind."""
        writer = self._ready()
        dead = proven_dead(writer, self._locks)
        number = draw_number(self._entropy)
        if self._locks is not None:
            self._locks.take(number)
        try:
            with writer.writing():
                transaction = Transaction(execute=writer.execute, now=self._clock.now_us())
                buried, _ = bury(transaction, dead, spared=None)
                record = add_worker(
                    transaction, number, name, (orchestrations, activities, serves), lease_us=lease_us, reader=reader
                )
        except BaseException:
            if self._locks is not None:
                self._locks.drop(number, remove=True)
            raise
        self._forget(buried)
        self._numbers.add(number)
        return record

    def heartbeat(self, worker: int, /) -> bool:
        """Extend the worker's lease; False when its row is gone. May be called from another thread."""
        # Beside a commit, on a connection of its own; but `changed` would take such a beat for somebody else's commit,
        # and an idle worker would look after each of its own.
        heart = self._ready()
        if heart.is_busy:
            with self._opening:
                if self._heart is None:
                    self._heart = self._connect(page_cache_kib=_HEARTBEAT_CACHE_KIB)
                heart = self._heart
        with heart.writing():
            heart.execute(STATEMENTS["extend_lease"], (worker, self._clock.now_us()))
            return heart.wrote

    def unregister(self, worker: int, /) -> None:
        """Release at once everything that the worker owns, and remove its row."""
        writer = self._ready()
        with writer.writing():
            transaction = Transaction(execute=writer.execute, now=self._clock.now_us())
            remove_workers(transaction, [worker], died=False)
        self._numbers.discard(worker)
        if self._locks is not None:
            self._locks.drop(worker, remove=True)

    def reap(self, worker: int, /) -> Reaped:
        """Bury dead workers, and hold what waits in vain for code."""
        writer = self._ready()
        dead = proven_dead(writer, self._locks)
        reaped, buried, places = Reaped(), list[int](), self._places
        with writer.writing():
            if writer.execute(STATEMENTS["worker"], (worker,)).get is not None:
                transaction = Transaction(execute=writer.execute, now=self._clock.now_us())
                buried, left = bury(transaction, dead, spared=worker)
                held, places = hold_unknown(transaction, places)
                transaction.execute(STATEMENTS["remove_passing_entries"], (transaction.now - PASSING_US,))
                transaction.execute(STATEMENTS["forget_starts"], (transaction.now,))
                freed = look_after(transaction, worker)
                reaped = Reaped(buried=len(buried), held=held, workers=left, sessions=freed)
        self._places = places
        self._forget(buried)
        return reaped

    def commit(self, batch: Batch, /) -> Committed:
        """Apply the items in order, then claim; all in one transaction. Durable when it returns."""
        writer = self._ready()
        try:
            return self._commit(writer, batch)
        except UnexpectedError:
            # Nothing was applied. Whatever of it is otherwise than expected may be so again with its next turns.
            if len(self._odd) > ODD_MAX:
                self._odd.clear()
            self._odd.update(item.incarnation for item in batch.items if isinstance(item, Turn))
            return self._commit(writer, batch)

    def _commit(self, writer: Connection, batch: Batch) -> Committed:
        worker, alone = batch.worker, None
        try:
            with writer.writing():
                transaction = Transaction(
                    execute=writer.execute,
                    now=self._clock.now_us(),
                    worker=worker,
                    connection=writer.raw,
                    odd=self._odd,
                )
                alone = apply_alone(transaction, batch)
                if alone is not None:
                    committed = Committed(now=transaction.now, outcomes=(APPLIED,))
                else:
                    committed, worker = self._apply(writer, transaction, batch)
                wrote = writer.wrote
        except OutcomeUnknownError:
            if worker is not None:
                self._last_commits.broke_off(worker, batch.token, alone)
            raise
        if worker is not None:
            # A batch that changed nothing left no mark in the file either.
            self._last_commits.came_back(worker, batch.token, marked=wrote and alone is None)
        return committed

    def _apply(self, writer: Connection, transaction: Transaction, batch: Batch) -> tuple[Committed, int | None]:
        """Apply the items and claim; the worker too, or None if somebody has buried it."""
        worker = transaction.worker
        if worker is not None:
            # Says in one step that the worker is there, too; alone it is no reason to touch the disk.
            writer.execute(_REMEMBER_TOKEN, (worker, batch.token))
            if not writer.wrote:
                worker = None
                transaction = replace(transaction, worker=None)
            writer.discount()
        outcomes = apply_singly(transaction, batch.items)
        if len(outcomes) < len(batch.items):
            outcomes += apply_items(transaction, batch.items[len(outcomes) :])
        work = None
        if worker is not None and batch.claim is not None:
            work = take(transaction, batch.claim)
        return Committed(now=transaction.now, outcomes=tuple(outcomes), work=work), worker

    def wake_by(self, wake: Callable[[], None], /) -> None:
        """Have `wake` called, from another thread, when a transaction that was lent here has been committed."""
        self._wake = wake

    def lend(self, limit_us: int) -> LentTransaction:
        """A transaction of the users' own, on tables of theirs and on what a client asks for."""
        self._ready()
        return self._lending.lend(limit_us)

    def loan(self, *, is_async: bool) -> SqliteLoan:  # noqa: ARG002 - one kind serves both
        """A transaction for an attempt of an activity."""
        return SqliteLoan(self.lend(LENT_US))

    async def join(self, connection: Any, item: ClientItem, /) -> Outcome:
        """Make an item part of a transaction that was lent."""
        self._ready()
        return await join_lent(self.path, connection, item)

    def applied(self, worker: int, token: bytes, /) -> bool | None:
        """Whether the worker's last commit was the one with this token; None when its row is gone."""
        writer = self._ready()
        with writer.alone():
            return self._last_commits.is_last(writer.execute, worker, token)

    def standings(self, worker: int, tasks: Sequence[tuple[int, int, int]], /) -> list[Standing]:
        """How these tasks, which the worker runs, stand now."""
        return read_standings(self._ready(), worker, tasks)

    def history(self, incarnation: int, execution: int, /) -> list[HistoryRow]:
        """All rows of one execution, in order."""
        return read_history(self._ready(), incarnation, execution)

    def lapsed(self, scan: Scan, /) -> Lapsed:
        """What need not be kept any more, among a few instances."""
        return lapsed(self._read(), scan)

    def changed(self) -> bool:
        """Whether another connection may have committed since the last call of `changed`."""
        self._ready()
        version = self._data_version()
        changed, self._seen = version != self._seen, version
        return changed

    def close(self) -> None:
        """Release files and connections; harmless when repeated, and in a forked child it does nothing.

        A worker that was not unregistered looks dead from now on, and its work is taken over.
        """
        if self._closed or os.getpid() != self._pid:
            return
        self._closed = True
        self._lending.close()
        for connection in (self._reader, self._heart, self._writer):
            if connection is not None:
                connection.close()
        self._unwatch()
        if self._locks is not None:
            for number in self._numbers:
                self._locks.drop(number, remove=False)

    def stamp(self, stamp: ShardStamp | None = None, /) -> ShardStamp | None:
        """Which shard this is; `stamp` is what it becomes if it is none yet."""
        return read_stamp(self._ready(), stamp)

    def identity(self) -> str:
        """What no other store has."""
        found = os.stat(self.path)
        return f"{found.st_dev} {found.st_ino}"

    def inherited(self) -> list[object]:
        """What a forked child must never close."""
        lent = self._lending.connections
        return [each.raw for each in (self._writer, self._heart, self._reader, *lent) if each is not None]

    def _ready(self) -> Connection:
        refuse_fork(self._pid, self.path)
        if self._closed:
            raise StorageError(f"the store {self.path} is closed: open it again, or close it later")
        return self._writer

    def _read(self) -> Connection:
        self._ready()
        with self._opening:
            if self._reader is None:
                reader = self._connect(page_cache_kib=_READER_CACHE_KIB)
                reader.raw.pragma("query_only", 1)
                self._reader = reader
        return self._reader

    def log_bytes(self) -> int:
        """How long the file of the write-ahead log is: longer and longer while somebody reads in one transaction."""
        try:
            return os.stat(f"{self.path}-wal").st_size
        except OSError:
            return 0

    def _data_version(self) -> int:
        # On the writing connection, because the number moves with the commits of all connections but one's own.
        with self._writer.alone():
            return int(self._writer.execute(STATEMENTS["data_version"]).get)

    def _forget(self, buried: list[int]) -> None:
        """Remove the locks of workers that we have buried."""
        if self._locks is not None:
            for number in buried:
                self._locks.remove(number)


def _nobody() -> None:
    """Nobody is woken."""
