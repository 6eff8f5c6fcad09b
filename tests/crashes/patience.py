"""Canonical orchestrations that ask again and again, or for many things in a row."""

from perdure import ActivityContext, MapPolicy, OrchestrationContext, activity, orchestration
from tests.crashes.programs import World


@activity
async def third_look(ctx: ActivityContext) -> str | None:
    looks = ctx.last_heartbeat(int) or 0
    ctx.heartbeat(looks + 1)
    return "ready" if looks == 2 else None


@orchestration
async def polling(ctx: OrchestrationContext) -> str:
    return await ctx.schedule_activity(World.do, await ctx.poll_until(third_look, every=5))


@orchestration
async def mapping(ctx: OrchestrationContext) -> list[str]:
    """Two at a time."""
    found = await ctx.map(World.do, [f"item {n}" for n in range(3)], max_concurrency=2, policy=MapPolicy())
    return [each for _, each in found.succeeded]
