"""An exhaustive model of small races: every program, every order of what happens to it.

A program races one to three arms, one to three times, and then continues as new. An arm reads mailbox `a` or `b`, or
waits for a timer, an activity or a child; it is asked for before the race (eager) or inside it (lazy). The program may
pause before its first race, for an activity of its own, while the eager arms are asked for already: so events are
unread or waits hold them when the race begins. Programs that differ only in which mailbox is which are one.

Up to three messages arrive (four where one arm follows a pause), in every order, one after another. A batch of
messages that a worker takes at once and the same messages over two or three turns are one history here, but for
messages that something earlier in their batch has made stale: after every step every such message is tried too.

Checked after every step:
- a replay of the history so far asks for exactly what history records, and goes on exactly as the live run does;
- the history keeps its own rules;
- what the program has read of a mailbox is the beginning of what was sent to it;
- what was sent has been read, is unread, or is held by a wait that no code has looked at; and at the end what was not
  read goes along in the order of its arrival;
- no wait is open whose mailbox has an unread event.
"""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from perdure import OrchestrationContext, orchestration
from perdure import _events as ev
from perdure import _work as work
from perdure._core.history import check
from perdure._core.stage import Stage
from tests.core.harness import START_US, json, new_execution, started

if TYPE_CHECKING:
    from perdure._core.execution import Execution

MAILBOXES = "ab"
ARMS = "abtxc"
ARMS_MAX = 3
MESSAGES_MAX = 3


@dataclass(frozen=True)
class Scope:
    """One program: its arms by letter (t: a timer, x: an activity, c: a child), how often they race, and when asked."""

    arms: str
    races: int
    lazy: bool
    pauses: bool

    @property
    def messages_max(self) -> int:
        """How many messages arrive at most, the start aside."""
        return MESSAGES_MAX + (self.pauses and len(self.arms) == 1)


def scopes(arms: int, races: int, *, lazy: bool) -> list[Scope]:
    """All programs of this size; those with three arms pause only before a single race, to keep within a minute."""
    letters = ["".join(each) for each in itertools.product(ARMS, repeat=arms)]
    pauses = [False] if arms == ARMS_MAX and races > 1 else [False, True]
    return [Scope(each, races, lazy, paused) for each in letters if _is_first_of_its_kind(each) for paused in pauses]


def _is_first_of_its_kind(letters: str) -> bool:
    mailboxes = [letter for letter in letters if letter in MAILBOXES]
    return not mailboxes or mailboxes[0] == MAILBOXES[0]


@dataclass
class Path:
    """One order of messages so far: its history, one list of events for each message, and what was sent."""

    turns: list[list[Any]] = field(default_factory=list)
    messages: list[work.AnyMessage] = field(default_factory=list)
    sent: list[tuple[str, int]] = field(default_factory=list)

    @property
    def history(self) -> list[Any]:
        """All events."""
        return [event for turn in self.turns for event in turn]

    def add(self, message: work.AnyMessage, events: list[Any]) -> None:
        """One more message, and what became of it."""
        assert events, f"{message} was stale"
        self.messages.append(message)
        self.turns.append(events)
        if isinstance(message, work.Raised):
            self.sent.append((message.name, int(bytes(message.data))))


