"""One execution: messages in, events out. Live is replay.

Laws kept here: each message becomes at most one event (a stale one becomes none); the event is applied, the
orchestration runs until nothing in it is ready, and what it asked for is written right behind; only then comes the next
message. Replay is the same function over the same line: `_step` runs both, live writes what was asked, replay compares.
No I/O, no clock, no chance: time and the secret arrive in messages.

Idea: "one message, one event, then its actions", from the list of races in duroxide's own issue tracker.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextvars import Context as ContextVariables
from hashlib import blake2b
from typing import Any

from msgspec import Raw

from perdure import _events as ev
from perdure import _work as work
from perdure._core.asks import ActivityFuture, Ask, ChildFuture, DurableFuture, LoopTimer, TimerFuture, WaitFuture, with_id
from perdure._core.callsite import where_asked
from perdure._core.loop import OrchestrationLoop, TimerHandle, Unwind
from perdure._core.matching import match
from perdure._definitions import Orchestration
from perdure.errors import (
    ActivityError,
    ActivityTimeoutError,
    ErrorInfo,
    ForbiddenCallError,
    LimitError,
    OrchestrationCancelledError,
    OrchestrationError,
    OrchestrationTerminatedError,
    error_info_from_exception,
)

HISTORY_EVENTS_MAX = 500_000
"""Events of one execution; one more fails it, with the advice to continue as new."""

CHILD_ERRORS = {
    "cancelled": OrchestrationCancelledError,
    "terminated": OrchestrationTerminatedError,
}


TAKEN_BACK = -1
"""The id of an ask that was taken back in the run that made it: it leaves no trace."""

FOREIGN = ("attached to a different loop", "await wasn't used with future", "belongs to a different loop")
"""What asyncio says of a future of another event loop."""


class StuckError(Exception):
    """Nothing is ready, nothing durable is awaited, and the orchestration has not ended."""


class Execution(OrchestrationLoop):
    """A live execution: the suspended program, and what it waits for."""

    def __init__(self, instance_id: str, incarnation: int, definition: "Orchestration[..., Any]") -> None:
        super().__init__()
        self.instance_id = instance_id
        self.incarnation = incarnation
        self.definition = definition
        self.started: ev.Started
        self.last_event = 0
        self.replaying = False
        self.events: list[Any] = []
        self.open: dict[int, DurableFuture[Any] | LoopTimer] = {}
        self.ending: ev.Ended | None = None
        self.warnings: list[str] = []
        """What the author should know once the turn is durable; the runtime logs it."""
        self.cancel_requested: str | None = None
        self._asks: list[Ask] = []
        self._given_up: list[Any] = []
        self._unread: dict[str, deque[tuple[int, Raw]]] = {}
        self._waiting: dict[str, deque[WaitFuture[Any]]] = {}
        self._satisfied: list[WaitFuture[Any]] = []
        self._root: asyncio.Task[None] | None = None
        self._returned: tuple[Any] | None = None
        self._raised: BaseException | None = None
        self._winding_up = False
        self._next: tuple[bytes, str | None] | None = None
        self.asked = 0

    # -- what the engine calls -------------------------------------------------------------------------------------

    def apply(self, message: work.AnyMessage, now: int, started: ev.Started | None = None) -> bool:
        """Apply one message live; its event and what was asked behind it are appended to `events`.

        False when the message is stale and became no event. `started` is the event for a `Start` message.
        """
        event = started if started is not None else self._admit(message, max(now, self.now_us))
        if event is None:
            return False
        self.replaying = False
        asks = self._step(event)
        self.last_event += 1
        self.events.append(event)
        for ask in asks:
            self.last_event += 1
            self._bind(ask, self.last_event)
        if self.ending is None and self.last_event > HISTORY_EVENTS_MAX:
            self._overflow()
        return True

    def replay(self, events: Sequence[Any]) -> None:
        """Run through recorded history; raises ReplayMismatchError when the program asks for something else."""
        index = 0
        self.replaying = True
        while index < len(events):
            inbound = events[index]
            index += 1
            begin = index
            while index < len(events) and isinstance(events[index], ev.Asked):
                index += 1
            recorded = events[begin:index]
            asks = self._step(inbound)
            for event, ask in match(recorded, asks, self.started.python):
                self._bind(ask, event.id, event)
            self.last_event = index
        self.events.clear()

    def take_events(self) -> list[Any]:
        """The events written since the last call."""
        events, self.events = self.events, []
        return events

    # -- one event -------------------------------------------------------------------------------------------------

    def _admit(self, message: work.AnyMessage, now: int) -> Any:
        """The event that a message becomes, or None when nothing waits for it any more."""
        event_id = self.last_event + 1
        match message:
            case work.ActivityOutcome(execution=execution, source=source):
                if execution != self.execution_id or source not in self.open:
                    return None
                if message.error is not None:
                    return ev.ActivityFailed(
                        id=event_id, at=now, source=source, error=message.error, timed_out=message.timed_out
                    )
                return ev.ActivityCompleted(
                    id=event_id, at=now, source=source, result=message.result or Raw(b"null"), attempts=message.attempts
                )
            case work.TimerDue(execution=execution, source=source, fire_at=fire_at):
                if execution != self.execution_id or source not in self.open:
                    return None
                return ev.TimerFired(id=event_id, at=max(now, fire_at), source=source)
            case work.ChildOutcome(execution=execution, source=source):
                if execution != self.execution_id or source not in self.open:
                    return None
                if message.ending == "completed":
                    return ev.ChildCompleted(
                        id=event_id, at=now, source=source, result=message.result or Raw(b"null")
                    )
                error = message.error or ErrorInfo(type=message.ending, message="", traceback=None, attempts=1)
                return ev.ChildFailed(id=event_id, at=now, source=source, error=error, ending=message.ending)
            case work.Raised(name=name, data=data):
                waiting = self._waiting.get(name)
                return ev.EventRaised(
                    id=event_id, at=now, name=name, data=data, wait=waiting[0].event_id if waiting else None
                )
            case work.Cancel(reason=reason):
                return None if self.cancel_requested is not None else ev.CancelRequested(id=event_id, at=now, reason=reason)
            case _:  # a second start of this execution; a terminate needs no code and is handled without an execution
                return None

    def _step(self, event: Any) -> list[Ask]:
        """Apply one inbound event and run until nothing is ready; what was asked for, in the order it is written."""
        self.now_us = event.at
        self._deliver(event)
        self.run_ready()
        self._wind_up()
        if self.offence is not None:
            raise self.offence
        return self._collect()

    def _deliver(self, event: Any) -> None:
        _DELIVERIES[type(event)](self, event)

    def _activity_completed(self, event: ev.ActivityCompleted) -> None:
        future: Any = self.open.pop(event.source)
        self._resolve(future, event.result, f"result of activity {future.name}")

    def _activity_failed(self, event: ev.ActivityFailed) -> None:
        future: Any = self.open.pop(event.source)
        kind = ActivityTimeoutError if event.timed_out else ActivityError
        future.set_exception(kind(event.error, activity_name=future.name))

    def _timer_fired(self, event: ev.TimerFired) -> None:
        timer: Any = self.open.pop(event.source)
        if isinstance(timer, LoopTimer):
            self.fire(timer.handle)
        else:
            timer.set_result(None)

    def _child_completed(self, event: ev.ChildCompleted) -> None:
        future: Any = self.open.pop(event.source)
        self._resolve(future, event.result, f"result of orchestration {future.name}")

    def _child_failed(self, event: ev.ChildFailed) -> None:
        future: Any = self.open.pop(event.source)
        kind = CHILD_ERRORS.get(event.ending, OrchestrationError)
        future.set_exception(kind(event.error, instance_id=future.instance_id))

    def _cancel_asked(self, event: ev.CancelRequested) -> None:
        self.cancel_requested = event.reason
        if self._root is not None:
            self._root.cancel(event.reason or None)

    def _resolve(self, future: Any, data: Raw, what: str) -> None:
        try:
            value = future.decoder.decode(data, what=what)
        except Exception as error:  # noqa: BLE001 - what doesn't fit its annotation is the awaiting code's to see
            future.set_exception(error)
        else:
            future.set_result(value)

    def _event_raised(self, event: ev.EventRaised) -> None:
        if event.wait is None:
            self._unread.setdefault(event.name, deque()).append((event.id, event.data))
            return
        wait = self.open.pop(event.wait)
        self._waiting[event.name].remove(wait)  # type: ignore[arg-type]
        self._satisfy(wait, event.id, event.data)  # type: ignore[arg-type]

    def _satisfy(self, wait: WaitFuture[Any], event_id: int, data: Raw) -> None:
        wait.got = (event_id, data)
        self._satisfied.append(wait)
        self._resolve(wait, data, f"external event {wait.name!r}")

    def _begin(self, started: ev.Started) -> None:
        from perdure._core.context import Context  # noqa: PLC0415 - the context is made of executions

        self.started = started
        secret = bytes.fromhex(started.secret)
        self.now_us = started.at
        self.salt = int.from_bytes(blake2b(secret, digest_size=8, person=b"perdure-hash").digest(), "big")
        for index, carried in enumerate(started.carried):
            entry = (index - len(started.carried), carried.data)
            self._unread.setdefault(carried.name, deque()).append(entry)
        context = Context(self, secret)
        variables = ContextVariables()
        self._root = self.create_task(self._main(context), name="root", context=variables)

    async def _main(self, context: Any) -> None:
        # The outcome is taken here and not from the task: a task whose cancellation was swallowed and asked for again
        # by a TaskGroup (Python 3.13) counts as cancelled although its coroutine returned.
        try:
            inputs = self.definition.inputs_codec.decode(self.started.input)
            self._returned = (await self.definition.fn(context, *inputs),)
        except (Unwind, SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - the outcome of the execution
            self._raised = error

    # -- the end ---------------------------------------------------------------------------------------------------

    def _wind_up(self) -> None:
        """When the root is done: cancel what is left, as `asyncio.run` does, then write the outcome."""
        if self._next is not None:
            self._continue_as_new(*self._next)
            return
        root = self._root
        if root is None or not root.done():
            self._check_stuck()
            return
        if not self._winding_up:
            self._winding_up = True
            for task in self.unfinished():
                task.cancel()
            self.run_ready()
        if self._next is not None:
            self._continue_as_new(*self._next)
        elif self.unfinished():
            self._check_stuck()
        else:
            self._report_leftovers()
            self._give_up_everything()
            self.ending = self._outcome()

    def _check_stuck(self) -> None:
        if not self.open and not any(_will_be_answered(ask) for ask in self._asks) and self.offence is None:
            tasks = ", ".join(sorted(_waiting_line(task) for task in self.unfinished()))
            raise StuckError(
                f"the orchestration waits for something that no durable event can bring, at {tasks}: "
                "a future of another event loop, an asyncio object that nobody will wake, or a lost future. "
                "Wait for an activity, a timer, an external event or a sub-orchestration instead."
            )

    def _outcome(self) -> ev.Ended:
        if self._returned is not None:
            try:
                output = self.definition.result_codec.encode(
                    self._returned[0], what=f"result of orchestration {self.definition.name}"
                )
            except Exception as error:  # noqa: BLE001 - a result that doesn't fit fails the orchestration, in words
                return ev.Failed(id=0, error=error_info_from_exception(error))
            return ev.Completed(id=0, output=Raw(output))
        error = self._raised
        if isinstance(error, asyncio.CancelledError) and self.cancel_requested is not None:
            return ev.Cancelled(id=0, reason=self.cancel_requested)
        if error is None:
            # The root was cancelled before its first line ran.
            if self.cancel_requested is not None:
                return ev.Cancelled(id=0, reason=self.cancel_requested)
            error = asyncio.CancelledError("the orchestration was cancelled before it ran")
        if isinstance(error, RuntimeError | ValueError) and any(words in str(error) for words in FOREIGN):
            self.offend(
                ForbiddenCallError(
                    f"the orchestration awaited a future of another event loop ({error}). "
                    "Do that work in an activity and await ctx.schedule_activity(...)."
                )
            )
        return ev.Failed(id=0, error=error_info_from_exception(error))

    def _continue_as_new(self, inputs: bytes, version: str | None) -> None:
        for task in self.unfinished():
            task.cancel()
        self.run_ready()
        self._give_up_everything()
        carried = tuple(ev.Carried(name, data) for _, name, data in self._left_unread())
        self.ending = ev.ContinuedAsNew(id=0, input=Raw(inputs), version=version, carried=carried)
        self.drop()

    def _left_unread(self) -> list[tuple[int, str, Raw]]:
        """External events that no code has seen, in the order of their arrival."""
        left = [(event_id, name, data) for name, queue in self._unread.items() for event_id, data in queue]
        left += [(*wait.got[:1], wait.name, wait.got[1]) for wait in self._satisfied if wait.got and not wait.read]
        return sorted(left, key=lambda entry: entry[0])

    def _overflow(self) -> None:
        error = LimitError(
            f"the history of {self.instance_id} has {self.last_event:,} events, the limit is {HISTORY_EVENTS_MAX:,}: "
            "let the orchestration continue as new (see ctx.should_continue_as_new)"
        )
        self._give_up_everything()
        self.ending = ev.Failed(id=0, error=error_info_from_exception(error))
        for ask in self._collect():
            self.last_event += 1
            self._bind(ask, self.last_event)
        self.drop()

    def _give_up_everything(self) -> None:
        for event_id in sorted(self.open):
            ask = self.open.get(event_id)
            if isinstance(ask, ChildFuture):
                self._close_child(ask)
            elif ask is not None:
                self._record_given_up(ask)
        for ask in self._asks:
            abandoned = isinstance(ask, ChildFuture) and ask.on_close == "abandon"
            if isinstance(ask, DurableFuture | LoopTimer) and not abandoned:
                ask.event_id = TAKEN_BACK
        self.open.clear()
        self._waiting.clear()

    def _close_child(self, child: ChildFuture[Any]) -> None:
        if child.on_close != "abandon":
            self._given_up.append(
                ev.ChildCancelled(id=0, source=child.event_id, terminate=child.on_close == "terminate")
            )

    def _report_leftovers(self) -> None:
        if self.replaying:
            return
        for ask in self.open.values():
            if isinstance(ask, ActivityFuture | ChildFuture):
                self.warnings.append(f"{ask.name}, asked for at {ask.where}, still ran when the orchestration ended: cancelled")
        for task in self.unretrieved():
            self.warnings.append(f"task {task.get_name()} failed and nobody looked: {_said(task.exception())}")
        for error in self.callback_errors:
            self.warnings.append(f"a callback failed: {_said(error)}")
        self.callback_errors = ()

    # -- what contexts and futures call ----------------------------------------------------------------------------

    @property
    def execution_id(self) -> int:
        """The generation of the instance, from 1."""
        return self.started.execution

    def ask(self, ask: Any) -> None:
        """Remember what was asked for; it is written down when the run of this event ends."""
        self._asks.append(ask)
        self.asked += 1

    def wait_for(self, wait: WaitFuture[Any]) -> None:
        """Ask for an external event; an unread one satisfies the wait at once."""
        self.ask(wait)
        unread = self._unread.get(wait.name)
        if unread:
            event_id, data = unread.popleft()
            wait.took = event_id
            self._satisfy(wait, event_id, data)
        else:
            self._waiting.setdefault(wait.name, deque()).append(wait)

    def give_up(self, ask: DurableFuture[Any]) -> None:
        """A durable future was cancelled by the program."""
        if self.over is None and self.ready is None:
            self.gate("cancel")
        if self.ending is not None:
            return
        ask.lost_at = where_asked()
        if isinstance(ask, WaitFuture):
            self._waiting[ask.name].remove(ask)
        if ask.event_id == 0:
            ask.event_id = TAKEN_BACK
        elif self.open.pop(ask.event_id, None) is not None:
            self._record_given_up(ask)

    def give_back(self, wait: WaitFuture[Any]) -> None:
        """A wait got its event, and nobody saw it: the event is unread again, in its old place."""
        if wait.got is None or self.ending is not None:
            return
        event_id, data = wait.got
        queue = self._unread.setdefault(wait.name, deque())
        position = sum(1 for other, _ in queue if other < event_id)
        queue.insert(position, (event_id, data))
        wait.got = None
        if wait.event_id == 0:
            wait.event_id = TAKEN_BACK
        else:
            self._given_up.append(ev.WaitCancelled(id=0, source=wait.event_id, gave_back=event_id))

    def continue_with(self, inputs: bytes, version: str | None) -> Unwind:
        """Mark the execution as continued; nothing may be asked for from now on."""
        self._next = (inputs, version)
        self.over = "the execution continues as new"
        return Unwind(self.over)

    def timer_created(self, handle: TimerHandle) -> None:
        """Asyncio asked for a timer."""
        handle.ask = LoopTimer(handle, where_asked())
        self.ask(handle.ask)

    def timer_cancelled(self, handle: TimerHandle) -> None:
        """Asyncio no longer wants a timer."""
        timer = handle.ask
        if timer.event_id == 0:
            timer.event_id = TAKEN_BACK
        elif self.open.pop(timer.event_id, None) is not None:
            self._record_given_up(timer)

    # -- writing down ----------------------------------------------------------------------------------------------

    def _record_given_up(self, ask: Any) -> None:
        self._given_up.append(ask.given_up())

    def _collect(self) -> list[Any]:
        """What this run asked for: cancellations first, by the id they cancel, then the rest in order, then the end."""
        asks: list[Any] = []
        if self._given_up:
            asks += [_Written(event) for event in sorted(self._given_up, key=_by_source)]
            self._given_up = []
        if self._asks:
            asks += [ask for ask in self._asks if ask.event_id != TAKEN_BACK]
            self._asks = []
        if self._satisfied:
            self._satisfied = [wait for wait in self._satisfied if not wait.read and wait.got is not None]
        if self.ending is not None:
            asks.append(_Written(self.ending))
        return asks

    def _bind(self, ask: Any, event_id: int, recorded: Any = None) -> None:
        ask.event_id = event_id
        if recorded is None:
            event = ask.event(event_id)
            self.events.append(event)
            if isinstance(ask, _Written) and isinstance(event, ev.Ended):
                self.ending = event
        if isinstance(ask, DurableFuture | LoopTimer) and not (isinstance(ask, DurableFuture) and ask.done()):
            self.open[event_id] = ask


class _Written:
    """An ask that is its event already, but for the id."""

    __slots__ = ("_event", "event_id")

    def __init__(self, event: Any) -> None:
        self._event = event
        self.event_id = 0

    def event(self, event_id: int) -> Any:
        return with_id(self._event, event_id)

    def names(self) -> Iterable[str]:
        return ()


def _by_source(event: Any) -> int:
    return int(event.source)


def _waiting_line(task: asyncio.Task[Any]) -> str:
    stack = task.get_stack(limit=1)
    if not stack:
        return task.get_name()
    frame = stack[-1]
    return f"{frame.f_code.co_filename}:{frame.f_lineno} ({frame.f_code.co_qualname})"


def _will_be_answered(ask: Any) -> bool:
    return isinstance(ask, DurableFuture | LoopTimer) and ask.event_id != TAKEN_BACK


def _said(error: BaseException | None) -> str:
    return "" if error is None else error_info_from_exception(error).summary


_DELIVERIES: dict[type, Callable[[Execution, Any], None]] = {
    ev.Started: Execution._begin,
    ev.ActivityCompleted: Execution._activity_completed,
    ev.ActivityFailed: Execution._activity_failed,
    ev.TimerFired: Execution._timer_fired,
    ev.EventRaised: Execution._event_raised,
    ev.ChildCompleted: Execution._child_completed,
    ev.ChildFailed: Execution._child_failed,
    ev.CancelRequested: Execution._cancel_asked,
}
