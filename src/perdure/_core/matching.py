"""Comparing what a replay asks for with what history records.

The order within the run of one event is compared exactly, with one tolerance: asyncio itself schedules a little
differently from one Python version to the next, so actions whose content is unique in their run may have changed
places. Equal actions may not: their results go to different tasks. Cancellations are a set, written in the order of
the ids that they cancel.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from perdure import _events as ev
from perdure.errors import ReplayMismatchError

PYTHON = ".".join(map(str, sys.version_info[:3]))
"""The version that an execution records when it starts."""


def match(recorded: Sequence[Any], asks: Sequence[Any], python: str) -> Iterable[tuple[Any, Any]]:
    """Pairs of recorded event and ask; raises ReplayMismatchError where they differ."""
    if len(recorded) == len(asks):
        for event, ask in zip(recorded, asks, strict=True):
            if not _same(event, ask):
                break
        else:
            return zip(recorded, asks, strict=True)
    return _match_displaced(recorded, asks, python)


def _match_displaced(recorded: Sequence[Any], asks: Sequence[Any], python: str) -> Iterable[tuple[Any, Any]]:
    contents = [_content(event) for event in recorded]
    attempted = [_content_as(ask, contents) for ask in asks]
    counts = Counter(contents)
    displaced = [
        index for index, (mine, theirs) in enumerate(zip(contents, attempted, strict=False)) if mine != theirs
    ]
    tolerable = (
        counts == Counter(attempted)
        and all(counts[contents[index]] == 1 for index in displaced)
        and not any(isinstance(recorded[index], ev.Ended) for index in displaced)
    )
    if not tolerable:
        raise _mismatch(recorded, asks, contents, attempted, python)
    places = {contents[index]: recorded[index] for index in displaced}
    return [
        (places[content] if content in places else event, ask)
        for event, ask, content in zip(recorded, asks, attempted, strict=True)
    ]


def _mismatch(
    recorded: Sequence[Any], asks: Sequence[Any], contents: list[Any], attempted: list[Any], python: str
) -> ReplayMismatchError:
    index = next(
        (i for i, (mine, theirs) in enumerate(zip(contents, attempted, strict=False)) if mine != theirs),
        min(len(contents), len(attempted)),
    )
    event = recorded[index] if index < len(recorded) else None
    other = asks[index].event(0) if index < len(asks) else None
    described = describe(other) if other is not None else None
    if python != PYTHON:
        described = f"{described or 'nothing'} [recorded under Python {python}, replayed under {PYTHON}]"
    return ReplayMismatchError(
        event_id=None if event is None else event.id,
        recorded=None if event is None else describe(event),
        attempted=described,
        recorded_at=None if event is None else event.where,
        attempted_at=None if other is None else other.where,
    )


def _same(event: Any, ask: Any) -> bool:
    attempted = ask.event(event.id)
    if type(attempted) is not type(event):
        return False
    content = _content(event)
    return content == _content(attempted) or any(content == _content(attempted, name) for name in ask.names())


def _content_as(ask: Any, contents: list[Any]) -> Any:
    """What was asked for, under the former name that history knows it by, if it does."""
    event = ask.event(0)
    content = _content(event)
    if content not in contents:
        for name in ask.names():
            if _content(event, name) in contents:
                return _content(event, name)
    return content


def _content(event: Any, name: str | None = None) -> tuple[Any, ...]:  # noqa: C901, PLR0911 - one line per kind
    """What makes two actions the same: kind, name, input, deadline; not the id, the line, or the retry policy."""
    match event:
        case ev.ActivityScheduled():
            return ("activity", name or event.name, bytes(event.input), event.tag, event.session)
        case ev.TimerCreated(fire_at=fire_at):
            return ("timer", fire_at)
        case ev.WaitStarted():
            return ("wait", event.name, event.took)
        case ev.WaitCancelled():
            return ("wait cancelled", event.source, event.gave_back)
        case ev.ChildScheduled():
            return ("child", name or event.name, bytes(event.input), event.instance_id, event.version)
        case ev.DetachedStarted():
            return ("detached", event.name, bytes(event.input), event.instance_id, event.version)
        case ev.EventSent():
            return ("event", event.instance_id, event.name, bytes(event.data))
        case ev.StatusSet(value=value):
            return ("status", bytes(value))
        case ev.Completed(output=output):
            return ("completed", bytes(output))
        case ev.Failed(error=error):
            return ("failed", error.type)
        case ev.ContinuedAsNew():
            carried = tuple((entry.name, bytes(entry.data)) for entry in event.carried)
            return ("continued", bytes(event.input), event.version, carried)
        case ev.Cancelled():
            return ("cancelled",)
        case _:
            return (type(event).__name__, event.source)


_SHOWN_BYTES_MAX = 200


def _shown(data: Any) -> str:
    text = bytes(data).decode()
    return text if len(text) <= _SHOWN_BYTES_MAX else f"{text[:_SHOWN_BYTES_MAX]}..."


def describe(event: Any) -> str:  # noqa: C901, PLR0911 - one line per kind
    """An action in words, for errors."""
    match event:
        case ev.ActivityScheduled():
            return f"activity {event.name}{_shown(event.input)}"
        case ev.TimerCreated(fire_at=fire_at):
            return f"a timer at {fire_at} us"
        case ev.WaitStarted():
            return f"a wait for external event {event.name!r}"
        case ev.ChildScheduled():
            return f"sub-orchestration {event.name}{_shown(event.input)} as {event.instance_id!r}"
        case ev.DetachedStarted():
            return f"detached orchestration {event.name}{_shown(event.input)} as {event.instance_id!r}"
        case ev.EventSent():
            return f"external event {event.name!r} to {event.instance_id!r}"
        case ev.StatusSet(value=value):
            return f"custom status {_shown(value)}"
        case ev.Completed(output=output):
            return f"the end, with result {_shown(output)}"
        case ev.Failed(error=error):
            return f"the end, by {error.type}: {error.message}"
        case ev.Cancelled():
            return "the end, cancelled"
        case ev.ContinuedAsNew():
            return f"to continue as new with {_shown(event.input)}"
        case _:
            kind = type(event).__name__.removesuffix("Cancelled").lower()
            return f"to cancel the {kind} of event {event.source}"
