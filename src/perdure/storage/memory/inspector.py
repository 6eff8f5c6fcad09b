"""Reading the reference storage: filters, counts, trees, and what waits."""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from perdure._types import Status
from perdure._work import (
    Depths,
    ExecutionRecord,
    HeldTask,
    InstanceCount,
    InstanceRecord,
    Lapsed,
    LimitUse,
    LimitUser,
    OpenTask,
    Query,
    Scan,
    TaskDepth,
)
from perdure.storage.memory.lanes import in_force, running
from perdure.storage.memory.rows import InstanceRow, Tables, TaskRow


def matching(tables: Tables, query: Query, before: int | None = None) -> Iterator[InstanceRecord]:
    """The instances that the query wants, newest first."""
    end = len(tables.incarnations) if before is None else bisect_left(tables.incarnations, before)
    for place in reversed(range(end)):
        record = tables.instances[tables.incarnations[place]].record
        if _matches(record, query) and _has_place(tables, record, query):
            yield record


def _matches(record: InstanceRecord, query: Query) -> bool:
    return (
        (not query.statuses or record.status in query.statuses)
        and query.name in (None, record.name)
        and query.version in (None, record.version)
        and query.root in (None, record.root)
        and _is_within(record.created_at, query.created_from, query.created_before)
        and _is_within(record.updated_at, query.updated_from, query.updated_before)
        and (not query.attributes or _has_attributes(record, query.attributes))
    )


def _is_within(at: int, first: int | None, end: int | None) -> bool:
    return (first is None or at >= first) and (end is None or at < end)


def _has_place(tables: Tables, record: InstanceRecord, query: Query) -> bool:
    """Whether it stands in its tree where the query wants it."""
    if query.roots_only and record.parent is not None and record.parent.incarnation in tables.instances:
        return False
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
    counted = Counter((record.name, record.status) for record in matching(tables, query))
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
