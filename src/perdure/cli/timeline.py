"""A history as people think of it: each thing that was asked for, once, with what became of it.

Nothing here talks to a store or a terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from perdure._types import from_us

if TYPE_CHECKING:
    from perdure import Event


@dataclass(frozen=True, slots=True)
class Step:
    """Something that was asked for or came from outside, and what became of it.

    `event` is the event that asked; `name` the activity, orchestration or external event; `instance_id` the other
    instance, where there is one; `until` when a timer fires. `outcome` is None while it is open; `value` is what it
    brought, or was about; `error` what is recorded of a failure.
    """

    event: int
    kind: str
    at: datetime
    name: str | None = None
    instance_id: str | None = None
    until: datetime | None = None
    where: str | None = None
    ended_at: datetime | None = None
    outcome: str | None = None
    inputs: tuple[Any, ...] | None = None
    value: Any = None
    error: Mapping[str, Any] | None = None
    attempts: int = 1

    @property
    def is_open(self) -> bool:
        """Whether the orchestration may be waiting for it."""
        return self.outcome is None


@dataclass(slots=True)
class Timeline:
    """The steps of one execution in order, the external events that nobody has read, and the request to cancel."""

    steps: list[Step]
    unread: dict[int, Step] = field(default_factory=dict)
    cancel: Step | None = None

    @property
    def waits_for(self) -> list[Step]:
        """The steps that are open."""
        return [step for step in self.steps if step.is_open]


def timeline_of(events: Iterable[Event]) -> Timeline:
    """The timeline of an execution's events."""
    reader = _Reader()
    for event in events:
        reader.read(event)
    steps = sorted(reader.steps.values(), key=lambda step: step.event)
    return Timeline(steps, reader.unread, reader.cancel)


class _Reader:
    def __init__(self) -> None:
        self.steps: dict[int, Step] = {}
        self.unread: dict[int, Step] = {}
        self.cancel: Step | None = None
        self._raised: dict[int, Step] = {}

    def read(self, event: Event) -> None:
        asked = _ASKED.get(event.kind)
        if asked is not None:
            self.steps[event.id] = asked(event)
        elif event.kind in _OUTCOMES:
            self._end(event)
        match event.kind:
            case "Started":
                self._start(event)
            case "EventRaised":
                self._arrive(event)
            case "WaitStarted" if (took := event.data.get("took")) is not None:
                self._give(took, event.id, event.at)
            case "WaitCancelled" if (back := event.data.get("gave_back")) is not None:
                self._take_back(event, back)
            case "CancelRequested":
                self.cancel = self.cancel or self.steps[event.id]
            case _:
                pass

    def _end(self, event: Event) -> None:
        step = self.steps.get(event.source or 0)
        # A cancellation may be followed by an outcome that came too late.
        if step is not None and step.is_open:
            self.steps[step.event] = _ended(step, event)

    def _start(self, event: Event) -> None:
        carried = event.data.get("carried", ())
        for position, (name, value) in enumerate(carried):
            id_ = position - len(carried)
            self.unread[id_] = self._raised[id_] = Step(id_, "event", event.at, name, outcome="unread", value=value)

    def _arrive(self, event: Event) -> None:
        step = Step(event.id, "event", event.at, event.data["name"], outcome="unread", value=event.data.get("data"))
        self._raised[event.id] = step
        self.unread[event.id] = step
        wait = event.data.get("wait")
        if wait is not None:
            self._give(event.id, wait, event.at)

    def _take_back(self, event: Event, back: int) -> None:
        wait = self.steps[event.source or 0]
        self.steps[wait.event] = replace(wait, ended_at=event.at, outcome="cancelled", value=None)
        if back in self._raised:
            self.unread = dict(sorted({**self.unread, back: self._raised[back]}.items()))
        heir = event.data.get("gave_to")
        if heir is not None:
            self._give(back, heir, event.at)

    def _give(self, raised: int, wait: int, at: datetime) -> None:
        given = self.unread.pop(raised, None)
        if given is not None and wait in self.steps:
            self.steps[wait] = replace(self.steps[wait], ended_at=at, outcome="received", value=given.value)


def _asked(event: Event, kind: str, outcome: str | None = None, **fields: Any) -> Step:
    inputs = event.data.get("input")
    return Step(
        event.id,
        kind,
        event.at,
        event.data.get("name"),
        event.data.get("instance_id"),
        where=event.where,
        outcome=outcome,
        inputs=None if inputs is None else tuple(inputs),
        **fields,
    )


def _ended(step: Step, event: Event) -> Step:
    data = event.data
    outcome = _OUTCOMES[event.kind]
    if event.kind == "ChildFailed":
        outcome = data.get("ending", outcome)
    elif data.get("timed_out"):
        outcome = "timed out"
    error = data.get("error")
    return replace(
        step,
        ended_at=event.at,
        outcome=outcome,
        value=data.get("result"),
        error=error,
        attempts=data.get("attempts", 1) if error is None else error.get("attempts", 1),
    )


_OUTCOMES = {
    "ActivityCompleted": "completed",
    "ActivityFailed": "failed",
    "ActivityCancelled": "cancelled",
    "TimerFired": "fired",
    "TimerCancelled": "cancelled",
    "WaitCancelled": "cancelled",
    "LimitEntered": "entered",
    "LimitLeft": "left",
    "ChildCompleted": "completed",
    "ChildFailed": "failed",
    "ChildCancelled": "cancelled",
    "UpdateAnswered": "answered",
}

_ASKED: dict[str, Callable[[Event], Step]] = {
    "Started": lambda e: _asked(e, "start", "started"),
    "ActivityScheduled": lambda e: _asked(e, "activity"),
    "TimerCreated": lambda e: _asked(e, "timer", until=from_us(e.data["fire_at"])),
    "WaitStarted": lambda e: _asked(e, "event"),
    "LimitAsked": lambda e: replace(_asked(e, "limit"), name=e.data["limit"][0]),
    "ChildScheduled": lambda e: _asked(e, "child"),
    "DetachedStarted": lambda e: _asked(e, "detached", "started"),
    "EventSent": lambda e: _asked(e, "send", "sent", value=e.data["data"]),
    "ValueSet": lambda e: replace(_asked(e, "value", "set", value=e.data["value"]), name=e.data["key"]),
    "ValuesCleared": lambda e: _asked(e, "value", "cleared", value=e.data["keys"]),
    "Patched": lambda e: replace(_asked(e, "patch", "set"), name=e.data["patch"]),
    "UpdateReceived": lambda e: _asked(e, "update", value=e.data["data"]),
    "StatusSet": lambda e: _asked(e, "status", "set", value=e.data["value"]),
    "CancelRequested": lambda e: _asked(e, "cancel", "asked", value=e.data.get("reason")),
    "Terminated": lambda e: _asked(e, "end", "terminated", value=e.data.get("reason")),
    "Completed": lambda e: _asked(e, "end", "completed", value=e.data["output"]),
    "Failed": lambda e: _asked(e, "end", "failed", error=e.data["error"]),
    "Cancelled": lambda e: _asked(e, "end", "cancelled", value=e.data.get("reason")),
    "ContinuedAsNew": lambda e: _asked(e, "end", "continued as new"),
}
