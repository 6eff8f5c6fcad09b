"""Strict validation of a stored history before it is replayed, and reading it without running code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from perdure import _events as ev
from perdure.errors import HistoryCorruptError, UnknownFormatError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from perdure._work import HistoryRow

_ENCODING = "json"
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
    ev.UpdateAnswered: ev.UpdateReceived,
}
_OPENING = (
    ev.UpdateReceived, ev.ActivityScheduled, ev.TimerCreated, ev.ChildScheduled, ev.WaitStarted, ev.LimitAsked,
)  # fmt: skip
_TERMINAL = (ev.Ended, ev.Terminated)
_TAGS = frozenset(kind.__struct_config__.tag for kind in ev.Event.__args__)
_KEPT_BY_THE_STORE = (ev.ActivityScheduled, ev.TimerCreated, ev.LimitAsked, ev.ChildScheduled)
_CLOSING = (
    ev.ActivityCompleted, ev.ActivityFailed, ev.ActivityCancelled, ev.TimerFired, ev.TimerCancelled, ev.LimitLeft,
    ev.ChildCompleted, ev.ChildFailed, ev.ChildCancelled,
)  # fmt: skip


class _Kind(msgspec.Struct):
    """As much of an event as every release writes."""

    t: str


def read_rows(rows: Sequence[HistoryRow]) -> list[Any]:
    """The events of stored rows.

    Raises:
        HistoryCorruptError: A checksum, a gap, or bytes that are no events.
        UnknownFormatError: A newer release wrote a row, or a kind of event in it.
    """
    events: list[Any] = []
    for row in rows:
        if row.format != ev.HISTORY_FORMAT or row.encoding != _ENCODING:
            raise UnknownFormatError(
                f"history row {row.first}-{row.last} has format {row.format}, encoding {row.encoding!r}; this release "
                f"reads format {ev.HISTORY_FORMAT}, encoding {_ENCODING!r}: let a newer worker take it",
                event_id=row.first,
            )
        if ev.checksum(row.data) != row.crc:
            raise _corrupt(row.first, f"the checksum of row {row.first}-{row.last} is wrong: bytes were changed")
        read = _read_row(row)
        if not read or read[0].id != row.first or read[-1].id != row.last or row.first != len(events) + 1:
            raise _corrupt(row.first, f"row {row.first}-{row.last} does not follow event {len(events)}")
        events += read
    return events


def _read_row(row: HistoryRow) -> list[ev.Event]:
    try:
        # Payloads are passed over when events are read, so their text must be seen to be text before.
        row.data.decode()
        return ev.decode_events(row.data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        unknown = _first_unknown(row.data)
        if unknown is not None:
            position, tag = unknown
            raise UnknownFormatError(
                f"event {row.first + position} is of kind {tag!r}, which this release does not know: "
                "let a newer worker take it",
                event_id=row.first + position,
            ) from error
        raise _corrupt(row.first, f"row {row.first}-{row.last} holds no events: {error}") from error


def _first_unknown(data: bytes) -> tuple[int, str] | None:
    try:
        found = msgspec.json.decode(data, type=list[_Kind])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return next(((position, kind.t) for position, kind in enumerate(found) if kind.t not in _TAGS), None)


def check(events: Sequence[Any], execution: int) -> None:
    """Refuse a history that breaks its own rules; the error names the event.

    Raises:
        HistoryCorruptError: The rule and the event.
    """
    if not events or not isinstance(events[0], ev.Started):
        raise _corrupt(1, "it does not begin with a start")
    if events[0].execution != execution:
        raise _corrupt(1, f"it belongs to execution {events[0].execution}, not {execution}")
    try:
        bytes.fromhex(events[0].secret)
    except ValueError as error:
        raise _corrupt(1, "its secret is not hexadecimal") from error
    checker = _Checker(events[0].carried)
    for position, event in enumerate(events, start=1):
        if event.id != position:
            raise _corrupt(event.id, f"event {position} is missing or out of place")
        checker.check(event)


class _Checker:
    """What is open, unread and over at each event."""

    def __init__(self, carried: Sequence[ev.Carried]) -> None:
        self._open: dict[int, Any] = {}
        self._unread: dict[int, str] = {index - len(carried): entry.name for index, entry in enumerate(carried)}
        self._given: dict[int, tuple[int, str]] = {}
        self._cancelled = False
        self._ended = False
        self._at = 0

    def check(self, event: Any) -> None:
        """Check one event against all before it, and take it in."""
        if self._ended:
            raise _corrupt(event.id, "it comes after the end")
        self._ended = isinstance(event, _TERMINAL)
        if isinstance(event, ev.Inbound):
            self._check_inbound(event)
        answered = _ANSWERS.get(type(event))
        if answered is not None:
            self._check_answer(event, answered)
        elif isinstance(event, ev.WaitStarted) and event.took is not None:
            self._check_taken(event)
        elif isinstance(event, ev.ActivityStopped):
            if not isinstance(self._open.get(event.source), ev.ActivityScheduled):
                raise _corrupt(event.id, f"event {event.source} is no open ActivityScheduled")
        elif isinstance(event, ev.LimitEntered | ev.LimitLeft):
            self._check_place(event)
        elif isinstance(event, _OPENING):
            self._open[event.id] = event

    def _check_inbound(self, event: ev.Inbound) -> None:
        if event.at < self._at:
            raise _corrupt(event.id, "its time is before that of an earlier event")
        self._at = event.at
        if isinstance(event, ev.Started) and event.id != 1:
            raise _corrupt(event.id, "it starts an execution that had started")
        if isinstance(event, ev.CancelRequested):
            if self._cancelled:
                raise _corrupt(event.id, "it asks for a cancel that had been asked for")
            self._cancelled = True
        if isinstance(event, ev.EventRaised):
            if event.wait is None:
                self._unread[event.id] = event.name
            else:
                self._give(event.id, event.wait, event.id, event.name)

    def _check_answer(self, event: Any, answered: type) -> None:
        if isinstance(event, ev.WaitCancelled) and event.gave_back is not None:
            event_id, name = self._given.pop(event.source, (None, ""))
            if event_id != event.gave_back:
                raise _corrupt(event.id, f"wait {event.source} had not been given event {event.gave_back}")
            if event.gave_to is None:
                self._unread[event.gave_back] = name
            else:
                self._give(event.id, event.gave_to, event.gave_back, name)
        elif not isinstance(self._open.pop(event.source, None), answered):
            raise _corrupt(event.id, f"event {event.source} is no open {answered.__name__}")

    def _check_place(self, event: ev.LimitEntered | ev.LimitLeft) -> None:
        """A place is entered once, and left while it is waited for or held."""
        place = self._open.pop(event.source, None)
        if isinstance(event, ev.LimitEntered) and isinstance(place, ev.LimitAsked):
            self._open[event.source] = event
        elif isinstance(event, ev.LimitEntered) or not isinstance(place, ev.LimitAsked | ev.LimitEntered):
            raise _corrupt(event.id, f"event {event.source} is no open LimitAsked")

    def _check_taken(self, wait: ev.WaitStarted) -> None:
        name = self._unread.pop(wait.took, None)  # type: ignore[arg-type]  # the caller has seen that it took one
        if name != wait.name:
            raise _corrupt(wait.id, f"it took external event {wait.took}, which was no unread {wait.name!r}")
        self._given[wait.id] = (wait.took, name)  # type: ignore[assignment]  # the same

    def _give(self, event_id: int, wait_id: int, given: int, name: str) -> None:
        wait = self._open.pop(wait_id, None)
        if not isinstance(wait, ev.WaitStarted) or wait.name != name:
            raise _corrupt(event_id, f"event {wait_id} is no open wait for {name!r}")
        self._given[wait_id] = (given, name)


def _corrupt(event_id: int, why: str) -> HistoryCorruptError:
    return HistoryCorruptError(f"the stored history is damaged at event {event_id}: {why}", event_id=event_id)


def open_asks(events: Sequence[Any]) -> dict[int, Any]:
    """The activities, timers, places of limits and sub-orchestrations that have not ended and were not given up."""
    asked: dict[int, Any] = {}
    for event in events:
        if isinstance(event, _KEPT_BY_THE_STORE):
            asked[event.id] = event
        elif isinstance(event, _CLOSING):
            asked.pop(event.source, None)
    return asked


def open_children(events: Sequence[Any]) -> list[ev.ChildScheduled]:
    """The sub-orchestrations of a history that have not ended and were not given up."""
    return [event for event in open_asks(events).values() if isinstance(event, ev.ChildScheduled)]


def runs(events: Sequence[Any]) -> Iterator[tuple[Any, Sequence[Any]]]:
    """Each inbound event with what was asked for behind it."""
    index = 0
    while index < len(events):
        begin = index
        index += 1
        while index < len(events) and isinstance(events[index], ev.Asked):
            index += 1
        yield events[begin], events[begin + 1 : index]
