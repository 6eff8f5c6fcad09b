"""A conversation with one execution: messages in, events out, and after every message live must equal replay.

    talk = Conversation(checkout)
    scheduled, = talk.start("order-7")
    done, = talk.complete(scheduled.id, "receipt")

Nothing here does I/O or reads a clock: `now` is microseconds that a test moves.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from perdure import _events as ev
from perdure import _work as work
from perdure._core.execution import Execution
from perdure._core.handlers import handled, look
from perdure._core.history import check
from perdure._core.matching import PYTHON
from perdure._core.stage import Stage
from perdure._definitions import Orchestration
from perdure.errors import ErrorInfo

START_US = 1_700_000_000_000_000
SECRET = "5ec2e7" * 8 + "00" * 8
SECOND_US = 1_000_000


def json(value: Any) -> Raw:
    """A payload as it is stored."""
    return Raw(msgspec.json.encode(value))


def error(message: str = "boom", type_: str = "builtins.RuntimeError") -> ErrorInfo:
    """A recorded error."""
    return ErrorInfo(type=type_, message=message, types=(type_, "builtins.Exception", "builtins.BaseException"))


def started(definition: "Orchestration[..., Any]", *inputs: Any, **changes: Any) -> ev.Started:
    """The first event of an execution of this definition."""
    fields: dict[str, Any] = {
        "id": 1,
        "at": START_US,
        "name": definition.name,
        "version": definition.version,
        "execution": 1,
        "input": Raw(definition.inputs_codec.encode(inputs)),
        "secret": SECRET,
        "python": PYTHON,
        "root": "order-7",
    }
    return ev.Started(**{**fields, **changes})


def row(events: Sequence[Any], **changes: Any) -> work.HistoryRow:
    """One stored row with these events."""
    data = ev.encode_events(list(events))
    fields: dict[str, Any] = {
        "first": events[0].id,
        "last": events[-1].id,
        "at": events[0].at,
        "data": data,
        "crc": ev.checksum(data),
    }
    return work.HistoryRow(**{**fields, **changes})


def rows(turns: Iterable[Sequence[Any]]) -> list[work.HistoryRow]:
    """Stored rows, one a turn."""
    return [row(turn) for turn in turns]


def kinds(events: Iterable[Any]) -> list[str]:
    """The events in a few words: "act charge", "tim", "act! 4", "done 5"."""
    return [_in_words(event) for event in events]


def _in_words(event: Any) -> str:
    tag = type(event).__struct_config__.tag
    match event:
        case ev.ActivityScheduled() | ev.ChildScheduled() | ev.DetachedStarted() | ev.WaitStarted() | ev.EventSent():
            return f"{tag} {event.name}"
        case ev.EventRaised(name=name):
            return f"{tag} {name}"
        case ev.Completed(output=output):
            return f"{tag} {bytes(output).decode()}"
        case ev.Failed(error=failure):
            return f"{tag} {failure.type.removeprefix('builtins.')}"
        case ev.StatusSet(value=value):
            return f"{tag} {bytes(value).decode()}"
        case ev.ValueSet(key=key, value=value):
            return f"{tag} {key}={bytes(value).decode()}"
        case ev.Patched(patch=patch):
            return f"{tag} {patch}"
        case ev.ValuesCleared(keys=keys):
            return f"{tag} {' '.join(keys)}"
        case ev.TimerCreated() | ev.Started() | ev.CancelRequested() | ev.Cancelled() | ev.ContinuedAsNew():
            return str(tag)
        case _:
            return f"{tag} {_source_in_words(event)}"


def _source_in_words(event: Any) -> str:
    if isinstance(event, ev.LimitAsked):
        return event.limit.key
    if not isinstance(event, ev.UpdateAnswered):
        return str(event.source)
    return f"{event.source} {bytes(event.result).decode() if event.error is None else event.error.type}"


def new_execution(definition: "Orchestration[..., Any]") -> Execution:
    """An execution that has been told nothing yet."""
    return Execution("order-7", 7, definition)


def replayed(stage: Stage, definition: "Orchestration[..., Any]", events: Sequence[Any]) -> Execution:
    """A fresh execution that has gone through these events, as read back from their stored form."""
    execution = new_execution(definition)
    stored = ev.decode_events(ev.encode_events(list(events)))
    with stage, stage.on(execution):
        execution.replay(stored)
    return execution


def dropped(stage: Stage, execution: Execution) -> int:
    """Let go of an execution as a worker does; how many coroutines would not end."""
    with stage, stage.on(execution):
        return execution.drop()


class Conversation:
    """One live execution and its history; each verb applies one message and returns the new events but the inbound one.

    `turns` has all events, one list for each message. `always_replay=False` is for tests that send very many messages.
    """

    def __init__(self, definition: "Orchestration[..., Any]", *, always_replay: bool = True) -> None:
        self.definition = definition
        self.stage = Stage()
        self.execution = new_execution(definition)
        self.now = START_US
        self.turns: list[list[Any]] = []
        self._always_replay = always_replay

    @property
    def history(self) -> list[Any]:
        """All events so far."""
        return [event for turn in self.turns for event in turn]

    @property
    def rows(self) -> list[work.HistoryRow]:
        """The history as it would be stored."""
        return rows(self.turns)

    def start(self, *inputs: Any, **changes: Any) -> list[Any]:
        """Begin; `changes` are fields of the start event."""
        event = started(self.definition, *inputs, **{"at": self.now, **changes})
        message = work.Start(input=event.input)
        return self._apply(message, event)

    def complete(self, source: int, value: Any = None) -> list[Any]:
        """The activity asked for by event `source` returns."""
        return self.apply(work.ActivityOutcome(execution=self._generation, source=source, result=json(value)))

    def fail(self, source: int, failure: ErrorInfo | None = None, *, timed_out: bool = False) -> list[Any]:
        """The activity asked for by event `source` fails for good."""
        outcome = work.ActivityOutcome(
            execution=self._generation, source=source, error=failure or error(), timed_out=timed_out
        )
        return self.apply(outcome)

    def fire(self, source: int) -> list[Any]:
        """The timer asked for by event `source` is due; the clock moves there."""
        timer = self.history[source - 1]
        self.now = max(self.now, timer.fire_at)
        return self.apply(work.TimerDue(execution=self._generation, source=source, fire_at=timer.fire_at))

    def enter(self, source: int) -> list[Any]:
        """The place of a limit that was asked for by event `source` is the orchestration's."""
        return self.apply(work.LimitEntered(execution=self._generation, source=source))

    def update(self, name: str, value: Any = None, *, request: str = "r") -> list[Any]:
        """A client sends an update."""
        return self.apply(work.UpdateAsked(request=request, name=name, data=json(value)))

    def query(self, name: str, value: Any = None) -> work.Answer:
        """A client asks a question, which leaves no event; a program that it has changed is rebuilt."""
        with self.stage, self.stage.on(self.execution):
            look(self.execution, work.QueryAsked(request="q", name=name, data=json(value)))
        answer = self.reply("q")
        if handled(self.execution).tainted:
            self.drop()
            self.execution = replayed(self.stage, self.definition, self.history)
        return answer

    def reply(self, request: str = "r") -> work.Answer:
        """What somebody is answered who asked without leaving an event."""
        return work.decode_answer(handled(self.execution).take_replies()[request])

    def raise_event(self, name: str, data: Any = None) -> list[Any]:
        """An external event arrives."""
        return self.apply(work.Raised(name=name, data=json(data)))

    def child_completed(self, source: int, value: Any = None) -> list[Any]:
        """The sub-orchestration asked for by event `source` returns."""
        return self.apply(
            work.ChildOutcome(execution=self._generation, source=source, ending="completed", result=json(value))
        )

    def child_failed(self, source: int, failure: ErrorInfo | None = None, *, ending: str = "failed") -> list[Any]:
        """The sub-orchestration asked for by event `source` ends without a result."""
        outcome = work.ChildOutcome(execution=self._generation, source=source, ending=ending, error=failure or error())
        return self.apply(outcome)

    def cancel(self, reason: str = "") -> list[Any]:
        """Somebody asks the instance to cancel."""
        return self.apply(work.Cancel(reason=reason))

    def apply(self, message: work.AnyMessage) -> list[Any]:
        """Any message."""
        return self._apply(message, None)

    def drop(self) -> int:
        """Let go of the live execution; how many coroutines would not end."""
        return dropped(self.stage, self.execution)

    @property
    def _generation(self) -> int:
        return int(self.turns[0][0].execution)

    def _apply(self, message: work.AnyMessage, start: ev.Started | None) -> list[Any]:
        with self.stage, self.stage.on(self.execution):
            admitted = self.execution.apply(message, self.now, start)
        events = self.execution.take_events()
        assert admitted == bool(events)
        if events:
            self.turns.append(events)
            if self._always_replay:
                self.assert_live_is_replay()
        return events[1:]

    def assert_live_is_replay(self) -> None:
        """A replay of the history so far finds no difference and ends where the live execution is."""
        history = self.history
        check(history, self._generation)
        twin = replayed(self.stage, self.definition, history)
        assert _position(twin) == _position(self.execution)
        dropped(self.stage, twin)

    def stopped(self, source: int) -> list[Any]:
        """The activity asked for by event `source` has ended because it was asked to."""
        return self.apply(
            work.ActivityOutcome(execution=self._generation, source=source, error=error("stopped"), stopped=True)
        )


def _position(execution: Execution) -> dict[str, Any]:
    return {
        "last event": execution.last_event,
        "now": execution.now_us,
        "open": {event_id: type(ask).__name__ for event_id, ask in execution.open.items()},
        "unfinished tasks": [task.get_name() for task in execution.unfinished()],
        "ending": None if execution.ending is None else _in_words(execution.ending),
        "asked": execution.asked,
        "next hash": execution._sequence,  # noqa: SLF001 - equal only if the same objects were made
        "cancel requested": execution.cancel_requested,
        "shown": None if execution.state is None else (execution.state.status, execution.state.values),
    }
