"""How rows become records, for storages that keep rows: with the columns in the order that all of them have."""

from collections.abc import Iterable, Sequence
from typing import Any

from perdure._events import Parent
from perdure._types import Status
from perdure._work import (
    Depths,
    ExecutionRecord,
    HeldTask,
    InstanceCount,
    InstanceRecord,
    LimitUse,
    LimitUser,
    OpenTask,
    Standing,
    TaskDepth,
)

COLUMNS = 25
"""How many columns a record has."""

STANDINGS = {None: Standing.GONE, False: Standing.WANTED, True: Standing.STOPPED}
"""How a task stands, by whether it was told to stop; None where there is no such task."""


def record_of_row(row: Sequence[Any]) -> InstanceRecord:
    """The record of a row of the statement or view that shows instances."""
    (
        id_, incarnation, name, version, status, execution, created_at, updated_at, last_event, owner,
        cancel_requested, custom_status_version, held_because, root,
        parent_id, parent_incarnation, parent_execution, parent_event, deliveries, min_reader, resets,
        attributes, custom_status, output, error,
    ) = row  # fmt: skip
    parent = None
    if parent_id is not None:
        parent = Parent(
            instance_id=parent_id, incarnation=parent_incarnation, execution=parent_execution, event=parent_event
        )
    return InstanceRecord(
        id=id_,
        incarnation=incarnation,
        name=name,
        version=version,
        status=Status(status),
        execution=execution,
        created_at=created_at,
        updated_at=updated_at,
        output=output,
        error=error,
        custom_status=custom_status,
        custom_status_version=custom_status_version,
        held_because=held_because,
        cancel_requested=bool(cancel_requested),
        owner=owner,
        parent=parent,
        root=root,
        attributes=attributes,
        last_event=last_event,
        deliveries=deliveries,
        min_reader=min_reader,
        resets=resets,
    )


def counts_of_rows(rows: Iterable[Sequence[Any]]) -> list[InstanceCount]:
    """How many instances there are, of rows of the statement `count_instances`."""
    return [InstanceCount(name=name, status=Status(status), count=many) for name, status, many in rows]


def executions_of_rows(rows: Iterable[Sequence[Any]]) -> list[ExecutionRecord]:
    """Executions, of rows of the statement `executions`."""
    return [
        ExecutionRecord(execution=execution, first_at=first_at, last_at=last_at, events=events, size=size)
        for execution, first_at, last_at, events, size in rows
    ]


def held_of_rows(rows: Iterable[Sequence[Any]]) -> list[HeldTask]:
    """Tasks that were set aside, of rows of the statement `held_tasks`."""
    return [HeldTask(**dict(zip(HeldTask.__struct_fields__, row, strict=True))) for row in rows]


def open_of_rows(rows: Iterable[Sequence[Any]]) -> list[OpenTask]:
    """Activities that have not ended, of rows of the statement `open_tasks`."""
    return [
        OpenTask(**dict(zip(OpenTask.__struct_fields__, (*row, bool(stopped)), strict=True))) for *row, stopped in rows
    ]


def depths_of_rows(now: int, counts: Sequence[Any], tasks: Iterable[Sequence[Any]]) -> Depths:
    """What waits, of the row of the statement `depths` and the rows of `task_depths`."""
    ready, ready_since, messages, timers, held, held_since, parcels, parcels_since = counts
    return Depths(
        now=now,
        ready=ready,
        ready_since=ready_since,
        messages=messages,
        timers=timers,
        held=held,
        held_since=held_since,
        parcels=parcels,
        parcels_since=parcels_since,
        tasks=tuple(
            TaskDepth(name=name, tag=tag, waiting=waiting, delayed=delayed, running=running, waiting_since=since)
            for name, tag, waiting, delayed, running, since in tasks
        ),
    )


def limits_of_rows(now: int, rows: Iterable[Sequence[Any]]) -> list[LimitUse]:
    """The limits at this moment, of the rows of the statement that looks at them."""
    return [
        LimitUse(
            key=key,
            concurrency=concurrency,
            rate=rate,
            per_us=per_us,
            running=running,
            waiting=waiting,
            waiting_us=None if since is None else max(now - since, 0),
        )
        for key, concurrency, rate, per_us, running, waiting, since in rows
    ]


def limit_users_of_rows(rows: Iterable[Sequence[Any]]) -> list[LimitUser]:
    """The users of a limit of the rows of the statement `limit_users`."""
    return [
        LimitUser(instance_id=instance_id, event=event, name=name, scheduled_at=scheduled_at, owner=owner)
        for instance_id, event, name, scheduled_at, owner in rows
    ]
