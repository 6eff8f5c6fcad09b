"""The rows of the reference storage and their indexes.

Laws kept here: what waits is always in order, so a claim reads from the front; a row and its index entries come and go
together. Nothing here judges: `items` and `claims` do.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable
from typing import TypeAlias, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from perdure._types import Status
from perdure._work import Entry, HistoryRow, InstanceRecord, NewInstance, NewTask, Parcel, ShardStamp, WorkerRecord
from perdure.storage.base import SUSPECT_DELIVERIES

Rank: TypeAlias = tuple[int, int, int, int, int]
"""Where a task stands in line: minus its priority, when it was scheduled, incarnation, execution, event."""

HELD_BY_INSTANCE = 0
"""The owner of a place that an instance holds: no worker has this number."""

T = TypeVar("T", bound=int | tuple[object, ...])


def _delivered(deliveries: int, *, died: bool) -> int:
    """The deliveries of what a worker leaves behind: what was tried by itself has been counted before."""
    if died:
        return max(deliveries, min(deliveries + 1, SUSPECT_DELIVERIES))
    return min(deliveries, SUSPECT_DELIVERIES)


def _drop(ordered: list[T], item: T) -> None:
    """Take an item that is there out of an ordered list."""
    del ordered[bisect_left(ordered, item)]


class MessageRow(Struct, frozen=True, kw_only=True):
    """A message that waits. `execution` is set for outcomes of activities: they go when that execution ends."""

    seq: int
    due: int
    body: bytes
    control: bool
    execution: int | None


class TaskRow(Struct, kw_only=True, eq=False):
    """An activity that waits for a worker, or runs on its owner."""

    incarnation: int
    execution: int
    new: NewTask
    scheduled_at: int
    due: int
    start_by: int | None
    deadline: int | None
    owner: int | None = None
    attempt: int = 1
    deliveries: int = 1
    last_error: bytes | None = None
    details: bytes | None = None
    stopped: bool = False
    held_because: str | None = None
    held_at: int | None = None
    began_at: int | None = None
    is_late: bool = False
    """Whether it was too late when its owner took it, so that it does not run and needs no place."""

    @property
    def is_laned(self) -> bool:
        """Whether it waits in a lane, for its tag, its session or a place of its limit, and not in the line."""
        return self.new.limit is not None or self.new.tag is not None or self.new.session is not None

    @property
    def rank(self) -> Rank:
        """Its place in line."""
        return (-self.new.priority, self.scheduled_at, self.incarnation, self.execution, self.new.event)

    @property
    def deadlines(self) -> list[int]:
        """The moments from which any worker may take it, to say that it is too late."""
        return [moment for moment in (self.start_by, self.deadline) if moment is not None]

    @property
    def moments(self) -> set[int]:
        """All the moments from which somebody may take it."""
        return {self.due, *self.deadlines}

    def claimable_from(self, activities: frozenset[str]) -> int | None:
        """The moment from which a worker with these activities may take it; None: never."""
        return min([*self.deadlines, *([self.due] if self.new.name in activities else [])], default=None)


class InstanceRow:
    """An instance with everything that belongs to its incarnation."""

    def __init__(self, record: InstanceRecord, *, ready_at: int) -> None:
        self.record = record
        self.ready_at = ready_at
        self.held_after = 0
        """Held, it goes to whoever registered behind this place."""
        self.rested_by: int | None = None
        self.rested_until = 0
        self.messages: dict[int, MessageRow] = {}
        self.timers: dict[int, int] = {}
        self.waiting: list[tuple[int, int, int]] = []
        """(due, seq, event) of messages (event 0) and timers (seq 0), in the order in which they are handed out."""
        self.tasks: dict[tuple[int, int], TaskRow] = {}
        self.history: dict[int, list[HistoryRow]] = {}
        self.dedup_keys: set[str] = set()
        self.entries: dict[tuple[str, str], tuple[bytes, int | None]] = {}
        """By shelf and key: the value, and when it was written if it is a passing one."""

    @property
    def closed(self) -> bool:
        """Whether it has ended."""
        return self.record.status.is_closed

    def keep(self, entries: Iterable[Entry], now: int) -> None:
        """Keep entries in place of those that are there, or remove these."""
        for entry in entries:
            if entry.value is None:
                self.entries.pop((entry.shelf, entry.key), None)
            else:
                self.entries[entry.shelf, entry.key] = (entry.value, now if entry.passing else None)

    def forget_passing(self, until: int) -> int:
        """Remove the passing entries that were written until then; returns how many."""
        if not self.entries:
            return 0
        gone = [key for key, (_, written) in self.entries.items() if written is not None and written <= until]
        for key in gone:
            del self.entries[key]
        return len(gone)

    def rests_until(self, worker: int) -> int:
        """Until when this worker leaves it alone, having released it with a delay; 0: it need not."""
        return self.rested_until if self.rested_by == worker else 0


class WorkerRow:
    """A worker, what it can run and what it owns."""

    def __init__(self, record: WorkerRecord, *, lease_us: int, joined: int, reader: int) -> None:
        self.record = record
        self.reader = reader
        self.lease_us = lease_us
        self.joined = joined
        self.token: bytes | None = None
        self.versions = frozenset(record.orchestrations)
        self.names = frozenset(known.rpartition("@")[0] for known in record.orchestrations)
        self.activities = frozenset(record.activities)
        self.instances: set[int] = set()
        self.tasks: dict[Rank, TaskRow] = {}
        self.sessions: dict[str, int] = {}
        """When it used those last that it has."""

    def knows(self, record: InstanceRecord) -> bool:
        """Whether it has the code of this instance, and an engine that reads its execution."""
        if record.min_reader > self.reader:
            return False
        if record.version is None:
            return record.name in self.names
        return f"{record.name}@{record.version}" in self.versions


class TaskLine:
    """The tasks without owner, in the order in which they are claimed.

    `ready` are those that may be claimed by somebody at `horizon`, `moments` says when the others get ready. Only so do
    ten thousand tasks that wait for their next attempt cost a claim nothing. `laned` are those that wait for a worker
    with their tag or their session, or for a place of their limit, in no order.
    """

    def __init__(self) -> None:
        self.tasks: dict[Rank, TaskRow] = {}
        self.laned: dict[Rank, TaskRow] = {}
        self.ready: list[Rank] = []
        self.moments: list[tuple[int, Rank]] = []
        self.horizon = 0

    def add(self, task: TaskRow) -> None:
        """Put a task that has no owner in line."""
        if task.is_laned:
            self.laned[task.rank] = task
            return
        self.tasks[task.rank] = task
        moments = task.moments
        if min(moments) <= self.horizon:
            insort(self.ready, task.rank)
        for moment in moments:
            if moment > self.horizon:
                insort(self.moments, (moment, task.rank))

    def remove(self, task: TaskRow) -> None:
        """Take a task out of line."""
        if task.is_laned:
            del self.laned[task.rank]
            return
        del self.tasks[task.rank]
        moments = task.moments
        if min(moments) <= self.horizon:
            _drop(self.ready, task.rank)
        for moment in moments:
            if moment > self.horizon:
                _drop(self.moments, (moment, task.rank))

    def advance(self, now: int) -> None:
        """Move the horizon: forward by what has become ready; back, where a handle is behind, by doing it all again."""
        if now < self.horizon:
            tasks = list(self.tasks.values())
            self.tasks, self.ready, self.moments, self.horizon = {}, [], [], now
            for task in tasks:
                self.add(task)
        self.horizon = now
        if not self.moments or self.moments[0][0] > now:
            return
        woken = 0
        while woken < len(self.moments) and self.moments[woken][0] <= now:
            moment, rank = self.moments[woken]
            if moment == min(self.tasks[rank].moments):
                insort(self.ready, rank)
            woken += 1
        del self.moments[:woken]


class Tables:
    """All rows, and the only hand that adds and removes them."""

    def __init__(self) -> None:
        self.instances: dict[int, InstanceRow] = {}
        self.by_id: dict[str, InstanceRow] = {}
        self.incarnations: list[int] = []
        self.highest_gone = 0
        """The highest incarnation of all that were removed."""
        self.children: dict[int, set[int]] = {}
        self.workers: dict[int, WorkerRow] = {}
        self.joined = 0
        """The place in the order of registrations of the last worker that registered."""
        self.agenda: list[tuple[int, int, int, int]] = []
        """(due, incarnation, seq, event) of all messages and timers."""
        self.resting: dict[int, InstanceRow] = {}
        """Instances released with a delay and not claimed since."""
        self.line = TaskLine()
        self.limited: dict[str, dict[Rank, TaskRow]] = {}
        """By limit key: all its tasks, wherever they are."""
        self.starts: dict[str, dict[int, tuple[int, int]]] = {}
        """By limit key and moment: how many began then, and until when that counts."""
        self.outbox: dict[int, Parcel] = {}
        self.last_parcel = 0
        self.received: dict[tuple[int, int, int], bool] = {}
        """By sender, number and the sending instance: whether it was passed over."""
        self.stamp: ShardStamp | None = None
        self._last_seq = 0

    def add_instance(self, new: NewInstance, now: int, *, owner: int | None = None) -> InstanceRow:
        """A pending instance, which waits for its start unless it is born owned, by whom has the start already."""
        record = InstanceRecord(
            id=new.id,
            incarnation=new.incarnation,
            name=new.name,
            version=new.version,
            status=Status.PENDING,
            execution=1,
            created_at=now,
            updated_at=now,
            parent=new.parent,
            root=new.root,
            attributes=new.attributes,
        )
        ready_at = now if owner is not None or new.start_at is None else max(now, new.start_at)
        row = InstanceRow(record, ready_at=ready_at)
        self.adopt(row)
        self.own_instance(row, owner)
        return row

    def adopt(self, row: InstanceRow) -> None:
        """An instance as it is, without anything that belongs to it."""
        record = row.record
        self.instances[record.incarnation] = self.by_id[record.id] = row
        insort(self.incarnations, record.incarnation)
        if record.parent is not None:
            self.children.setdefault(record.parent.incarnation, set()).add(record.incarnation)

    def remove_instance(self, row: InstanceRow) -> None:
        """The instance and all that belongs to it."""
        self.clear_instance(row)
        self.wake_instance(row)
        record = row.record
        del self.instances[record.incarnation], self.by_id[record.id]
        self.highest_gone = max(self.highest_gone, record.incarnation)
        _drop(self.incarnations, record.incarnation)
        if record.parent is not None:
            siblings = self.children[record.parent.incarnation]
            siblings.remove(record.incarnation)
            if not siblings:
                del self.children[record.parent.incarnation]

    def clear_instance(self, row: InstanceRow) -> None:
        """What only an open instance has: messages, timers, tasks, an owner."""
        for seq in list(row.messages):
            self.remove_message(row, seq)
        self.clear_execution(row)
        self.own_instance(row, None)

    def clear_execution(self, row: InstanceRow) -> None:
        """What belongs to the present execution: timers, tasks, outcomes of activities."""
        for event in list(row.timers):
            self.remove_timer(row, event)
        for task in list(row.tasks.values()):
            self.remove_task(task)
        for message in [message for message in row.messages.values() if message.execution == row.record.execution]:
            self.remove_message(row, message.seq)

    def own_instance(self, row: InstanceRow, owner: int | None) -> None:
        """Give an instance to a worker, or to nobody."""
        if row.record.owner is not None:
            self.workers[row.record.owner].instances.remove(row.record.incarnation)
        if owner is not None:
            self.workers[owner].instances.add(row.record.incarnation)
            self.wake_instance(row)
        row.record = replace(row.record, owner=owner)

    def rest_instance(self, row: InstanceRow, until: int) -> None:
        """Take an instance from its owner, who leaves it alone until then."""
        row.rested_by, row.rested_until = row.record.owner, until
        self.resting[row.record.incarnation] = row
        self.own_instance(row, None)

    def open_children(self, incarnation: int) -> list[InstanceRow]:
        """The open instances whose parent this is."""
        children = [self.instances[child] for child in sorted(self.children.get(incarnation, ()))]
        return [child for child in children if not child.closed]

    def add_message(
        self, row: InstanceRow, body: bytes, due: int, *, control: bool = False, execution: int | None = None
    ) -> None:
        """A message that waits from `due` on; before the instance's start only a control message can be due."""
        due = due if control else max(due, row.ready_at)
        self.put_message(row, body, due, control=control, execution=execution)

    def add_first_message(self, row: InstanceRow, body: bytes, now: int) -> None:
        """A message that comes before all that wait for the instance."""
        self.put_message(row, body, min(now, row.waiting[0][0] - 1) if row.waiting else now)

    def put_message(
        self, row: InstanceRow, body: bytes, due: int, *, control: bool = False, execution: int | None = None
    ) -> None:
        """A message that is due just then."""
        seq = self._last_seq = self._last_seq + 1
        row.messages[seq] = MessageRow(seq=seq, due=due, body=body, control=control, execution=execution)
        self._add_waiting(row, due, seq, 0)

    def remove_message(self, row: InstanceRow, seq: int) -> None:
        """A message of the instance; one that is gone is passed over."""
        message = row.messages.pop(seq, None)
        if message is not None:
            self._remove_waiting(row, message.due, seq, 0)

    def add_timer(self, row: InstanceRow, event: int, fire_at: int) -> None:
        """A timer of the present execution."""
        row.timers[event] = fire_at
        self._add_waiting(row, fire_at, 0, event)

    def remove_timer(self, row: InstanceRow, event: int) -> None:
        """A timer of the present execution; one that is gone is passed over."""
        fire_at = row.timers.pop(event, None)
        if fire_at is not None:
            self._remove_waiting(row, fire_at, 0, event)

    def add_task(self, row: InstanceRow, new: NewTask, now: int, worker: int) -> None:
        """A task of the present execution."""
        total, to_start = new.total_timeout_us, new.schedule_to_start_us
        task = TaskRow(
            incarnation=row.record.incarnation,
            execution=row.record.execution,
            new=new,
            scheduled_at=now,
            due=now,
            deadline=None if total is None else now + total,
            start_by=None if to_start is None else now + to_start,
        )
        if new.limit is not None:
            self.limited.setdefault(new.limit.key, {})[task.rank] = task
        row.tasks[task.execution, new.event] = task
        if new.local:
            task.owner = worker
            self.workers[worker].tasks[task.rank] = task
        else:
            self.line.add(task)

    def put_task(self, row: InstanceRow, task: TaskRow) -> None:
        """A task without owner, or a place that the instance has, as it is."""
        row.tasks[task.execution, task.new.event] = task
        if task.new.limit is not None:
            self.limited.setdefault(task.new.limit.key, {})[task.rank] = task
        if task.owner is None:
            self.line.add(task)

    def remove_task(self, task: TaskRow) -> None:
        """A task, owned or in line."""
        if task.owner is None:
            self.line.remove(task)
        elif task.owner != HELD_BY_INSTANCE:
            del self.workers[task.owner].tasks[task.rank]
        limit = task.new.limit
        if limit is not None:
            tasks = self.limited[limit.key]
            del tasks[task.rank]
            if not tasks:
                del self.limited[limit.key]
        del self.instances[task.incarnation].tasks[task.execution, task.new.event]

    def give_place(self, task: TaskRow, now: int) -> None:
        """Let the instance itself hold the place that the task waits for."""
        self.line.remove(task)
        task.owner = HELD_BY_INSTANCE
        self.add_message(self.instances[task.incarnation], task.new.permit or b"", now, execution=task.execution)

    def begin(self, key: str, many: int, now: int, until: int) -> None:
        """So many of a key have begun, which counts until then."""
        if many:
            starts = self.starts.setdefault(key, {})
            starts[now] = (starts.get(now, (0, 0))[0] + many, until)

    def forget_starts(self, now: int) -> bool:
        """Forget what counts no more; whether there was any."""
        if not self.starts:
            return False
        gone = [(key, at) for key, starts in self.starts.items() for at, (_, until) in starts.items() if until <= now]
        for key, at in gone:
            del self.starts[key][at]
        self.starts = {key: starts for key, starts in self.starts.items() if starts}
        return bool(gone)

    def stop_task(self, row: InstanceRow, execution: int, event: int, now: int) -> None:
        """A task whose total deadline is now, whoever has it; one that is gone is passed over."""
        task = row.tasks.get((execution, event))
        if task is None:
            return
        if task.owner is None:
            self.line.remove(task)
        task.stopped = True
        task.deadline = now if task.deadline is None else min(now, task.deadline)
        if task.owner is None:
            self.line.add(task)

    def own_task(self, task: TaskRow, worker: int) -> None:
        """Give a task that is in line to a worker."""
        self.line.remove(task)
        task.owner = worker
        self.workers[worker].tasks[task.rank] = task

    def disown_task(self, task: TaskRow, worker: int, *, due: int, started: bool) -> None:
        """Put a task back in line; once started, it has no schedule-to-start deadline any more."""
        del self.workers[worker].tasks[task.rank]
        task.owner = None
        task.is_late = False
        task.due = due
        if started:
            task.start_by = None
        self.line.add(task)

    def remove_worker(self, worker: WorkerRow, now: int, *, died: bool) -> None:
        """A worker; what it owned is free for anybody from now on, with a delivery counted if it died."""
        number = worker.record.worker
        for incarnation in list(worker.instances):
            row = self.instances[incarnation]
            self.own_instance(row, None)
            row.record = replace(row.record, deliveries=_delivered(row.record.deliveries, died=died))
        for task in list(worker.tasks.values()):
            task.deliveries = _delivered(task.deliveries, died=died)
            self.disown_task(task, number, due=max(task.due, now), started=died)
        del self.workers[number]

    def reset_task(self, task: TaskRow, *, due: int, repeat: bool) -> None:
        """Let a task that was held be as it was at first, but for its attempts, deadlines, and that it has begun."""
        waits = task.owner is None
        if waits:
            self.line.remove(task)
        task.due, task.held_because, task.held_at, task.deliveries = due, None, None, 1
        if repeat:
            task.began_at = None
        if waits:
            self.line.add(task)

    def wake_instance(self, row: InstanceRow) -> None:
        """Let any worker take it that left it alone."""
        row.rested_by = None
        self.resting.pop(row.record.incarnation, None)

    def _add_waiting(self, row: InstanceRow, due: int, seq: int, event: int) -> None:
        insort(row.waiting, (due, seq, event))
        insort(self.agenda, (due, row.record.incarnation, seq, event))

    def _remove_waiting(self, row: InstanceRow, due: int, seq: int, event: int) -> None:
        _drop(row.waiting, (due, seq, event))
        _drop(self.agenda, (due, row.record.incarnation, seq, event))
