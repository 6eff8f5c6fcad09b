"""What the client tells of families, executions and of the store as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from perdure._client.handle import InstanceStatus, status_of
from perdure._client.stored import read_error
from perdure._types import Status, from_us
from perdure._work import PLACE
from perdure._work.seals import SEAL_BYTES
from perdure.codec import codec_for
from perdure.errors import ErrorInfo

if TYPE_CHECKING:
    from perdure import _work as work


@dataclass(frozen=True, slots=True)
class InstanceCount:
    """How many instances of one orchestration have one status."""

    name: str
    status: Status
    count: int


@dataclass(frozen=True, slots=True)
class InstanceTree:
    """An instance and what is below it: `children`, in the order in which they were started."""

    instance: InstanceStatus[Any]
    children: list[InstanceTree] = field(default_factory=list)

    def walk(self) -> Iterator[tuple[int, InstanceStatus[Any]]]:
        """Every instance of the tree with its depth, each parent before its children.

        Example:
            for depth, instance in (await client.get_tree("order-1")).walk():
                print("  " * depth, instance.instance_id, instance.status)
        """
        waiting = [(0, self)]
        while waiting:
            depth, tree = waiting.pop()
            yield depth, tree.instance
            waiting += [(depth + 1, child) for child in reversed(tree.children)]


@dataclass(frozen=True, slots=True)
class ExecutionStatus:
    """One execution of an instance. `status` is None for one that went on as the next.

    `events` and `size_bytes` are those of its history; one that no worker has begun has none, and no times.
    """

    execution_id: int
    status: Status | None
    started_at: datetime | None
    updated_at: datetime | None
    events: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class InstanceSizes:
    """How much of the store an instance takes up, as far as limits count it.

    Attributes:
        instance_id: The instance.
        executions: How many executions have a history in the store.
        events: The events of the present execution, or of the last one.
        history_bytes: Their bytes.
        all_events: The events of all executions.
        all_history_bytes: Their bytes.
        kv_keys: The keys of the KV store.
        kv_bytes: The bytes of its keys and values.
    """

    instance_id: str
    executions: int
    events: int
    history_bytes: int
    all_events: int
    all_history_bytes: int
    kv_keys: int
    kv_bytes: int


@dataclass(frozen=True, slots=True)
class HeldActivity:
    """An activity that was set aside: `event_id` names it in the history of its instance.

    `began_at` says that nobody knows whether it has happened (`on_unknown="hold"`), and when it was called; None where
    it was held for another reason.
    """

    instance_id: str
    event_id: int
    name: str
    held_at: datetime
    held_because: str
    attempt: int
    deliveries: int
    began_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class OpenActivity:
    """An activity of an instance that has not ended: `event_id` names it in the history of its instance.

    Attributes:
        instance_id: The instance.
        event_id: The event that has asked for it.
        name: The activity.
        tag: The tag that it was asked for with.
        state: "running" on a worker, "waiting" for one or for its time, or "held".
        attempt: Which attempt runs or comes next, from 1.
        scheduled_at: When it was asked for.
        due_at: When its next attempt may begin, or could have; None while it runs or is held.
        last_error: Why the attempt before this one has failed; None before the first failure.
        worker: The name of the worker that runs it.
        held_because: Why it is held.
        stopping: Whether it was asked to end, and its outcome is waited for.
    """

    instance_id: str
    event_id: int
    name: str
    tag: str | None
    state: Literal["running", "waiting", "held"]
    attempt: int
    scheduled_at: datetime
    due_at: datetime | None
    last_error: ErrorInfo | None
    worker: str | None
    held_because: str | None
    stopping: bool


@dataclass(frozen=True, slots=True)
class ActivityQueue:
    """The activities of one name and tag that wait for a worker, that wait for their next attempt, and that run.

    `served` says whether a worker is there that has the activity and serves the tag; without one they wait.
    """

    name: str
    tag: str | None
    waiting: int
    delayed: int
    running: int
    oldest_age: timedelta | None
    served: bool


@dataclass(frozen=True, slots=True)
class LimitStatus:
    """A limit by key that something has or waits for, with its numbers as they were declared last.

    `running` have a place, activities and sections of orchestrations; `waiting` want one, the oldest for `oldest_age`.
    """

    key: str
    concurrency: int | None
    rate: int | None
    per: timedelta
    running: int
    waiting: int
    oldest_age: timedelta | None


@dataclass(frozen=True, slots=True)
class LimitUser:
    """Who has a place of a limit (`running`), or waits for one.

    `event_id` names it in the history of its instance; `activity` is None for a section of the orchestration.
    """

    instance_id: str
    event_id: int
    activity: str | None
    since: datetime
    running: bool


@dataclass(frozen=True, slots=True)
class QueueDepths:
    """What waits in a store. An age is that of whatever has waited longest, None where nothing waits.

    Attributes:
        at: The store's time.
        ready_instances: Instances for which something is due and that no worker has taken.
        ready_age: How long the first of them has waited.
        messages: All messages that wait, due or not.
        timers: All timers that run.
        held_instances: Instances that are held.
        held_age: How long the first of them has been held.
        activities: The queues of activities, by name and tag.
        undelivered: What is on its way to other databases, in a store that lies on several.
        undelivered_age: How long the first of it has been.
    """

    at: datetime
    ready_instances: int
    ready_age: timedelta | None
    messages: int
    timers: int
    held_instances: int
    held_age: timedelta | None
    activities: Sequence[ActivityQueue]
    undelivered: int = 0
    undelivered_age: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Deletion:
    """What a bulk delete did: root instances that went, instances in all, and roots that stayed.

    A root stays when something below it is open, or when it had gone meanwhile.
    """

    roots: int
    instances: int
    skipped: int


def held_of(records: Sequence[work.HeldTask]) -> list[HeldActivity]:
    """The held activities as users see them."""
    return [
        HeldActivity(
            instance_id=each.instance_id,
            event_id=each.event,
            name=each.name,
            held_at=from_us(each.held_at),
            held_because=each.held_because,
            attempt=each.attempt,
            deliveries=each.deliveries,
            began_at=None if each.began_at is None else from_us(each.began_at),
        )
        for each in records
    ]


def open_of(
    instance_id: str, tasks: Sequence[work.OpenTask], workers: Sequence[work.WorkerRecord]
) -> list[OpenActivity]:
    """The activities that have not ended as users see them."""
    names = {worker.worker: worker.name for worker in workers}
    return [_open(instance_id, each, names) for each in tasks]


def _open(instance_id: str, task: work.OpenTask, names: dict[int, str]) -> OpenActivity:
    waits = task.owner is None and task.held_because is None
    return OpenActivity(
        instance_id=instance_id,
        event_id=task.event,
        name=task.name,
        tag=task.tag,
        state="waiting" if waits else "running" if task.held_because is None else "held",
        attempt=task.attempt,
        scheduled_at=from_us(task.scheduled_at),
        due_at=from_us(task.due_at) if waits else None,
        last_error=None if task.last_error is None else read_error(task.last_error, instance_id),
        worker=None if task.owner is None else names.get(task.owner),
        held_because=task.held_because,
        stopping=task.stopped,
    )


def counts_of(records: Sequence[work.InstanceCount]) -> list[InstanceCount]:
    """The counts as users see them."""
    return [InstanceCount(name=each.name, status=each.status, count=each.count) for each in records]


def tree_of(records: Sequence[work.InstanceRecord]) -> InstanceTree:
    """The tree of a family, whose first member is its root and whose parents come before their children."""
    codec = codec_for(Any)
    trees = {record.incarnation: InstanceTree(status_of(record, codec)) for record in records}
    for record in records[1:]:
        if record.parent is not None:
            trees[record.parent.incarnation].children.append(trees[record.incarnation])
    return trees[records[0].incarnation]


def executions_of(record: work.InstanceRecord, stored: Sequence[work.ExecutionRecord]) -> list[ExecutionStatus]:
    """The executions of an instance that have a history, and the current one, which may have none yet."""
    found = [
        ExecutionStatus(
            execution_id=each.execution,
            status=record.status if each.execution == record.execution else None,
            started_at=from_us(each.first_at),
            updated_at=from_us(each.last_at),
            events=each.events,
            size_bytes=each.size,
        )
        for each in stored
    ]
    if not found or found[-1].execution_id != record.execution:
        found.append(ExecutionStatus(record.execution, record.status, None, None, 0, 0))
    return found


def sizes_of(
    record: work.InstanceRecord, stored: Sequence[work.ExecutionRecord], values: Mapping[str, bytes]
) -> InstanceSizes:
    """The sizes of an instance with these executions and these sealed values."""
    present = [each for each in stored if each.execution == record.execution]
    return InstanceSizes(
        instance_id=record.id,
        executions=len(stored),
        events=sum(each.events for each in present),
        history_bytes=sum(each.size for each in present),
        all_events=sum(each.events for each in stored),
        all_history_bytes=sum(each.size for each in stored),
        kv_keys=len(values),
        kv_bytes=sum(len(key.encode()) + len(value) - SEAL_BYTES for key, value in values.items()),
    )


def limits_of(records: Sequence[work.LimitUse]) -> list[LimitStatus]:
    """The limits as users see them."""
    return [
        LimitStatus(
            key=each.key,
            concurrency=each.concurrency,
            rate=each.rate,
            per=timedelta(microseconds=each.per_us),
            running=each.running,
            waiting=each.waiting,
            oldest_age=None if each.waiting_us is None else timedelta(microseconds=each.waiting_us),
        )
        for each in records
    ]


def limit_users_of(records: Sequence[work.LimitUser]) -> list[LimitUser]:
    """The users of a limit as users of the client see them."""
    return [
        LimitUser(
            instance_id=each.instance_id,
            event_id=each.event,
            activity=None if each.name == PLACE else each.name,
            since=from_us(each.scheduled_at),
            running=each.owner is not None,
        )
        for each in records
    ]


def depths_of(depths: work.Depths, workers: Sequence[work.WorkerRecord]) -> QueueDepths:
    """What waits, as users see it."""

    def served(task: work.TaskDepth) -> bool:
        return any(task.name in worker.activities and worker.serves.takes(task.tag) for worker in workers)

    def age(since: int | None) -> timedelta | None:
        return None if since is None else timedelta(microseconds=max(0, depths.now - since))

    return QueueDepths(
        at=from_us(depths.now),
        ready_instances=depths.ready,
        ready_age=age(depths.ready_since),
        messages=depths.messages,
        timers=depths.timers,
        held_instances=depths.held,
        held_age=age(depths.held_since),
        activities=[
            ActivityQueue(
                each.name, each.tag, each.waiting, each.delayed, each.running, age(each.waiting_since), served(each)
            )
            for each in depths.tasks
        ],
        undelivered=depths.parcels,
        undelivered_age=age(depths.parcels_since),
    )
