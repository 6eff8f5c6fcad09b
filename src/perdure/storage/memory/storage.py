"""`MemoryStorage`: the storage contract and the inspector over plain Python rows, behind one lock."""

import os
import socket
import threading
from collections.abc import Sequence
from itertools import islice

import msgspec

from perdure._events import MIN_READER
from perdure._ports import Clock, Entropy, SystemClock, SystemEntropy
from perdure._work import (
    Applied,
    Batch,
    Committed,
    Depths,
    ExecutionRecord,
    HeldTask,
    HistoryRow,
    InstanceCount,
    InstanceImage,
    InstanceRecord,
    Lapsed,
    LimitUse,
    LimitUser,
    OpenTask,
    Parcel,
    Query,
    Reaped,
    Scan,
    Serves,
    ShardStamp,
    Standing,
    WorkerRecord,
)
from perdure.storage.base import LEASE_US, PASSING_US, SERVES, page_key, parse_page_key
from perdure.storage.clock import ForwardClock
from perdure.storage.memory.claims import take
from perdure.storage.memory.images import images
from perdure.storage.memory.inspector import (
    count,
    depths,
    executions,
    family,
    held_tasks,
    lapsed,
    limit_users,
    limits,
    matching,
    open_tasks,
)
from perdure.storage.memory.items import apply
from perdure.storage.memory.parcels import parcels
from perdure.storage.memory.rows import Tables, WorkerRow
from perdure.storage.memory.sessions import look_after
from perdure.storage.memory.unknown import hold_unknown


