"""`MemoryStorage`: the storage contract and the inspector over plain Python rows, behind one lock."""

import os
import socket
from collections.abc import Sequence

import msgspec

from perdure._events import MIN_READER
from perdure._ports import Clock, Entropy, SystemClock, SystemEntropy
from perdure._work import (
    Applied,
    Batch,
    Committed,
    HistoryRow,
    Lapsed,
    Reaped,
    Scan,
    Serves,
    ShardStamp,
    Standing,
    WorkerRecord,
)
from perdure.storage.base import LEASE_US, PASSING_US, SERVES
from perdure.storage.clock import ForwardClock
from perdure.storage.memory.claims import take
from perdure.storage.memory.inspector import Memory, MemoryInspector, history, lapsed
from perdure.storage.memory.items import apply
from perdure.storage.memory.rows import Tables, WorkerRow
from perdure.storage.memory.sessions import look_after
from perdure.storage.memory.unknown import hold_unknown


class MemoryStorage(MemoryInspector):
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
        self._memory = Memory()
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
            return history(self._memory.tables, incarnation, execution)

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

    def stamp(self, stamp: ShardStamp | None = None, /) -> ShardStamp | None:
        """Which shard this is; `stamp` is what it becomes if it is none yet."""
        with self._memory.lock:
            tables = self._memory.tables
            tables.stamp = tables.stamp or stamp
            return tables.stamp

    def identity(self) -> str:
        """What no other store has."""
        return str(id(self._memory))

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
