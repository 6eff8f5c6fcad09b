"""Canonical orchestrations that go wrong until somebody mends what was wrong, and are then put back."""

from perdure import ActivityContext, NonRetryableError, OrchestrationContext, activity, orchestration
from tests.crashes.programs import MAIL, World, leaf


def mendable_in(world: World) -> list[object]:
    """Activities that go wrong in this world until it is mended."""

    @activity(name="works-when-mended")
    async def works(ctx: ActivityContext, entry: str) -> str:
        if not world.is_mended:
            raise NonRetryableError("out of order")
        world.runs.append((ctx.idempotency_key, entry))
        return entry

    @activity(name="right-when-mended")
    async def right() -> str:
        return "right" if world.is_mended else "wrong"

    return [works, right]


@orchestration
async def to_rewind(ctx: OrchestrationContext) -> list[object]:
    """Fails after an event, a child and an activity, all of which it keeps."""
    number = await ctx.schedule_wait(MAIL)
    below = await ctx.schedule_sub_orchestration(leaf, "below")
    beside = ctx.schedule_activity(World.do, "beside")
    done = await ctx.schedule_activity("works-when-mended", "mended", returns=str)
    return [number, below, await beside, done, await ctx.schedule_wait(MAIL)]


@orchestration
async def named_child(ctx: OrchestrationContext) -> str:
    return ctx.instance_id


@orchestration
async def to_reset(ctx: OrchestrationContext) -> list[object]:
    """Does the wrong thing, and waits; what it has sent for meanwhile is taken back."""
    first = await ctx.schedule_activity(World.do, "kept")
    found = await ctx.schedule_activity("right-when-mended", returns=str)
    below = await ctx.schedule_sub_orchestration(named_child, instance_id="below")
    ctx.set_custom_status(found)
    return [first, found, below, await ctx.schedule_wait(MAIL)]


@orchestration
async def wrong_later(ctx: OrchestrationContext, execution: int) -> list[object]:
    """Does the wrong thing in its second execution, with events that came along, and has ended when that is seen."""
    if execution == 1:
        ctx.continue_as_new(2)
    number = await ctx.schedule_wait(MAIL)
    found = await ctx.schedule_activity("right-when-mended", returns=str)
    ctx.set_custom_status(found)
    return [number, found, await ctx.schedule_wait(MAIL)]


@orchestration
async def to_fork(ctx: OrchestrationContext) -> list[object]:
    """Is forked while it waits for the second event."""
    number = await ctx.schedule_wait(MAIL)
    done = await ctx.schedule_activity(World.do, "before")
    ctx.set_custom_status("waiting")
    return [number, done, await ctx.schedule_wait(MAIL), await ctx.schedule_activity(World.do, "apart")]


@orchestration
async def beside_a_delete(ctx: OrchestrationContext) -> list[object]:
    """Waits with a child while somebody deletes a detached orchestration that has ended."""
    ctx.schedule_orchestration(leaf, "detached", instance_id="detached")
    below = await ctx.schedule_sub_orchestration(named_child, instance_id="below")
    ctx.set_custom_status("waiting")
    return [below, await ctx.schedule_wait(MAIL)]
