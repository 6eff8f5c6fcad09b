"""Strict validation of a stored history before it is replayed, and reading it without running code."""

from collections.abc import Sequence
from typing import Any

import msgspec

from perdure import _events as ev
from perdure._work import HistoryRow
from perdure.errors import HistoryCorruptError, UnknownFormatError

_ANSWERS: dict[type, type] = {
    ev.ActivityCompleted: ev.ActivityScheduled,
    ev.ActivityFailed: ev.ActivityScheduled,
    ev.ActivityCancelled: ev.ActivityScheduled,
    ev.TimerFired: ev.TimerCreated,
    ev.TimerCancelled: ev.TimerCreated,
    ev.ChildCompleted: ev.ChildScheduled,
    ev.ChildFailed: ev.ChildScheduled,
    ev.ChildCancelled: ev.ChildScheduled,
    ev.WaitCancelled: ev.WaitStarted,
}
_OPENING = (ev.ActivityScheduled, ev.TimerCreated, ev.ChildScheduled, ev.WaitStarted)
_TERMINAL = (ev.Ended, ev.Terminated)


def read_rows(rows: Sequence[HistoryRow]) -> list[Any]:
    """The events of stored rows.

    Raises:
        HistoryCorruptError: A checksum, a gap, or bytes that are no events.
        UnknownFormatError: A row that a newer release wrote.
    """
    events: list[Any] = []
    for row in rows:
        if row.format != ev.HISTORY_FORMAT or row.encoding != "json":
            raise UnknownFormatError(
                f"history row {row.first}-{row.last} has format {row.format}, encoding {row.encoding!r}; this release "
                f"reads format {ev.HISTORY_FORMAT}, encoding 'json': let a newer worker take it",
                event_id=row.first,
            )
        if ev.checksum(row.data) != row.crc:
            raise _corrupt(row.first, f"the checksum of row {row.first}-{row.last} is wrong: bytes were changed")
        try:
            read = ev.decode_events(row.data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _corrupt(row.first, f"row {row.first}-{row.last} holds no events: {error}") from error
        if not read or read[0].id != row.first or read[-1].id != row.last or row.first != len(events) + 1:
            raise _corrupt(row.first, f"row {row.first}-{row.last} does not follow event {len(events)}")
        events += read
    return events


def check(events: Sequence[Any], execution: int) -> None:
    """Refuse a history that breaks its own rules; the error names the event.

    Raises:
        HistoryCorruptError: The rule and the event.
    """
    if not events or not isinstance(events[0], ev.Started):
        raise _corrupt(1, "it does not begin with a start")
    if events[0].execution != execution:
        raise _corrupt(1, f"it belongs to execution {events[0].execution}, not {execution}")
    checker = _Checker(len(events[0].carried))
    for position, event in enumerate(events, start=1):
        if event.id != position:
            raise _corrupt(event.id, f"event {position} is missing or out of place")
        checker.check(event)


class _Checker:
    """What is open, unread and over at each event."""

    def __init__(self, carried: int) -> None:
        self._open: dict[int, Any] = {}
        self._unread: set[int] = set(range(-carried, 0))
        self._given: dict[int, int] = {}
        self._ended = False
        self._at = 0

    def check(self, event: Any) -> None:
        """Check one event against all before it, and take it in."""
        if self._ended:
            raise _corrupt(event.id, "it comes after the end")
        self._ended = isinstance(event, _TERMINAL)
        if isinstance(event, ev.Inbound):
            self._check_inbound(event)
        elif event.id == 1:
            raise _corrupt(1, "it does not begin with a start")
        answered = _ANSWERS.get(type(event))
        if answered is not None:
            self._check_answer(event, answered)
        if isinstance(event, ev.WaitStarted) and event.took is not None:
            if event.took not in self._unread:
                raise _corrupt(event.id, f"it took external event {event.took}, which was not unread")
            self._unread.remove(event.took)
            self._given[event.id] = event.took
        elif isinstance(event, _OPENING):
            self._open[event.id] = event

    def _check_inbound(self, event: Any) -> None:
        if event.at < self._at:
            raise _corrupt(event.id, "its time is before that of an earlier event")
        self._at = event.at
        if isinstance(event, ev.Started) and event.id != 1:
            raise _corrupt(event.id, "it starts an execution that had started")
        if isinstance(event, ev.EventRaised):
            if event.wait is None:
                self._unread.add(event.id)
                return
            wait = self._open.pop(event.wait, None)
            if not isinstance(wait, ev.WaitStarted) or wait.name != event.name:
                raise _corrupt(event.id, f"event {event.wait} is no open wait for {event.name!r}")
            self._given[event.wait] = event.id

    def _check_answer(self, event: Any, answered: type) -> None:
        if isinstance(event, ev.WaitCancelled) and event.gave_back is not None:
            if self._given.pop(event.source, None) != event.gave_back:
                raise _corrupt(event.id, f"wait {event.source} had not been given event {event.gave_back}")
            self._unread.add(event.gave_back)
            return
        if not isinstance(self._open.pop(event.source, None), answered):
            raise _corrupt(event.id, f"event {event.source} is no open {answered.__name__}")


def _corrupt(event_id: int, why: str) -> HistoryCorruptError:
    return HistoryCorruptError(f"the stored history is damaged at event {event_id}: {why}", event_id=event_id)


def open_children(events: Sequence[Any]) -> list[ev.ChildScheduled]:
    """The sub-orchestrations of a history that have not ended and were not given up."""
    children: dict[int, ev.ChildScheduled] = {}
    for event in events:
        if isinstance(event, ev.ChildScheduled):
            children[event.id] = event
        elif isinstance(event, ev.ChildCompleted | ev.ChildFailed | ev.ChildCancelled):
            children.pop(event.source, None)
    return list(children.values())
