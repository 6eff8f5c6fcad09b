"""One execution: messages in, events out. Live is replay.

Laws kept here: each message becomes at most one event (a stale one becomes none); the event is applied, the
orchestration runs until nothing in it is ready, and what it asked for is written right behind; only then comes the next
message. Replay is the same function over the same line: `_step` runs both, live writes what was asked, replay compares.
No I/O, no clock, no chance: time and the secret arrive in messages.

Idea: "one message, one event, then its actions", from the list of races in duroxide's own issue tracker.
"""

from __future__ import annotations

from contextvars import Context as ContextVariables
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from msgspec import Raw
from msgspec.structs import replace

from perdure import _events as ev
from perdure._core.admission import ADMISSIONS
from perdure._core.answers import ANSWERS
from perdure._core.asks import (
    TAKEN_BACK,
    ActivityFuture,
    DurableFuture,
    LoopTimer,
    Note,
    StoppableFuture,
    WaitFuture,
    awaits_an_answer,
    by_source,
)
from perdure._core.callsite import where_asked
from perdure._core.ending import left_over, overflowed, raised, returned, stuck, unretrieved
from perdure._core.history import runs
from perdure._core.loop import OrchestrationLoop, TurnEndlessError
from perdure._core.mailboxes import Mailboxes
from perdure._core.matching import match
from perdure._core.patches import take_markers
from perdure._core.state import State
from perdure._core.unwinding import Unwind
from perdure._core.waiting import Waiting
from perdure.errors import ForbiddenCallError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perdure import _work as work
    from perdure._core.asks import Ask
    from perdure._core.handlers import Handlers
    from perdure._core.tasks import Task
    from perdure._definitions import Orchestration

HISTORY_EVENTS_MAX = 500_000
"""Events of one execution; one more fails it, with the advice to continue as new."""

WIND_DOWN_ROUNDS_MAX = 1_000
"""How often tasks that are cancelled at the end may leave new tasks behind, in the run of one event."""


