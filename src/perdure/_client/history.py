"""Histories as users read them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from perdure._core.history import read_rows
from perdure._types import from_us
from perdure._work import HistoryRow


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a history. `source` is the event it answers; `where` the line that asked, "shop/orders.py:41"."""

    id: int
    kind: str
    at: datetime
    source: int | None
    where: str | None
    data: Mapping[str, Any]


def read_events(rows: Sequence[HistoryRow]) -> Iterator[Event]:
    """The events of stored rows.

    Raises:
        HistoryCorruptError: The rows are damaged.
        UnknownFormatError: A newer release wrote them.
    """
    at = 0
    for event in read_rows(rows):
        at = getattr(event, "at", at)
        data = msgspec.json.decode(msgspec.json.encode(event))
        for known in ("t", "id", "at", "source", "where", "secret"):
            data.pop(known, None)
        if "forks" in data:
            data["forks"] = [{"event": each.event, "instance_id": each.instance_id} for each in event.forks]
        yield Event(
            id=event.id,
            kind=type(event).__name__,
            at=from_us(at),
            source=getattr(event, "source", None),
            where=getattr(event, "where", None),
            data=data,
        )
