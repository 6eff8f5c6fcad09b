"""How rows become records."""

from collections.abc import Sequence
from typing import Any

from perdure._events import Parent
from perdure._types import Status
from perdure._work import HistoryRow, InstanceRecord, WorkerRecord

COLUMNS = 23
"""How many columns a record has, in the order of the view `instance_records`."""


def record_of_row(row: Sequence[Any]) -> InstanceRecord:
    """The record of a row of the view `instance_records`."""
    (
        id_, incarnation, name, version, status, execution, created_at, updated_at, last_event, owner,
        cancel_requested, custom_status_version, held_because, root,
        parent_id, parent_incarnation, parent_execution, parent_event,
        attributes, custom_status, output, error, deliveries,
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
        cancel_requested=cancel_requested,
        owner=owner,
        parent=parent,
        root=root,
        attributes=attributes,
        last_event=last_event,
        deliveries=deliveries,
    )


def history_of_row(row: Sequence[Any]) -> HistoryRow:
    """A turn's events of a row of the statement `history`."""
    first, last, at, data, crc, format_, encoding = row
    return HistoryRow(first=first, last=last, at=at, data=data, crc=crc, format=format_, encoding=encoding)


def worker_of_row(row: Sequence[Any]) -> WorkerRecord:
    """A worker of a row of the statement `workers`."""
    number, name, pid, host, started_at, lease_until, orchestrations, activities = row
    return WorkerRecord(
        worker=number,
        name=name,
        pid=pid,
        host=host,
        started_at=started_at,
        lease_until=lease_until,
        orchestrations=tuple(orchestrations),
        activities=tuple(activities),
    )
