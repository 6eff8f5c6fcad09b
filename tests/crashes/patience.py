"""Canonical orchestrations that ask again and again, for many things in a row, or wait in line."""

import asyncio

from perdure import ActivityContext, Limit, MapPolicy, OrchestrationContext, activity, orchestration
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


@orchestration
async def limited(ctx: OrchestrationContext) -> list[str]:
    """Three sections with one place, and an activity in each that needs a place of its own."""

    async def section(number: int) -> str:
        async with ctx.limit("room", 1):
            return await ctx.schedule_activity(World.do, f"inside {number}", limit=Limit("desk", concurrency=1))

    return await asyncio.gather(*map(section, range(3)))