class Model:
    """One program with all that can happen to it. `read` is what the execution that runs now has read."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.read: dict[str, list[int]] = {}
        self.stage = Stage()
        self.definition = self._program()
        self.start = started(self.definition)

    def check_all(self) -> int:
        """Walk every path; the number of paths."""
        paths = 0
        beginnings: list[list[work.AnyMessage]] = [[]]
        with self.stage:
            while beginnings:
                beginnings += self._walk(beginnings.pop())
                paths += 1
        return paths

    def _program(self) -> Any:
        scope, model = self.scope, self

        @orchestration(name="race")
        async def races(ctx: OrchestrationContext) -> None:
            for race in range(scope.races):
                arms = [_asked(ctx, letter) for letter in scope.arms if not scope.lazy]
                if scope.pauses and race == 0:
                    await ctx.schedule_activity("pause")
                index, value = await ctx.select(*arms or [_inside(ctx, letter) for letter in scope.arms])
                if scope.arms[index] in MAILBOXES:
                    model.read[scope.arms[index]].append(value)
            ctx.continue_as_new()

        return races

    # -- walking ---------------------------------------------------------------------------------------------------

    def _walk(self, beginning: list[work.AnyMessage]) -> list[list[work.AnyMessage]]:
        """Follow one path that begins with these messages to its end, live; the beginnings of those that branch off."""
        path = Path()
        execution = self._begun()
        path.add(work.Start(input=self.start.input), self._apply(execution, None))
        branches = []
        for message in beginning:
            path.add(message, self._apply(execution, message))
        self._check(execution, path)
        while execution.ending is None and len(path.messages) <= self.scope.messages_max:
            message, *others = _possible(execution, path)
            branches += [[*path.messages[1:], other] for other in others]
            path.add(message, self._apply(execution, message))
            self._check(execution, path)
        check(path.history, 1)
        self._drop(execution)
        self._check_replay(path, ended=execution.ending is not None)
        return branches

    def _begun(self) -> Execution:
        self.read = {name: [] for name in MAILBOXES}
        return new_execution(self.definition)

    def _apply(self, execution: Execution, message: work.AnyMessage | None) -> list[Any]:
        with self.stage.on(execution):
            if message is None:
                execution.apply(work.Start(input=self.start.input), START_US, self.start)
            else:
                execution.apply(message, START_US)
        return execution.take_events()

    def _drop(self, execution: Execution) -> None:
        with self.stage.on(execution):
            execution.drop()

    # -- what has to hold ------------------------------------------------------------------------------------------

    def _check_replay(self, path: Path, *, ended: bool) -> None:
        """A replay of all but the last message goes on as the live run did; a replay of all ends as it did."""
        *turns, last = path.turns
        execution = self._begun()
        with self.stage.on(execution):
            execution.replay([event for turn in turns for event in turn])
        assert _encoded(self._apply(execution, path.messages[-1])) == _encoded(last), "live and replay differ"
        self._drop(execution)
        if ended:
            execution = self._begun()
            with self.stage.on(execution):
                execution.replay(path.history)
            assert execution.last_event == len(path.history)

    def _check(self, execution: Execution, path: Path) -> None:
        unread = [(entry.name, int(bytes(entry.data))) for entry in execution.mailboxes.unread()]
        held = [(wait.name, int(bytes(wait.got[1]))) for wait in execution.mailboxes.unseen() if wait.got]
        for name in MAILBOXES:
            read = self.read[name]
            to_name = [n for sent_to, n in path.sent if sent_to == name]
            kept = sorted(n for kept_for, n in unread + held if kept_for == name)
            assert read == to_name[: len(read)], "read out of order"
            assert kept == to_name[len(read) :], "lost, or read twice"
            if execution.mailboxes.oldest_wait(name) is not None:
                assert name not in dict(unread), "a wait is open beside an unread event"
        if isinstance(execution.ending, ev.ContinuedAsNew):
            carried = [(entry.name, int(bytes(entry.data))) for entry in execution.ending.carried]
            assert carried == [(name, n) for name, n in path.sent if n not in self.read[name]]
        self._check_stale(execution, path)

    def _check_stale(self, execution: Execution, path: Path) -> None:
        with self.stage.on(execution):
            for event in path.history:
                answer = _answer(event)
                if answer is not None and event.id not in execution.open:
                    assert not execution.apply(answer, START_US), "a stale message became an event"


async def _inside(ctx: OrchestrationContext, letter: str) -> Any:
    if letter == "t":
        return await asyncio.sleep(5)
    return await _asked(ctx, letter)


def _asked(ctx: OrchestrationContext, letter: str) -> Any:
    match letter:
        case "t":
            return ctx.schedule_timer(5)
        case "x":
            return ctx.schedule_activity("x")
        case "c":
            return ctx.schedule_sub_orchestration("c")
        case _:
            return ctx.schedule_wait(letter)


def _answer(event: Any) -> work.AnyMessage | None:
    match event:
        case ev.TimerCreated():
            return work.TimerDue(execution=1, source=event.id, fire_at=event.fire_at)
        case ev.ActivityScheduled():
            return work.ActivityOutcome(execution=1, source=event.id, result=json(None))
        case ev.ChildScheduled():
            return work.ChildOutcome(execution=1, source=event.id, ending="completed", result=json(None))
        case _:
            return None


def _possible(execution: Execution, path: Path) -> list[work.AnyMessage]:
    """The messages that can come next: an event to each mailbox, and the answer to the oldest question of each name."""
    answers: dict[Any, work.AnyMessage] = {}
    for event in path.history:
        answer = _answer(event)
        if answer is not None and event.id in execution.open:
            answers.setdefault(getattr(event, "name", "timer"), answer)
    data = json(len(path.sent))
    return [*(work.Raised(name=name, data=data) for name in MAILBOXES), *answers.values()]


def _encoded(events: list[Any]) -> bytes:
    return msgspec.json.encode(events)
