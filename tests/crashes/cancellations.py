"""Canonical orchestrations that are cancelled, and clean up behind themselves."""

import asyncio

from perdure import OrchestrationContext, orchestration
from tests.crashes.programs import NEVER, World, leaf


@orchestration
async def compensating(ctx: OrchestrationContext) -> str:
    await ctx.schedule_activity(World.do, "reserve")
    try:
        ctx.set_custom_status("waiting")
        return await ctx.schedule_wait(NEVER)
    finally:
        await ctx.schedule_timer(10)
        await ctx.schedule_activity(World.do, "release")


@orchestration
async def careful(ctx: OrchestrationContext) -> str:
    """What was done before the cancel was heard is undone."""
    doing = ctx.schedule_activity(World.do, "begun", on_cancel="wait")
    ctx.set_custom_status("waiting")
    try:
        await asyncio.gather(doing, ctx.schedule_wait(NEVER))
    except asyncio.CancelledError:
        if not doing.cancelled():
            await ctx.schedule_activity(World.do, f"undone {doing.result()}")
        raise
    return "never"


@orchestration
async def shielding(ctx: OrchestrationContext) -> str:
    important = asyncio.ensure_future(ctx.schedule_sub_orchestration(leaf, "important"))
    ctx.set_custom_status("waiting")
    try:
        await asyncio.gather(asyncio.shield(important), ctx.schedule_wait(NEVER))
    except asyncio.CancelledError:
        await important
        raise
    return "never"
