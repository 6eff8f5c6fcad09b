"""Reading the reference storage: filters, counts, trees, and what waits."""

import threading
from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from perdure._types import Status
from perdure._work import (
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
    Scan,
    TaskDepth,
    WorkerRecord,
)
from perdure.storage.base import parse_page_key
from perdure.storage.memory.images import images
from perdure.storage.memory.lanes import in_force, running
from perdure.storage.memory.parcels import parcels
from perdure.storage.memory.rows import InstanceRow, Tables, TaskRow
from perdure.storage.pages import put_together


class Memory:
    """What all handles on one memory share."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.tables = Tables()
        self.commits = 0


class MemoryInspector(ABC):
    """The half of a store that only reads; see `Inspector`."""

    _memory: Memory

    @abstractmethod
    def now(self) -> int:
        """The store's time."""

    def get(self, instance_id: str, /) -> InstanceRecord | None:
        """One instance by id."""
        return self.get_many([instance_id]).get(instance_id)

    def get_many(self, instance_ids: Sequence[str], /) -> dict[str, InstanceRecord]:
        """Those of the instances that exist."""
        with self._memory.lock:
            by_id = self._memory.tables.by_id
            return {id_: by_id[id_].record for id_ in instance_ids if id_ in by_id}

    def still_open(self, instance_ids: Sequence[str], /) -> dict[str, int]:
        """The incarnations of those of the instances that are open."""
        return {id_: each.incarnation for id_, each in self.get_many(instance_ids).items() if not each.status.is_closed}

    def find(self, query: Query, /) -> tuple[list[InstanceRecord], str | None]:
        """One page and the key of the next, None at the end."""
        with self._memory.lock:
            return page(self._memory.tables, query)

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
        with self._memory.lock:
            return history(self._memory.tables, incarnation, execution)

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

    def workers(self) -> list[WorkerRecord]:
        """The registered workers, in order of registration."""
        with self._memory.lock:
            return [row.record for row in self._memory.tables.workers.values()]


def history(tables: Tables, incarnation: int, execution: int) -> list[HistoryRow]:
    """All rows of one execution, in order."""
    row = tables.instances.get(incarnation)
    return [] if row is None else list(row.history.get(execution, ()))


def page(tables: Tables, query: Query) -> tuple[list[InstanceRecord], str | None]:
    """A page and the key of the next, None at the end; looked at are those that other stores find by an index."""
    behind = None if query.after is None else parse_page_key(query.after)
    limit = max(query.limit, 0)
    found: dict[int, InstanceRecord] = {}
    end = 0
    for looked, record in enumerate(_placed(tables, query, behind), start=1):
        if _matches(tables, record, query):
            found[record.incarnation] = record
        if len(found) > limit or looked == max(query.rows_max, 1):
            end = record.incarnation
            break
    incarnations, key = put_together([(found, end)], limit)
    return [found[each] for each in incarnations], key


def _placed(tables: Tables, query: Query, behind: int | None = None) -> Iterator[InstanceRecord]:
    """The instances with the statuses, the name, the root and the parents that the query wants, newest first."""
    end = len(tables.incarnations) if behind is None else bisect_left(tables.incarnations, behind)
    for place in reversed(range(end)):
        record = tables.instances[tables.incarnations[place]].record
        if (
            (not query.statuses or record.status in query.statuses)
            and query.name in (None, record.name)
            and query.root in (None, record.root)
            and _has_parent(tables, record, query)
        ):
            yield record


def _matches(tables: Tables, record: InstanceRecord, query: Query) -> bool:
    return (
        query.version in (None, record.version)
        and _is_within(record.created_at, query.created_from, query.created_before)
        and _is_within(record.updated_at, query.updated_from, query.updated_before)
        and (not query.attributes or _has_attributes(record, query.attributes))
        and not (query.roots_only and record.parent is not None and record.parent.incarnation in tables.instances)
    )


def _is_within(at: int, first: int | None, end: int | None) -> bool:
    return (first is None or at >= first) and (end is None or at < end)


