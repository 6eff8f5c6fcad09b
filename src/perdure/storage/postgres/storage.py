"""`PostgresStorage`: the storage contract and the inspector over a schema of a PostgreSQL database."""

import asyncio
import logging
import os
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, TypeVar

from msgspec.structs import replace

from perdure._events import MIN_READER
from perdure._ports import Clock, Entropy, SystemClock, SystemEntropy
from perdure._work import (
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
    WorkerRecord,
)
from perdure.errors import ForkedError, StorageError
from perdure.storage.base import LEASE_US, SERVES, Meanwhile
from perdure.storage.clock import ForwardClock
from perdure.storage.lanes import read_lane
from perdure.storage.postgres import migrations
from perdure.storage.postgres.acknowledged import Acknowledged
from perdure.storage.postgres.arrays import bigint, boolean, bytea, texts
from perdure.storage.postgres.batches import Batches
from perdure.storage.postgres.claims import claims, decode, give_places
from perdure.storage.postgres.guests import join_guest
from perdure.storage.postgres.horizon import Horizon
from perdure.storage.postgres.inspector import PostgresInspector, lapsed, read_standings
from perdure.storage.postgres.joining import Store
from perdure.storage.postgres.listener import Listener, channel_of, channel_of_all
from perdure.storage.postgres.loans import Loans, PostgresLoan
from perdure.storage.postgres.moments import ServerTime
from perdure.storage.postgres.open_starts import OpenStarts
from perdure.storage.postgres.parcels import stamp_of, stamped
from perdure.storage.postgres.readers import Readers
from perdure.storage.postgres.reaping import look, tidy
from perdure.storage.postgres.session import Session, begin, check_transactions, commit
from perdure.storage.postgres.statements import read_statements
from perdure.storage.postgres.transaction import Transaction
from perdure.storage.postgres.url import parse
from perdure.storage.postgres.wire import Call, Rows, Wire
from perdure.storage.postgres.workers import Places, bury, draw_number, hold_unknown, new_worker, removal

LOOK_US = 20_000
"""How often a worker that hears nothing asks at most whether others have committed, in microseconds."""

LOOK_LISTENING_US = 250_000
"""The same for one that listens, and so is told of work; it is for those who wait for instances of other workers."""

T = TypeVar("T")

_log = logging.getLogger("perdure.storage")


