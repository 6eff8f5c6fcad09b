"""How rows become records."""

from collections.abc import Sequence
from typing import Any

from perdure._work import HistoryRow, Serves, WorkerRecord


def history_of_row(row: Sequence[Any]) -> HistoryRow:
    """A turn's events of a row of the statement `history`."""
    first, last, at, data, crc, format_, encoding = row
    return HistoryRow(first=first, last=last, at=at, data=data, crc=crc, format=format_, encoding=encoding)


def worker_of_row(row: Sequence[Any]) -> WorkerRecord:
    """A worker of a row of the statement `workers`."""
    (
        number, name, pid, host, started_at, lease_until, orchestrations, activities, untagged, tags, other_tags,
        sessions, session_idle_us,
    ) = row  # fmt: skip
    return WorkerRecord(
        worker=number,
        name=name,
        pid=pid,
        host=host,
        started_at=started_at,
        lease_until=lease_until,
        orchestrations=tuple(orchestrations),
        activities=tuple(activities),
        serves=Serves(
            untagged=untagged,
            tags=tuple(tags),
            others=other_tags,
            sessions=sessions,
            session_idle_us=session_idle_us,
        ),
    )