def _has_parent(tables: Tables, record: InstanceRecord, query: Query) -> bool:
    if query.parents and (record.parent is None or record.parent.incarnation not in query.parents):
        return False
    if query.parent is None:
        return True
    parent = tables.by_id.get(query.parent)
    return parent is not None and record.incarnation in tables.children.get(parent.record.incarnation, ())


def _has_attributes(record: InstanceRecord, wanted: dict[str, Any]) -> bool:
    attributes = {} if record.attributes is None else msgspec.json.decode(record.attributes)
    wanted = msgspec.to_builtins(wanted)
    return all(key in attributes and _same_json(attributes[key], value) for key, value in wanted.items())


def _same_json(left: object, right: object) -> bool:
    """Equal as JSON: 1 is 1.0, but true is not 1."""
    return left == right and isinstance(left, bool) == isinstance(right, bool)


def count(tables: Tables, query: Query) -> list[InstanceCount]:
    """How many instances match, by name and status."""
    counted = Counter(
        (record.name, record.status) for record in _placed(tables, query) if _matches(tables, record, query)
    )
    return [InstanceCount(name=name, status=status, count=counted[name, status]) for name, status in sorted(counted)]


def family(tables: Tables, instance_id: str) -> list[InstanceRecord]:
    """The instance and everything below it, generation by generation."""
    root = tables.by_id.get(instance_id)
    found: list[InstanceRecord] = []
    generation = [] if root is None else [root.record]
    while generation:
        found += generation
        below = {child for parent in generation for child in tables.children.get(parent.incarnation, ())}
        generation = [tables.instances[child].record for child in sorted(below)]
    return found


def executions(tables: Tables, incarnation: int) -> list[ExecutionRecord]:
    """The executions of an instance that have a history."""
    row = tables.instances.get(incarnation)
    return [
        ExecutionRecord(
            execution=execution,
            first_at=min(each.at for each in rows),
            last_at=max(each.at for each in rows),
            events=rows[-1].last,
            size=sum(len(each.data) for each in rows),
        )
        for execution, rows in sorted(({} if row is None else row.history).items())
    ]


def depths(tables: Tables, now: int) -> Depths:
    """What waits at this moment."""
    rows = tables.instances.values()
    ready = [row.waiting[0][0] for row in rows if row.waiting and row.waiting[0][0] <= now and _is_ready(row)]
    held = [row.record.updated_at for row in rows if row.record.status is Status.HELD]
    return Depths(
        now=now,
        ready=len(ready),
        ready_since=min(ready, default=None),
        messages=sum(len(row.messages) for row in rows),
        timers=sum(len(row.timers) for row in rows),
        held=len(held),
        held_since=min(held, default=None),
        parcels=len(tables.outbox),
        parcels_since=min((parcel.sent_at for parcel in tables.outbox.values()), default=None),
        tasks=_task_depths(tables, now),
    )


def _is_ready(row: InstanceRow) -> bool:
    return row.record.owner is None and row.record.status in (Status.PENDING, Status.RUNNING)


def _task_depths(tables: Tables, now: int) -> tuple[TaskDepth, ...]:
    tasks = [task for row in tables.instances.values() for task in row.tasks.values() if task.new.permit is None]
    queues: dict[tuple[str, str], list[TaskRow]] = {}
    for task in tasks:
        queues.setdefault((task.new.name, task.new.tag or ""), []).append(task)
    return tuple(_task_depth(name, tag or None, queues[name, tag], now) for name, tag in sorted(queues))


def _task_depth(name: str, tag: str | None, tasks: list[TaskRow], now: int) -> TaskDepth:
    waiting = [task for task in tasks if task.owner is None and task.due <= now]
    running = sum(task.owner is not None for task in tasks)
    return TaskDepth(
        name=name,
        tag=tag,
        waiting=len(waiting),
        delayed=len(tasks) - len(waiting) - running,
        running=running,
        waiting_since=min((task.scheduled_at for task in waiting), default=None),
    )