class _Memory:
    """What all handles on one memory share."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.tables = Tables()
        self.commits = 0


class MemoryStorage:
    """A storage in this process's memory: nothing outlives the process, everything else is as the contract says.

    It is the contract in executable form, and both `Storage` and `Inspector`. Threads may share it.

    Args:
        clock: The store's clock; the machine's by default.
        entropy: Where worker ids come from; the operating system by default.

    Example:
        >>> storage = MemoryStorage()
        >>> worker = storage.register(name="w", orchestrations=["hello@1.0.0"], activities=["greet"])
        >>> [row.name for row in storage.workers()]
        ['w']
    """

    def __init__(self, clock: Clock | None = None, entropy: Entropy | None = None) -> None:
        self._clock = clock or SystemClock()
        self._time = ForwardClock(self._clock)
        self._entropy = entropy or SystemEntropy()
        self._memory = _Memory()
        self._own_commits = 0
        self._seen = 0

    def connect(self, clock: Clock | None = None, entropy: Entropy | None = None) -> "MemoryStorage":
        """Another handle on the same memory, as another process would have one on the same file, on its own clock."""
        other = MemoryStorage(clock or self._clock, entropy or self._entropy)
        other._memory = self._memory
        other._seen = self._memory.commits
        return other

    @property
    def rows(self) -> Tables:
        """All rows, for whoever checks them; reading them while another thread writes is not safe."""
        return self._memory.tables

    def now(self) -> int:
        """The store's time, in microseconds UTC; never less than before."""
        return self._time.now_us()

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
        with self._memory.lock:
            now, tables = self.now(), self._memory.tables
            self._bury(now, spared=None)
            number = self._draw_worker_id()
            record = WorkerRecord(
                worker=number,
                name=name,
                pid=os.getpid(),
                host=socket.gethostname(),
                started_at=now,
                lease_until=now + lease_us,
                orchestrations=tuple(orchestrations),
                activities=tuple(activities),
                serves=serves,
            )
            tables.joined += 1
            tables.workers[number] = WorkerRow(record, lease_us=lease_us, joined=tables.joined, reader=reader)
            self._count_commit()
            return record

    def heartbeat(self, worker: int, /) -> bool:
        """Extend the worker's lease; False when its row is gone."""
        with self._memory.lock:
            row = self._memory.tables.workers.get(worker)
            if row is None:
                return False
            row.record = msgspec.structs.replace(row.record, lease_until=self.now() + row.lease_us)
            return True

    def unregister(self, worker: int, /) -> None:
        """Release at once everything that the worker owns, and remove its row."""
        with self._memory.lock:
            row = self._memory.tables.workers.get(worker)
            if row is not None:
                self._memory.tables.remove_worker(row, self.now(), died=False)
                self._count_commit()

    def reap(self, worker: int, /) -> Reaped:
        """Bury dead workers, and hold what waits in vain for code."""
        with self._memory.lock:
            if worker not in self._memory.tables.workers:
                return Reaped()
            now, tables = self._time.now_us(), self._memory.tables
            buried = self._bury(now, spared=worker)
            freed = look_after(tables, now, tables.workers[worker])
            # The caller counts too: if its lease is over, it proves by calling that it lives.
            held = hold_unknown(self._memory.tables, now)
            gone = 0
            for row in tables.instances.values():
                if row.entries:
                    gone += row.forget_passing(now - PASSING_US)
            if tables.forget_starts(now) or buried or held or gone or freed:
                self._count_commit()
            return Reaped(buried=buried, held=held, workers=len(tables.workers), sessions=freed)

    def commit(self, batch: Batch, /) -> Committed:
        """Apply the items in order, then claim."""
        with self._memory.lock:
            now, tables = self._time.now_us(), self._memory.tables
            worker = None if batch.worker is None else tables.workers.get(batch.worker)
            outcomes = tuple([apply(tables, now, worker, item) for item in batch.items])
            work = None
            if worker is not None:
                worker.token = batch.token
                if batch.claim is not None:
                    work = take(tables, now, worker, batch.claim)
            took = work is not None and (work.instances or work.tasks)
            if took or (outcomes and any(isinstance(each, Applied) for each in outcomes)):
                self._count_commit()
            return Committed(now=now, outcomes=outcomes, work=work)

    def applied(self, worker: int, token: bytes, /) -> bool | None:
        """Whether the worker's last commit was the one with this token; None when its row is gone."""
        with self._memory.lock:
            row = self._memory.tables.workers.get(worker)
            return None if row is None else row.token == token

    def standings(self, worker: int, tasks: Sequence[tuple[int, int, int]], /) -> list[Standing]:
        """How these tasks, which the worker runs, stand now."""
        with self._memory.lock:
            return [self._standing(worker, *key) for key in tasks]

    def _standing(self, worker: int, incarnation: int, execution: int, event: int) -> Standing:
        row = self._memory.tables.instances.get(incarnation)
        task = None if row is None else row.tasks.get((execution, event))
        if task is None or task.owner != worker:
            return Standing.GONE
        return Standing.STOPPED if task.stopped else Standing.WANTED

    def history(self, incarnation: int, execution: int, /) -> list[HistoryRow]:
        """All rows of one execution, in order."""
        with self._memory.lock:
            row = self._memory.tables.instances.get(incarnation)
            return [] if row is None else list(row.history.get(execution, ()))

    def lapsed(self, scan: Scan, /) -> Lapsed:
        """What need not be kept any more, among a few instances."""
        with self._memory.lock:
            return lapsed(self._memory.tables, scan)

    def changed(self) -> bool:
        """Whether another handle has committed since the last call of `changed`."""
        with self._memory.lock:
            others = self._memory.commits - self._own_commits
            changed, self._seen = others != self._seen, others
            return changed

    def close(self) -> None:
        """There is nothing to release; the memory lives as long as a handle."""

    def get(self, instance_id: str, /) -> InstanceRecord | None:
        """One instance by id."""
        return self.get_many([instance_id]).get(instance_id)

    def get_many(self, instance_ids: Sequence[str], /) -> dict[str, InstanceRecord]:
        """Those of the instances that exist."""
        with self._memory.lock:
            by_id = self._memory.tables.by_id
            return {id_: by_id[id_].record for id_ in instance_ids if id_ in by_id}

    def find(self, query: Query, /) -> tuple[list[InstanceRecord], str | None]:
        """One page and the key of the next, None at the end."""
        before = None if query.after is None else parse_page_key(query.after)
        with self._memory.lock:
            found = list(islice(matching(self._memory.tables, query, before), query.limit + 1))
        page = found[: query.limit]
        return page, page_key(page[-1]) if len(found) > len(page) else None

    def count(self, query: Query, /) -> list[InstanceCount]:
        """How many instances match, by name and status."""
        with self._memory.lock:
            return count(self._memory.tables, query)

    def family(self, instance_id: str, limit: int, /) -> list[InstanceRecord]:
        """The instance and everything below it, those nearest to it first."""
        with self._memory.lock:
            return family(self._memory.tables, instance_id)[:limit]

    def executions(self, incarnation: int, /) -> list[ExecutionRecord]:
        """The executions that have a history, in order."""
        with self._memory.lock:
            return executions(self._memory.tables, incarnation)

    def held_tasks(self, limit: int, incarnation: int | None = None, /) -> list[HeldTask]:
        """The tasks that were set aside, of one instance or of all, at most so many."""
        with self._memory.lock:
            return held_tasks(self._memory.tables, limit, incarnation)

    def open_tasks(self, incarnation: int, limit: int, /) -> list[OpenTask]:
        """The activities of an instance that have not ended, at most so many."""
        with self._memory.lock:
            return open_tasks(self._memory.tables, incarnation, limit)

    def depths(self) -> Depths:
        """What waits now."""
        with self._memory.lock:
            return depths(self._memory.tables, self.now())

    def limits(self) -> list[LimitUse]:
        """The limits that somebody has a place of, or waits for."""
        with self._memory.lock:
            return limits(self._memory.tables, self.now())

    def limit_users(self, key: str, limit: int, /) -> list[LimitUser]:
        """The tasks of a key, at most so many."""
        with self._memory.lock:
            return limit_users(self._memory.tables, key, limit)

    def read_history(self, incarnation: int, execution: int, /) -> list[HistoryRow]:
        """All rows of one execution, in order."""
        return self.history(incarnation, execution)

    def images(self, instance_ids: Sequence[str], /) -> list[InstanceImage]:
        """These instances and everything below them, with all their rows."""
        with self._memory.lock:
            return images(self._memory.tables, instance_ids)

    def entries(self, incarnation: int, shelf: str, /, keys: Sequence[str] | None = None) -> dict[str, bytes]:
        """What an instance keeps on a shelf."""
        with self._memory.lock:
            row = self._memory.tables.instances.get(incarnation)
            found = {} if row is None else {key: each for (of, key), (each, _) in row.entries.items() if of == shelf}
        wanted = found if keys is None else found.keys() & set(keys)
        return {key: found[key] for key in sorted(wanted, key=str.encode)}

    def parcels(
        self, shard: int | None, limit: int, /, incarnations: Sequence[int] | None = None, before: int | None = None
    ) -> list[Parcel]:
        """What is in the outbox for a shard, or for all, in order, at most so many."""
        with self._memory.lock:
            wanted = None if incarnations is None else tuple(incarnations)
            return parcels(self._memory.tables, shard, limit, wanted, before)

    def lowest_parcel(self) -> int:
        """The lowest number of a parcel in the outbox, or the next that will be."""
        with self._memory.lock:
            tables = self._memory.tables
            return min(tables.outbox, default=tables.last_parcel + 1)

    def stamp(self, stamp: ShardStamp | None = None, /) -> ShardStamp | None:
        """Which shard this is; `stamp` is what it becomes if it is none yet."""
        with self._memory.lock:
            tables = self._memory.tables
            tables.stamp = tables.stamp or stamp
            return tables.stamp

    def identity(self) -> str:
        """What no other store has."""
        return str(id(self._memory))

    def workers(self) -> list[WorkerRecord]:
        """The registered workers, in order of registration."""
        with self._memory.lock:
            return [row.record for row in self._memory.tables.workers.values()]

    def _draw_worker_id(self) -> int:
        while True:
            number = int.from_bytes(self._entropy.token()[:8], "big") >> 1
            if number and number not in self._memory.tables.workers:
                return number

    def _count_commit(self) -> None:
        self._memory.commits += 1
        self._own_commits += 1

    def _bury(self, now: int, *, spared: int | None) -> int:
        """Remove the workers whose lease is over; their work is anybody's."""
        tables = self._memory.tables
        dead = [row for row in tables.workers.values() if row.record.lease_until <= now and row.record.worker != spared]
        for row in dead:
            tables.remove_worker(row, now, died=True)
        return len(dead)
