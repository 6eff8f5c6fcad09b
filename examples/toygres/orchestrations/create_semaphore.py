"""create-semaphore: one for the whole system, without end, that lets only so many servers be made at a time."""

from dataclasses import replace

from examples.toygres import names
from examples.toygres.activities.instances import find_ended
from examples.toygres.types import PERMIT_GRANTED, PERMITS, Acquire, Release, SemaphoreState
from perdure import OrchestrationContext, orchestration

MESSAGES_PER_EXECUTION = 50


@orchestration(name=names.CREATE_SEMAPHORE, version="1.0.0")
async def create_semaphore(ctx: OrchestrationContext, state: SemaphoreState) -> None:
    """Hear who wants a permit and who gives one back, and grant what is free, the first come first."""
    for _ in range(MESSAGES_PER_EXECUTION):
        state = _grant(ctx, state)
        ctx.set_custom_status({"limit": state.limit, "holders": state.holders, "waiting": state.waiting})
        message = ctx.schedule_wait(PERMITS)
        if not state.holders:
            state = _after(state, await message)
            continue
        match await ctx.select2(message, ctx.schedule_timer(state.look_every)):
            case 0, heard:
                state = _after(state, heard)
            case _:
                # Whoever was terminated could not say that it is gone.
                ended = await ctx.schedule_activity(find_ended, [*state.holders, *state.waiting])
                for instance_id in ended:
                    state = _after(state, Release(instance_id))
    ctx.continue_as_new(state)


def _after(state: SemaphoreState, message: Acquire | Release) -> SemaphoreState:
    match message:
        case Acquire(instance_id):
            return replace(state, waiting=[*state.waiting, instance_id])
        case Release(instance_id):
            return replace(
                state,
                holders=[each for each in state.holders if each != instance_id],
                waiting=[each for each in state.waiting if each != instance_id],
            )


def _grant(ctx: OrchestrationContext, state: SemaphoreState) -> SemaphoreState:
    free = state.limit - len(state.holders)
    granted, waiting = state.waiting[:free], state.waiting[free:]
    for number, instance_id in enumerate(granted, 1):
        ctx.raise_event(instance_id, PERMIT_GRANTED, free - number)
    return replace(state, holders=[*state.holders, *granted], waiting=waiting)