def limits(tables: Tables, now: int) -> list[LimitUse]:
    """The limits that somebody has a place of, or waits for, in order of their keys."""
    return [_limit_use(tables, key, now) for key in sorted(tables.limited, key=str.encode)]


def _limit_use(tables: Tables, key: str, now: int) -> LimitUse:
    limit = in_force(tables, key)
    waiting = [task for task in tables.limited[key].values() if task.owner is None and task.due <= now]
    return LimitUse(
        key=key,
        concurrency=limit.concurrency,
        rate=limit.rate,
        per_us=limit.per_us,
        running=running(tables, key),
        waiting=len(waiting),
        waiting_us=max((max(now - task.scheduled_at, 0) for task in waiting), default=None),
    )


def limit_users(tables: Tables, key: str, limit: int) -> list[LimitUser]:
    """The tasks of a key, at most so many: those that have a place, then those that wait, as they are in line."""
    tasks = sorted(tables.limited.get(key, {}).values(), key=lambda task: (task.owner is None, task.rank))
    return [
        LimitUser(
            instance_id=tables.instances[task.incarnation].record.id,
            event=task.new.event,
            name=task.new.name,
            scheduled_at=task.scheduled_at,
            owner=task.owner,
        )
        for task in tasks[:limit]
    ]


def lapsed(tables: Tables, scan: Scan) -> Lapsed:
    """What need not be kept any more, among a few instances."""
    first = bisect_right(tables.incarnations, scan.after)
    seen = tables.incarnations[first : first + scan.rows_max]
    rows = [tables.instances[incarnation] for incarnation in seen]
    return Lapsed(
        roots=tuple(_name_of(row) for row in rows if _is_over(tables, row.record, scan)),
        overlong=tuple(_name_of(row) for row in rows if _has_past(row, scan.executions)),
        last=seen[-1] if len(seen) == scan.rows_max else None,
    )


def _name_of(row: InstanceRow) -> tuple[str, int]:
    return row.record.id, row.record.incarnation


def _is_over(tables: Tables, record: InstanceRecord, scan: Scan) -> bool:
    end = scan.completed_before if record.status is Status.COMPLETED else scan.ended_before
    is_child = record.parent is not None and record.parent.incarnation in tables.instances
    return record.status.is_closed and not is_child and end is not None and record.updated_at < end


def _has_past(row: InstanceRow, kept: int | None) -> bool:
    return kept is not None and any(execution <= row.record.execution - kept for execution in row.history)


def open_tasks(tables: Tables, incarnation: int, limit: int) -> list[OpenTask]:
    """The activities of an instance that have not ended, in order of their events."""
    row = tables.instances.get(incarnation)
    tasks = [task for task in row.tasks.values() if task.new.permit is None] if row is not None else []
    return [
        OpenTask(
            event=task.new.event,
            name=task.new.name,
            attempt=task.attempt,
            scheduled_at=task.scheduled_at,
            due_at=task.due,
            owner=task.owner,
            tag=task.new.tag,
            last_error=task.last_error,
            held_because=task.held_because,
            stopped=task.stopped,
        )
        for task in sorted(tasks, key=lambda task: task.new.event)[:limit]
    ]


def held_tasks(tables: Tables, limit: int, incarnation: int | None) -> list[HeldTask]:
    """The tasks that were set aside, in order of the moment."""
    held = [
        HeldTask(
            instance_id=row.record.id,
            incarnation=task.incarnation,
            execution=task.execution,
            event=task.new.event,
            name=task.new.name,
            held_at=task.held_at or 0,
            held_because=task.held_because,
            scheduled_at=task.scheduled_at,
            attempt=task.attempt,
            deliveries=task.deliveries,
            began_at=task.began_at,
        )
        for row in tables.instances.values()
        for task in row.tasks.values()
        if task.held_because is not None and incarnation in (None, task.incarnation)
    ]
    return sorted(held, key=lambda each: (each.held_at, each.incarnation, each.execution, each.event))[:limit]
