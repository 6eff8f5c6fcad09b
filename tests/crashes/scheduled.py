"""What a schedule starts, to be crashed at every commit as the canonical orchestrations are."""

from contextlib import suppress
from datetime import datetime

from perdure import ActivityContext, InstanceClosedError, OrchestrationContext, activity, orchestration
from tests.crashes.programs import World


@activity
async def stop_schedule(ctx: ActivityContext) -> None:
    with suppress(InstanceClosedError):
        await ctx.client.cancel("main")


@orchestration
async def scheduled(ctx: OrchestrationContext, slot: datetime) -> None:
    """The run of a slot; the second one ends the schedule."""
    await ctx.schedule_activity(World.do, f"slot {slot:%H:%M}")
    if slot.hour == 2:
        await ctx.schedule_activity(stop_schedule)