class PostgresStorage(PostgresInspector):
    """A store in a schema of a PostgreSQL database, which any number of processes on any machines may have open.

    It is both `Storage` and `Inspector`. What a call has returned from is on the server's disk, as far as the server's
    own settings say so. Threads may share it: the inspector's calls and `heartbeat` run beside a `commit`, other calls
    of the storage wait for each other.

    Args:
        url: `postgresql://user:password@host:port/database`, with `?schema=name` for another schema than "perdure" and
            the connection options of libpq (`sslmode` ...).
        clock: Where time comes from between two answers of the server, whose clock is the store's. A clock that is not
            the machine's own is taken for the store's, which is for tests.
        entropy: Where worker ids and jitter come from; the operating system by default.
        relaxed: Let commits be acknowledged before they are on the server's disk.
        create: Make a schema that is not there; otherwise it is a `StorageError`.

    Raises:
        UsageError: The URL can't be understood.
        StorageError: The server or the schema can't be used; the message says why and what to do.
        SchemaVersionError: The schema was written by a release that this one can't share it with.

    Example:
        >>> storage = PostgresStorage("postgresql://shop@db.example/shop?schema=orders")  # doctest: +SKIP
        >>> storage.workers()  # doctest: +SKIP
        []
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Clock | None = None,
        entropy: Entropy | None = None,
        relaxed: bool = False,
        create: bool = True,
    ) -> None:
        target = parse(url)
        self.place, self._schema, self._conninfo = target.place, target.schema, target.conninfo
        self._statements = read_statements(target.schema)
        self._entropy = entropy or SystemEntropy()
        self._relaxed = relaxed
        clock = clock or SystemClock()
        self._injected = None if isinstance(clock, SystemClock) else ForwardClock(clock)
        self._server_time = ServerTime(clock)
        self._pid = os.getpid()
        self._clock = clock
        self._own_changes = self._next_look = 0
        self._workers: set[int] = set()
        self._places = Places()
        self._is_alone = False
        self._wake: Callable[[], None] = lambda: None
        self._meanwhile: Meanwhile | None = None
        self._listener: Listener | None = None
        self._store: Store | None = None
        self.opened_as: ShardStamp | None = None
        store = Store(target.place, target.schema, (), channel_of_all(target.schema), self._moment)
        self._loans = Loans(target.conninfo, self._statements, store, self._entropy)
        session = partial(Session, place=target.place, schema=target.schema, entropy=self._entropy)
        self._writer, self._heart = session(partial(self._connect, commits=True)), session(self._connect)
        self._readers = Readers(partial(session, self._connect))
        self._horizon = Horizon(target.place, clock)
        self._acknowledged, self._open_starts = Acknowledged(target.place), OpenStarts(target.schema)
        try:
            self._writer.attempt(partial(self._open, create=create))
            self._seen = self._changes()
        except BaseException:
            self.close()
            raise

    def _connect(self, *, commits: bool = False) -> Wire:
        return Wire(self._conninfo, self._statements, commits=commits)

    def _open(self, wire: Wire, *, create: bool) -> None:
        _, encoding, _, _, fsync, synchronous = wire.server
        if encoding != "UTF8":
            raise StorageError(f"{self.place} is encoded in {encoding}: create a database with encoding UTF8")
        check_transactions(wire, self.place)
        migrations.check(wire, self._schema, self.place, create=create)
        if (fsync, synchronous) != ("on", "on") and not self._relaxed:
            _log.warning(
                "%s may lose acknowledged commits in a crash: fsync is %s, synchronous_commit is %s",
                self.place, fsync, synchronous,
            )  # fmt: skip
        [[(now,)], stamps] = wire.run([("clock", ()), ("shard", ())])
        self._server_time.heard(now)
        self.opened_as = stamp_of(stamps)

    def now(self) -> int:
        """The store's time, in microseconds UTC; never less than before."""
        return self._server_time.now_us() if self._injected is None else self._injected.now_us()

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
        number = draw_number(self._entropy)

        def work(wire: Wire) -> WorkerRecord:
            transaction = self._begin(wire)
            _, calls = bury(transaction, spared=0)
            record, added = new_worker(
                number,
                name,
                (orchestrations, activities, serves),
                now=transaction.now,
                lease_us=lease_us,
                reader=reader,
            )
            commit(wire, [*calls, *added], self.place, self._tell())
            self._own_changes += 1
            return record

        record = self._write(work)
        self._workers.add(number)
        self._is_alone = False
        if self._injected is None:
            self._listen(number)
        return record

    def wake_by(self, wake: Callable[[], None], /) -> None:
        """Have `wake` called, from another thread, when others have left something for a worker of this handle."""
        self._wake = wake

    def while_waiting(self, work: Meanwhile, /) -> None:
        """Have `work` called, by the thread that commits, while the server is at the end of a commit."""
        self._meanwhile = work

    def _listen(self, worker: int) -> None:
        """Listen for this worker, and no more for one before it."""
        if self._listener is not None:
            self._listener.stop()
        self._listener = Listener(
            self._connect,
            worker=worker,
            schema=self._schema,
            is_own=lambda backend: backend == self._writer.backend,
            wake=lambda: self._wake(),  # noqa: PLW0108 - whoever is to be woken may come later
        )

    def heartbeat(self, worker: int, /) -> bool:
        """Extend the worker's lease; False when its row is gone. May be called from another thread."""
        self._refuse_fork()
        now = None if self._injected is None else self._injected.now_us()
        [rows] = self._heart.read([("extend_lease", (bigint(worker), bigint(now)))])
        for (server_now,) in rows:
            self._server_time.heard(server_now)
        return bool(rows)

    def unregister(self, worker: int, /) -> None:
        """Release at once everything that the worker owns, and remove its row."""

        def work(wire: Wire) -> None:
            transaction = self._begin(wire, [("lock_worker", (bigint(worker),))])
            commit(wire, removal(transaction.now, [worker], died=False), self.place, self._tell())
            self._own_changes += 1

        self._write(work)
        self._workers.discard(worker)
        self._acknowledged.forget(worker)

    def reap(self, worker: int, /) -> Reaped:
        """Bury dead workers, and hold what waits in vain for code."""
        self._refuse_fork()
        places = self._places
        found = look(self._waiting, worker, self.now(), places)
        self._horizon.look(self._readers.read)
        if found.workers is None:
            return Reaped()
        there = len(found.workers)
        self._is_alone = self._workers.issuperset(found.workers)
        if not found.found:
            self._places = found.places
            return Reaped(workers=there)

        def work(wire: Wire) -> Reaped:
            transaction = self._begin(wire, [("worker", (bigint(worker),))])
            if transaction.worker is None:
                wire.run([("rollback", ())])
                return Reaped()
            buried, freed, changed = tidy(transaction, worker, found)
            held, holding = hold_unknown(transaction, places)
            commit(wire, holding, self.place, self._tell() if changed or held else ())
            self._own_changes += bool(changed or held)
            return Reaped(buried=buried, held=held, workers=there - buried, sessions=freed)

        reaped = self._write(work)
        self._places = found.places
        return reaped

    def commit(self, batch: Batch, /) -> Committed:
        """Apply the items in order, then claim; all in one transaction. Durable when it returns."""
        with self._acknowledged.remembering(batch.worker, batch.token):
            return self._write(partial(self._commit, batch))

    def _commit(self, batch: Batch, wire: Wire) -> Committed:
        busy = self._open_starts.among(wire, batch.items, self._writer.retries)
        batches = Batches(batch.items, batch.worker, busy)
        fence: list[Call] = [] if batch.worker is None else [self._acknowledged.fence(wire, batch.worker)]
        looks = batches.first()
        opening = self._opening(wire)
        answers = wire.run([*opening, *fence, *looks, ("clock", ())])[len(opening) :]
        now = self._moment(answers[-1][0][0])
        joined, last_lane, places = self._acknowledged.place(answers[0] if fence else [])
        transaction = Transaction(
            wire=wire,
            now=now,
            worker=None if joined is None else batch.worker,
            joined=joined or 0,
            laned=last_lane is not None,
            places=bool(places),
            sessions=last_lane is not None and read_lane(last_lane).sessions,
            front=self._horizon.front(batch.worker),
        )
        calls = batches.finish(transaction, answers[len(fence) : -1])
        if batches.lanes:
            lanes = [read_lane(lane) for lane in batches.lanes]
            transaction = replace(
                transaction,
                laned=True,
                places=transaction.places or any(lane.places for lane in lanes),
                sessions=transaction.sessions or any(lane.sessions for lane in lanes),
            )
        if joined is not None:
            calls.append(("remember_token", (bigint(batch.worker), bytea(batch.token))))
        claim = batch.claim if joined is not None else None
        news = batches.news or bool(batches.lanes) or (transaction.laned and batches.frees)
        woken, wrote = batches.woken, batches.wrote
        if claim is not None and transaction.places:
            # Whose instances get places must be known before the commit, so that they can be told behind it.
            owners = {owner for (owner,) in transaction.run([*calls, *give_places(transaction)])[-1]}
            woken, news, wrote = (woken | owners) - {None, batch.worker}, news or None in owners, wrote or bool(owners)
            calls = []
        counted = len(calls)
        if claim is not None:
            calls += claims(transaction, claim)
        tell = self._tell(woken, news=news) if wrote else ()
        last = commit(wire, calls, self.place, tell, self._meanwhile)
        self._own_changes += wrote
        self._acknowledged.landed(wire, transaction.worker, batch.token)
        work = None
        if claim is not None:
            answered = zip(calls[counted:], last[counted:], strict=True)
            work = decode(transaction, claim, {name: wire.rows(got) for (name, _), got in answered if got is not None})
        return Committed(now=now, outcomes=batches.outcomes, work=work)

    async def join(self, connection: Any, item: ClientItem, /) -> Outcome:
        """Make an item part of the transaction that a connection of the user's own is in."""
        if self._store is None:
            self._store = await asyncio.to_thread(self._look_around)
        return await join_guest(connection, self._store, self._statements, item)

    def loan(self, *, is_async: bool) -> PostgresLoan:
        """A transaction for an attempt of an activity."""
        self._refuse_fork()
        return PostgresLoan(self._loans, is_async=is_async)

    def _look_around(self) -> Store:
        [[whereabouts]] = self._looking().read([("whereabouts", ())])
        return self._loans.store._replace(whereabouts=whereabouts)

    def applied(self, worker: int, token: bytes, /) -> bool | None:
        """Whether the worker's last commit was the one with this token; None when its row is gone."""
        self._refuse_fork()
        [rows] = self._writer.read([("is_last_token", (bigint(worker), bytea(token)))])
        return bool(rows[0][0]) if rows else None

    def standings(self, worker: int, tasks: Sequence[tuple[int, int, int]], /) -> list[Standing]:
        """How these tasks, which the worker runs, stand now."""
        return read_standings(self._looking(), worker, tasks)

    def history(self, incarnation: int, execution: int, /) -> list[HistoryRow]:
        """All rows of one execution, in order."""
        return self.read_history(incarnation, execution)

    def lapsed(self, scan: Scan, /) -> Lapsed:
        """What need not be kept any more, among a few instances."""
        return lapsed(self._looking(), scan)

    def changed(self) -> bool:
        """Whether another connection may have committed since the last call of `changed`.

        A handle whose worker listens asks the server only now and then; it knows by what it has heard.
        """
        self._refuse_fork()
        if self._listener is not None:
            if self._listener.take_news():
                return True
            now = self._clock.monotonic_us()
            if now < self._next_look:
                return False
            self._next_look = now + (LOOK_LISTENING_US if self._listener.hears else LOOK_US)
        changes = self._changes()
        changed, self._seen = changes != self._seen, changes
        return changed

    def _changes(self) -> int:
        """How many changes there have been by others."""
        [[(changes,)]] = self._waiting([("changes", ())])
        return int(changes) - self._own_changes

    def _waiting(self, calls: Sequence[Call]) -> list[Rows]:
        """The answers of statements, while which are waited for there may be other work to do."""
        return self._readers.read(calls, self._meanwhile)

    def close(self) -> None:
        """Release connections; harmless when repeated, and in a forked child it does nothing."""
        if os.getpid() != self._pid:
            return
        if self._listener is not None:
            self._listener.stop()
        for each in (self._writer, self._heart, self._readers, self._loans):
            each.close()

    def stamp(self, stamp: ShardStamp | None = None, /) -> ShardStamp | None:
        """Which shard this is; `stamp` is what it becomes if it is none yet."""
        return self._write(partial(stamped, stamp=stamp, place=self.place))

    def workers(self) -> list[WorkerRecord]:
        """The registered workers, in order of registration."""
        workers = super().workers()
        self._is_alone = bool(self._workers) and all(record.worker in self._workers for record in workers)
        return workers

    def _looking(self) -> Readers:
        self._refuse_fork()
        return self._readers

    def _refuse_fork(self) -> None:
        if os.getpid() != self._pid:
            raise ForkedError(
                f"the store at {self.place} was opened by process {self._pid} and is used in its forked child "
                f"{os.getpid()}: open a new store there (with a forking server, after the fork)"
            )

    def _write(self, work: Callable[[Wire], T]) -> T:
        self._refuse_fork()
        return self._writer.attempt(work)

    def _opening(self, wire: Wire) -> list[Call]:
        calls = begin(wire, self._clock.monotonic_us())
        return [*calls, ("relax", (boolean(value=True),))] if self._relaxed else calls

    def _begin(self, wire: Wire, locks: Sequence[Call] = ()) -> Transaction:
        """Begin, take locks, and read the clock; `worker` is set if the last of the locks found its row."""
        answers = wire.run([*self._opening(wire), *locks, ("clock", ())])
        now = self._moment(answers[-1][0][0])
        return Transaction(wire=wire, now=now, worker=0 if locks and answers[-2] else None)

    def _moment(self, server_now: int) -> int:
        """The time of a commit, whose locks are held."""
        heard = self._server_time.heard(server_now)
        return heard if self._injected is None else self._injected.now_us()

    def _tell(self, woken: Collection[int] = (), *, news: bool = True) -> list[Call]:
        """What is said to others once a commit is durable: that there was one, and to whom it brings something."""
        calls: list[Call] = [("count_change", ())]
        channels = [channel_of(worker) for worker in woken]
        if news and not self._is_alone:
            channels.append(channel_of_all(self._schema))
        if channels:
            calls.append(("notify", (texts(channels),)))
        return calls
