"""Comparing what a replay asks for with what history records.

The order within the run of one event is compared exactly, with one tolerance: asyncio itself schedules a little
differently from one Python version to the next, so actions whose content is unique in their run may have changed
places. Equal actions may not: their results go to different tasks. Cancellations are a set, written in the order of
the ids that they cancel.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from perdure import _events as ev
from perdure.errors import ReplayMismatchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from perdure._core.asks import Ask

PYTHON = ".".join(map(str, sys.version_info[:3]))
"""The version that an execution records when it starts."""

_SHOWN_CHARS_MAX = 200


def match(inbound: Any, recorded: Sequence[Any], asks: Sequence[Ask], python: str) -> Iterable[tuple[Any, Ask]]:
    """Pairs of recorded event and ask in the run of an inbound event.

    Raises:
        ReplayMismatchError: They differ. Its `event_id` is the recorded event, or the one that history lacks.
    """
    if len(recorded) == len(asks):
        for event, ask in zip(recorded, asks, strict=True):
            if not _same(event, ask):
                break
        else:
            return zip(recorded, asks, strict=True)
    return _match_displaced(inbound, recorded, asks, python)


def _match_displaced(
    inbound: Any, recorded: Sequence[Any], asks: Sequence[Ask], python: str
) -> Iterable[tuple[Any, Ask]]:
    contents = [_content(event) for event in recorded]
    attempted = [_content_as(ask, contents) for ask in asks]
    counts = Counter(contents)
    displaced = [index for index, (mine, theirs) in enumerate(zip(contents, attempted, strict=False)) if mine != theirs]
    tolerable = (
        counts == Counter(attempted)
        and all(counts[contents[index]] == 1 for index in displaced)
        and not any(isinstance(recorded[index], ev.Ended) for index in displaced)
    )
    if not tolerable:
        index = displaced[0] if displaced else min(len(recorded), len(asks))
        missing = recorded[-1].id + 1 if recorded else inbound.id + 1
        event = _at(recorded, index)
        raise _mismatch(missing if event is None else event.id, event, _at(asks, index), python)
    places = {contents[index]: recorded[index] for index in displaced}
    return [(places.get(content, event), ask) for event, ask, content in zip(recorded, asks, attempted, strict=True)]


def _at(items: Sequence[Any], index: int) -> Any:
    return items[index] if index < len(items) else None


def _mismatch(event_id: int, event: Any, ask: Ask | None, python: str) -> ReplayMismatchError:
    attempt = None if ask is None else ask.event(event_id)
    attempted = None if attempt is None else describe(attempt)
    if python != PYTHON:
        attempted = f"{attempted or 'nothing'} [recorded under Python {python}, replayed under {PYTHON}]"
    return ReplayMismatchError(
        event_id=event_id,
        recorded=None if event is None else describe(event),
        attempted=attempted,
        recorded_at=None if event is None else event.where,
        attempted_at=None if attempt is None else attempt.where,
    )


def _same(event: Any, ask: Ask) -> bool:
    attempted = ask.event(event.id)
    if type(attempted) is not type(event):
        return False
    content = _content(event)
    return content == _content(attempted) or any(content == _renamed(attempted, name) for name in ask.names())


def _content_as(ask: Ask, contents: list[Any]) -> Any:
    """What was asked for, under the former name that history knows it by, if it does."""
    event = ask.event(0)
    content = _content(event)
    if content not in contents:
        for name in ask.names():
            renamed = _renamed(event, name)
            if renamed in contents:
                return renamed
    return content


def _renamed(event: Any, name: str) -> tuple[Any, ...]:
    return _content(replace(event, name=name))


def _content(event: Any) -> tuple[Any, ...]:
    """What makes two actions the same: kind, name, input, deadline; not the id, the line, or the retry policy."""
    return _CONTENTS[type(event)](event)


_CONTENTS: dict[type, Callable[[Any], tuple[Any, ...]]] = {
    ev.ActivityScheduled: lambda event: ("activity", event.name, bytes(event.input), event.tag, event.session),
    ev.ActivityCancelled: lambda event: ("activity cancelled", event.source),
    ev.ActivityStopped: lambda event: ("activity stopped", event.source),
    ev.TimerCreated: lambda event: ("timer", event.fire_at),
    ev.TimerCancelled: lambda event: ("timer cancelled", event.source),
    ev.WaitStarted: lambda event: ("wait", event.name, event.took),
    ev.WaitCancelled: lambda event: ("wait cancelled", event.source, event.gave_back, event.gave_to),
    # Not the numbers, which two releases may have different ones of.
    ev.LimitAsked: lambda event: ("limit", event.limit.key),
    ev.LimitLeft: lambda event: ("limit left", event.source),
    ev.ChildScheduled: lambda event: (
        "child", event.name, bytes(event.input), event.instance_id, event.version, event.on_close,
    ),
    ev.ChildCancelled: lambda event: ("child cancelled", event.source, event.terminate),
    ev.DetachedStarted: lambda event: (
        "detached", event.name, bytes(event.input), event.instance_id, event.version,
    ),
    ev.EventSent: lambda event: ("event", event.instance_id, event.name, bytes(event.data)),
    ev.StatusSet: lambda event: ("status", bytes(event.value)),
    ev.ValueSet: lambda event: ("value", event.key, bytes(event.value)),
    ev.ValuesCleared: lambda event: ("values cleared", event.keys),
    ev.UpdateAnswered: lambda event: (
        "update answered", event.source, bytes(event.result), None if event.error is None else event.error.type,
    ),
    ev.Completed: lambda event: ("completed", bytes(event.output)),
    # Not the message: it may hold what differs from run to run, such as an address.
    ev.Failed: lambda event: ("failed", event.error.type),
    ev.Cancelled: lambda _: ("cancelled",),
    ev.ContinuedAsNew: lambda event: (
        "continued", bytes(event.input), event.version,
        tuple((entry.name, bytes(entry.data)) for entry in event.carried),
    ),
}  # fmt: skip


def describe(event: Any) -> str:
    """An action in words, for errors."""
    return _WORDS[type(event)](event)


def _shown(data: Any) -> str:
    text = bytes(data).decode()
    return text if len(text) <= _SHOWN_CHARS_MAX else f"{text[:_SHOWN_CHARS_MAX]}..."


def _labels(event: ev.ActivityScheduled) -> str:
    labels = {"tag": event.tag, "session": event.session}
    shown = ", ".join(f"{name} {label!r}" for name, label in labels.items() if label is not None)
    return f" with {shown}" if shown else ""


def _wait_in_words(event: ev.WaitStarted) -> str:
    taken = "" if event.took is None else f", which took event {event.took}"
    return f"a wait for external event {event.name!r}{taken}"


def _wait_cancelled_in_words(event: ev.WaitCancelled) -> str:
    given_back = "" if event.gave_back is None else f" and give back event {event.gave_back}"
    passed_on = "" if event.gave_to is None else f" to the wait of event {event.gave_to}"
    return f"to cancel the wait of event {event.source}{given_back}{passed_on}"


_WORDS: dict[type, Callable[[Any], str]] = {
    ev.ActivityScheduled: lambda event: f"activity {event.name}{_shown(event.input)}{_labels(event)}",
    ev.ActivityCancelled: lambda event: f"to cancel the activity of event {event.source}",
    ev.ActivityStopped: lambda event: f"to stop the activity of event {event.source}",
    ev.TimerCreated: lambda event: f"a timer at {event.fire_at} us",
    ev.TimerCancelled: lambda event: f"to cancel the timer of event {event.source}",
    ev.WaitStarted: _wait_in_words,
    ev.WaitCancelled: _wait_cancelled_in_words,
    ev.LimitAsked: lambda event: f"a place of the limit {event.limit.key!r}",
    ev.LimitLeft: lambda event: f"to leave the place of the limit that event {event.source} asked for",
    ev.ChildScheduled: lambda event: (
        f"sub-orchestration {event.name}{_shown(event.input)} as {event.instance_id!r}{_version(event)}"
        f", on_close {event.on_close!r}"
    ),
    ev.ChildCancelled: lambda event: (
        f"to {'terminate' if event.terminate else 'cancel'} the sub-orchestration of event {event.source}"
    ),
    ev.DetachedStarted: lambda event: (
        f"detached orchestration {event.name}{_shown(event.input)} as {event.instance_id!r}{_version(event)}"
    ),
    ev.EventSent: lambda event: f"external event {event.name!r} to {event.instance_id!r} with {_shown(event.data)}",
    ev.StatusSet: lambda event: f"custom status {_shown(event.value)}",
    ev.ValueSet: lambda event: f"to set {event.key!r} to {_shown(event.value)}",
    ev.ValuesCleared: lambda event: f"to clear {', '.join(map(repr, event.keys))}",
    ev.UpdateAnswered: lambda event: (
        f"to answer the update of event {event.source} with "
        + (_shown(event.result) if event.error is None else f"{event.error.type}: {event.error.message}")
    ),
    ev.Completed: lambda event: f"the end, with result {_shown(event.output)}",
    ev.Failed: lambda event: f"the end, by {event.error.type}: {event.error.message}",
    ev.Cancelled: lambda _: "the end, cancelled",
    ev.ContinuedAsNew: lambda event: (
        f"to continue as new with {_shown(event.input)}{_version(event)}, carrying {len(event.carried)} unread events"
    ),
}


def _version(event: Any) -> str:
    return "" if event.version is None else f" in version {event.version}"