class Execution(OrchestrationLoop):
    """A live execution: the suspended program, and what it waits for.

    Attributes:
        last_event: The id of the last event, written or replayed.
        replaying: Whether the event being handled comes from history.
        events: The events written since they were taken last.
        open: What an event is to answer, by the id of the event that asked for it.
        ending: The terminal event, once the execution has ended.
        cancel_requested: The reason, once somebody has asked the instance to cancel.
        asked: How often something was asked for by a verb of the context.
        asks: What this run has asked for so far, not yet written down.
        execution_id: The generation of the instance, from 1.
        name: The name that the instance was started by.
        version: The version of the definition that the execution keeps.
        python: The version of Python that began it.
        root: The id of the instance at the root of the tree of children.
        state: Its custom status and KV store; None while it has neither.
        patches: What `ctx.patched` has answered; None before the first time.
        handlers: What answers queries and updates; None while nothing does.

    Very many executions wait in memory: what most of them don't need is None until they do.
    """

    __slots__ = (
        "_given_up",
        "_mailboxes",
        "_next",
        "_raised",
        "_returned",
        "_start",
        "_warnings",
        "_winding_down",
        "asked",
        "asks",
        "cancel_requested",
        "definition",
        "ending",
        "events",
        "execution_id",
        "handlers",
        "incarnation",
        "instance_id",
        "last_event",
        "name",
        "open",
        "patches",
        "python",
        "replaying",
        "root",
        "state",
        "version",
    )
    timer_type = LoopTimer

    def __init__(self, instance_id: str, incarnation: int, definition: Orchestration[..., Any]) -> None:
        super().__init__()
        self.instance_id = instance_id
        self.incarnation = incarnation
        self.definition = definition
        self.execution_id: int
        self.name: str
        self.version: str
        self.python: str
        self.root: str
        self.last_event = 0
        self.replaying = False
        self.events: list[Any] | None = None
        self.open = Waiting()
        self.ending: ev.Ended | None = None
        self.cancel_requested: str | None = None
        self.asked = 0
        self.asks: list[Ask] | None = None
        self.state: State | None = None
        self.patches: dict[str, bool] | None = None
        self.handlers: Handlers | None = None
        self._given_up: list[Any] | None = None
        self._mailboxes: Mailboxes | None = None
        self._warnings: list[str] | None = None
        self._start: tuple[Any, Raw] | None = None
        self._returned: tuple[Any] | None = None
        self._raised: BaseException | None = None
        self._winding_down: list[Task[Any]] | None = None
        self._next: ev.ContinuedAsNew | None = None

    @property
    def warnings(self) -> list[str]:
        """What the author should know once the turn is durable; the runtime logs it."""
        return self._warnings or []

    @warnings.setter
    def warnings(self, warnings: list[str]) -> None:
        self._warnings = warnings or None

    @property
    def mailboxes(self) -> Mailboxes:
        """The external events and the waits for them."""
        if self._mailboxes is None:
            self._mailboxes = Mailboxes()
        return self._mailboxes

    def ended(self) -> None:
        """No coroutine of this execution is left."""
        super().ended()
        if self.handlers is not None:
            self.handlers.forget()

    def apply(self, message: work.AnyMessage, now: int, started: ev.Started | None = None) -> bool:
        """Apply one message live; its event and what was asked behind it are appended to `events`.

        False when the message became no event: it is stale, or the execution has ended. `started` is the event for a
        `Start` message.
        """
        over = self.ending
        if over is not None:
            return False
        event: ev.Inbound | None = started
        if event is None:
            admission = ADMISSIONS.get(type(message))
            if admission is None:
                return False
            at = self.now_us
            at = now if now > at else at  # noqa: FURB136 - max() is a call, for every message
            event = admission(self, message, self.last_event + 1, at)
            if event is None:
                return False
        self.replaying = False
        asks = self._step(event)
        events = self.events
        if events is None:
            events = self.events = []
        events.append(event)
        last = event.id
        for ask in asks:
            last += 1
            events.append(ask.write(last))
            if not ask.is_settled():
                self.open.add(ask)
        self.last_event = last
        if self.ending is not None:
            self.ending = events[-1]
        return True

    def replay(self, events: Sequence[Any]) -> None:
        """Run through recorded history; raises ReplayMismatchError when the program asks for something else."""
        self.replaying = True
        for inbound, recorded in runs(events):
            if type(inbound) is ev.Terminated:
                self.last_event = inbound.id
                self.drop()
                return
            wanted = take_markers(self, recorded)
            asks = self._step(inbound)
            for event, ask in match(inbound, wanted, asks, self.python):
                ask.bind(event.id)
                if not ask.is_settled():
                    self.open[event.id] = ask
            self.last_event = inbound.id + len(recorded)
            if self.ending is not None:
                self.ending = recorded[-1]

    def take_events(self) -> list[Any]:
        """The events written since the last call."""
        events, self.events = self.events, None
        return events or []

    def _step(self, event: ev.Inbound) -> list[Ask]:
        """Apply one inbound event and run until nothing is ready; what was asked for, in the order it is written."""
        self.now_us = event.at
        _DELIVERIES[type(event)](self, event)
        self.run_ready()
        root: Any = self._root
        asks = self.asks
        if (
            asks is not None
            and len(asks) == 1
            and type(asks[0]) is ActivityFuture
            and self._given_up is None
            and self._mailboxes is None
            and self._next is None
            and self.offence is None
            and not (root.done() or asks[0].is_settled())
            and self.last_event + 1 < HISTORY_EVENTS_MAX
        ):
            # Nearly all runs end so: all that follows would find nothing to do.
            self.asks = None
            return asks
        if self._next is not None or root.done():
            self._wind_up()
        else:
            self._check_stuck()
        if self.offence is not None:
            raise self.offence
        if self.last_event + len(self.asks or ()) >= HISTORY_EVENTS_MAX and self.ending is None:
            self._overflow()
        return self._collect()

    def _collect(self) -> list[Ask]:
        """What this run asked for: cancellations first, by the id they cancel, then the rest in order, then the end."""
        asks: list[Ask] = []
        if self.asks is not None:
            asks = [ask for ask in self.asks if ask.event_id != TAKEN_BACK]
            self.asks = None
        if self._given_up is not None:
            self._given_up.sort(key=by_source)
            asks = [*map(Note, self._given_up), *asks]
            self._given_up = None
        if self._mailboxes is not None:
            self._mailboxes.forget_seen()
        if self.ending is not None:
            asks = [*asks, Note(self.ending)]
        return asks

    @property
    def next_event(self) -> int:
        """The id of the event of what is asked for next, unless something that was asked for is taken back."""
        return self.last_event + 2 + (0 if self.asks is None else len(self.asks))

    def _begin(self, started: ev.Started) -> None:
        from perdure._core.context import context_of  # noqa: PLC0415 - the context is made of executions

        self.execution_id = started.execution
        self.name = started.name
        self.version = started.version
        self.python = started.python
        self.root = started.root
        secret = bytes.fromhex(started.secret)
        self.salt = int.from_bytes(blake2b(secret, digest_size=8, person=b"perdure-hash").digest(), "big")
        if started.carried:
            self.mailboxes.carry_in(started.carried)
        if started.values or started.status:
            self.state = State.of(started)
        self.variables = ContextVariables()
        self._start = (context_of(self, secret, started.forks), started.input)
        self.begin_root(self._main())

    async def _main(self) -> None:
        # It has few variables: very many of these wait. The outcome is taken here and not from the task, since a task
        # whose cancellation was swallowed and asked for again by a TaskGroup (Python 3.13) counts as cancelled although
        # its coroutine returned.
        try:
            self._returned = (await self._run(),)
        except (Unwind, SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - the outcome of the execution
            self._raised = error

    def _run(self) -> Any:
        """The coroutine of the program, which alone holds its context and its inputs from here on."""
        context, data = self._start  # type: ignore[misc]  # run once, and set just before
        self._start = None
        return self.definition.fn(context, *self.definition.inputs_codec.decode(data))

    def _cancel_asked(self, event: ev.CancelRequested) -> None:
        self.cancel_requested = event.reason
        root: Any = self._root
        root.cancel(event.reason or None)

    def _wind_up(self) -> None:
        """When the program is done: cancel what is left, as `asyncio.run` does, then write the outcome."""
        root: Any = self._root
        if self._next is None and root.done():
            if self._tasks is None:
                self._end()
                return
            self._wind_down()
        if self._next is not None:
            self._continue_as_new(self._next)
        elif not root.done() or self.unfinished():
            self._check_stuck()
        else:
            self._end()

    def _wind_down(self) -> None:
        """Cancel the tasks that outlive the program, and those that they leave behind in turn."""
        for _ in range(WIND_DOWN_ROUNDS_MAX):
            if self._next is not None or not all(task.done() for task in self._winding_down or ()):
                return
            self._winding_down = self.unfinished()
            if not self._winding_down:
                return
            for task in self._winding_down:
                task.cancel()
            self.run_ready()
        raise TurnEndlessError(
            f"tasks that were cancelled at the end left others behind more than {WIND_DOWN_ROUNDS_MAX:,} times"
        )

    def _check_stuck(self) -> None:
        for ask in self.asks or ():
            if awaits_an_answer(ask):
                return
        if not self.open and self.offence is None and not (self.handlers and self.handlers.updates):
            raise stuck(self.unfinished())

    def _end(self) -> None:
        if self._raised is None:
            (value,) = self._returned  # type: ignore[misc]  # the program is done: it returned or raised
            ending = returned(self.definition, value, self.next_event)
        else:
            try:
                ending = raised(self._raised, self.cancel_requested)
            except ForbiddenCallError as offence:
                self.offend(offence)
        if self._tasks or self.asks or self._mailboxes is not None or self.callback_errors or self.open:
            self._warn()
            self._give_up_everything()
        self.ending = ending
        self.ended()

    def _continue_as_new(self, ending: ev.ContinuedAsNew) -> None:
        for task in self.unfinished():
            task.cancel()
        self.run_ready()
        self._warn()
        self._give_up_everything()
        values, status = ((), ev.ABSENT) if self.state is None else self.state.left()
        self.ending = replace(ending, carried=self.mailboxes.unread(), values=values, status=status)
        self.drop()

    def _overflow(self) -> None:
        """End an execution whose history is full: with what cannot be taken back, and without its code."""
        self._give_up_everything()
        self.ending = overflowed(self.instance_id, HISTORY_EVENTS_MAX)
        self.drop()

    def _give_up_everything(self) -> None:
        """Nothing waits any more: what is open is given up, what this run asked for and still waits is taken back."""
        if self._mailboxes is not None:
            self._mailboxes.close()
            for wait in self._mailboxes.unseen():
                self.give_back(wait)
        for ask in self.open.values():
            if not ask.survives:
                self._record_given_up(ask.given_up())
        self.open.clear()
        for ask in self.asks or ():
            if awaits_an_answer(ask) and not ask.survives:
                ask.event_id = TAKEN_BACK

    def _warn(self) -> None:
        if not self.replaying:
            waiting = [*self.open.values(), *filter(awaits_an_answer, self.asks or ())]
            self.warnings = left_over(waiting) + unretrieved(self.unretrieved(), self.callback_errors)

    def ask(self, ask: Ask) -> None:
        """Remember what was asked for; it is written down when the run of this event ends."""
        if self.asks is None:
            self.asks = [ask]
        else:
            self.asks.append(ask)
        self.asked += 1

    def wait_for(self, wait: WaitFuture[Any]) -> None:
        """Ask for an external event; an unread one satisfies the wait at once."""
        self.ask(wait)
        wait.took = self.mailboxes.take(wait)

    def ask_to_end(self, ask: StoppableFuture[Any]) -> None:
        """An activity shall end, and the program goes on waiting for its outcome."""
        if self.ready is None:
            self.gate("cancel")
        ask.lost_at = ask.lost_at or where_asked()
        self._record_given_up(ask.asked_to_end())

    def give_up(self, ask: DurableFuture[Any]) -> None:
        """A durable future was cancelled by the program."""
        if self.over is None and self.ready is None:
            self.gate("cancel")
        if self.ending is not None:
            return
        ask.lost_at = ask.lost_at or where_asked()
        if isinstance(ask, WaitFuture):
            self.mailboxes.withdraw(ask)
        self._let_go(ask)

    def give_back(self, wait: WaitFuture[Any]) -> None:
        """A wait got its event, and nobody saw it: the event goes to the next in the queue, or is unread again."""
        if self.over is None and self.ready is None:
            self.gate("cancel")
        got: Any = wait.got
        event_id, data = got
        wait.got = None
        wait.lost_at = wait.lost_at or where_asked()
        heir = self.mailboxes.give_back(wait, event_id, data, pass_on=self.over is None)
        if wait.event_id == 0:
            wait.event_id = TAKEN_BACK
        else:
            cancelled = ev.WaitCancelled(
                id=0,
                where=wait.lost_at,
                source=wait.event_id,
                gave_back=event_id,
                gave_to=heir.event_id or None if heir is not None else None,
            )
            self._record_given_up(cancelled)
        if heir is not None and self.open.pop(heir.event_id, None) is None:
            heir.took = event_id

    def continue_with(self, inputs: bytes, version: str | None) -> Unwind:
        """Mark the execution as continued; nothing may be asked for from now on."""
        self._next = ev.ContinuedAsNew(id=0, where=where_asked(), input=Raw(inputs), version=version)
        self.over = "the execution continues as new"
        return Unwind(self.over)

    def timer_created(self, timer: LoopTimer) -> None:  # type: ignore[override]  # of the type that it has made
        """Asyncio asked for a timer."""
        timer.event_id = 0
        timer.lost_at = None
        timer.where = where_asked()
        if self.asks is None:
            self.asks = [timer]
        else:
            self.asks.append(timer)

    def timer_cancelled(self, timer: LoopTimer) -> None:  # type: ignore[override]  # the same
        """Asyncio no longer wants a timer."""
        timer.lost_at = where_asked()
        self._let_go(timer)

    def _let_go(self, ask: Ask) -> None:
        if ask.event_id:
            del self.open[ask.event_id]
            if not ask.survives:
                self._record_given_up(ask.given_up())
        elif not ask.survives:
            ask.event_id = TAKEN_BACK

    def _record_given_up(self, event: ev.Asked) -> None:
        if self._given_up is None:
            self._given_up = []
        self._given_up.append(event)


_DELIVERIES: dict[type, Callable[[Execution, Any], None]] = {
    ev.Started: Execution._begin,
    ev.CancelRequested: Execution._cancel_asked,
    **ANSWERS,
}
