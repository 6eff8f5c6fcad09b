"""The orchestration that keeps a schedule, and the activities by which it looks at the world.

Laws kept here: a slot is started by the turn that also writes down that it is handled, under an id made from it, so it
is started once however many workers there are and however they crash. What can differ between two machines, or change
with a release (time zones, whether a run is open), is an activity's answer and thereby part of history.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from perdure._context import ActivityContext, OrchestrationContext  # noqa: TC001 - read when they are registered
from perdure._definitions import activity, orchestration
from perdure._retry import ATTEMPTS_MAX, Backoff, RetryPolicy
from perdure._schedules.spec import (
    BUFFERED_SLOTS_MAX,
    ORDERS,
    RUNS_WATCHED_MAX,
    SCHEDULE,
    Order,
    Spec,
    State,
    View,
    run_id,
    start_us,
)
from perdure._types import from_us, instant_us
from perdure.errors import ActivityError, InstanceClosedError, InstanceNotFoundError, PayloadError, RetryAfter

EVENTS_PER_EXECUTION = 1_000
"""Events after which a schedule continues as new."""

_LOOKING = RetryPolicy(ATTEMPTS_MAX, backoff=Backoff.exponential(1, max=60))
_BUFFERS = {"buffer_one": 1, "buffer_all": BUFFERED_SLOTS_MAX}
_FIRST_LOOK_S = 0.25
_WAIT_MAX_S = 10.0


class Question(Struct, frozen=True):
    """What a schedule asks of the calendar: about the slots behind one instant up to another, and about runs."""

    schedule_id: str
    spec: Spec
    after_us: int
    until_us: int
    runs: list[str]


class Answer(Struct, frozen=True):
    """Slots to start, how many others are to be skipped, the last one that is done with, the next, and open runs."""

    slots: list[int]
    skipped: int
    handled_us: int
    next_us: int | None
    next_start_us: int | None
    open: list[str]


@activity(name="perdure::activity::schedule-look", retry=_LOOKING)
async def look(ctx: ActivityContext, question: Question) -> Answer:
    """Read the calendar, and whether the runs that were open still are."""
    spec, until_us = question.spec, question.until_us
    after_us = question.after_us or instant_us((await ctx.client.get_status(question.schedule_id)).created_at)
    due = spec.timing.slots(after_us, until_us)

    def starts_at(slot_us: int) -> int:
        return start_us(question.schedule_id, slot_us, spec.jitter_us)

    # In order, so that one which jitter delays delays those behind it too.
    count = bisect_right(due, until_us - spec.jitter_us)
    while count < len(due) and starts_at(due[count]) <= until_us:
        count += 1
    most = BUFFERED_SLOTS_MAX if spec.catch_up == "all" else 1
    earliest_us = 0 if spec.late_max_us is None else until_us - spec.late_max_us
    in_time = [slot for slot in due[max(0, count - most) : count] if starts_at(slot) >= earliest_us]
    handled_us = until_us if count == len(due) else due[count] - 1
    following = spec.timing.next_slot(handled_us)
    return Answer(
        slots=in_time,
        skipped=count - len(in_time),
        handled_us=handled_us,
        next_us=following,
        next_start_us=None if following is None else starts_at(following),
        open=[each for each in question.runs if await _is_open(ctx, each)],
    )


@activity(name="perdure::activity::schedule-wait", retry=_LOOKING)
async def wait_for_end(ctx: ActivityContext, runs: list[str], how: str) -> None:
    """Wait for the end of runs, having asked them for it; looks again and again without occupying a worker."""
    still_open = [each for each in runs if await _is_open(ctx, each)]
    if not still_open:
        return
    if ctx.attempt == 1 and how != "wait":
        for each in still_open:
            await _end(ctx, each, how)
    raise RetryAfter(min(_FIRST_LOOK_S * 1.5 ** min(ctx.attempt, 20), _WAIT_MAX_S))


async def _is_open(ctx: ActivityContext, run: str) -> bool:
    try:
        return not (await ctx.client.get_status(run)).is_closed
    except InstanceNotFoundError:
        return False


async def _end(ctx: ActivityContext, run: str, how: str) -> None:
    end = ctx.client.cancel if how == "cancel_other" else ctx.client.terminate
    try:
        await end(run, "the next run of its schedule is due")
    except (InstanceNotFoundError, InstanceClosedError):
        # It ended meanwhile.
        return


@orchestration(name=SCHEDULE, version="1.0.0")
async def schedule(ctx: OrchestrationContext, spec: Spec, state: State) -> None:
    """Keep a schedule until it is cancelled or deleted; its runs are detached and go on without it."""
    keeper = _Keeper(ctx, spec, state)
    while ctx.history_length < EVENTS_PER_EXECUTION:
        await keeper.step()
    ctx.continue_as_new(keeper.spec, keeper.state)


class _Keeper:
    def __init__(self, ctx: OrchestrationContext, spec: Spec, state: State) -> None:
        self._ctx = ctx
        self.spec = spec
        self.state = state

    async def step(self) -> None:
        """Handle what is due, then wait for the next slot, an order, or the end of a run that slots wait for."""
        state = self.state
        starts_at: int | None = None
        if not state.paused:
            try:
                starts_at = await self._look()
            except ActivityError as error:
                self._ctx.trace_warn("the schedule could not look at its calendar", error=str(error))
                return
        self._ctx.set_custom_status(View(self.spec, state))
        order = await self._next(starts_at)
        if order is not None:
            self._obey(order)

    async def _look(self) -> int | None:
        ctx, state = self._ctx, self.state
        now_us = instant_us(ctx.utc_now())
        spec = replace(self.spec, inputs=[], slot_inputs=[])
        question = Question(ctx.instance_id, spec, state.handled_us, max(now_us, state.handled_us), state.open)
        seen = await ctx.schedule_activity(look, question)
        state.open = seen.open
        state.handled_us = seen.handled_us
        state.next_us = seen.next_us
        state.skipped += seen.skipped
        if state.buffered and not state.open:
            self._start(state.buffered.pop(0))
        for slot in seen.slots:
            self._take(slot)
        return seen.next_start_us

    def _take(self, slot_us: int) -> None:
        state = self.state
        policy = self.spec.overlap
        if policy == "allow":
            self._start(slot_us)
            state.open.pop()
        elif not state.open and not state.buffered:
            self._start(slot_us)
        elif len(state.buffered) < _BUFFERS.get(policy, 0):
            state.buffered.append(slot_us)
        elif policy in {"cancel_other", "terminate_other"}:
            state.skipped += len(state.buffered)
            state.buffered = [slot_us]
        else:
            state.skipped += 1

    def _start(self, slot_us: int) -> None:
        name = run_id(self._ctx.instance_id, slot_us)
        inputs = self.spec.inputs_at(slot_us)
        self._ctx.schedule_orchestration(self.spec.orchestration, *inputs, instance_id=name, version=self.spec.version)
        self._count(name)

    def _count(self, run: str) -> None:
        state = self.state
        state.open = [*state.open[1 - RUNS_WATCHED_MAX :], run]
        state.last_run = run
        state.started += 1

    async def _next(self, starts_at: int | None) -> Order | None:
        ctx, state = self._ctx, self.state
        waiting: list[Any] = [ctx.schedule_wait(ORDERS)]
        if starts_at is not None:
            waiting.append(ctx.schedule_timer(from_us(starts_at)))
        if state.buffered and not state.paused:
            how = self.spec.overlap if self.spec.overlap.endswith("_other") else "wait"
            waiting.append(ctx.schedule_activity(wait_for_end, state.open, how))
        try:
            index, value = await ctx.select(*waiting)
        except (PayloadError, ActivityError) as error:
            ctx.trace_warn("the schedule goes on after an order or an answer that it can't use", error=str(error))
            return None
        return value if index == 0 else None

    def _obey(self, order: Order) -> None:
        state = self.state
        now_us = instant_us(self._ctx.utc_now())
        if order.kind == "triggered":
            self._count(order.run)
        elif order.kind == "update":
            before, self.spec = self.spec, replace(self.spec, **order.changes)
            if before.due != self.spec.due:
                # What the new timing would have wanted before is no business of it.
                state.handled_us = now_us
        elif order.kind == "pause":
            state.paused, state.note, state.next_us = True, order.note, None
            state.skipped += len(state.buffered)
            state.buffered = []
        elif state.paused:
            state.paused, state.note, state.handled_us = False, order.note, now_us
