"""Canonical orchestrations that show something of themselves and answer, beside those of `programs`."""

import asyncio

from perdure import Key, OrchestrationContext, Update, orchestration
from tests.crashes.programs import World

PAY = Update[int, str]("pay")
TOTAL = Key[int]("total")


@orchestration
async def bookkeeping(ctx: OrchestrationContext, generation: int) -> list[object]:
    """Counts in its KV store, over activities and generations."""
    for _ in range(2):
        ctx.kv.set(TOTAL, ctx.kv.get(TOTAL, 0) + 1)
        ctx.kv.set(Key[str](f"page {generation}"), "written")
        ctx.kv.prune(ctx.utc_now())
        await ctx.schedule_activity(World.do, f"total {ctx.kv.get(TOTAL)}")
    ctx.set_custom_status(f"generation {generation}")
    if generation < 2:
        await ctx.schedule_timer(5)
        ctx.continue_as_new(generation + 1)
    seen = await ctx.read_value(ctx.instance_id, TOTAL), await ctx.read_value("nobody", TOTAL)
    return [*seen, ctx.custom_status, *ctx.kv.keys()]


@orchestration
async def till(ctx: OrchestrationContext) -> list[object]:
    """Takes what clients pay, at once or after an activity, until the third payment."""
    paid: asyncio.Queue[int] = asyncio.Queue()

    async def pay(cents: int) -> str:
        if cents > 1:
            await ctx.schedule_activity(World.do, f"count {cents}")
        paid.put_nowait(cents)
        return f"thanks for {cents}"

    ctx.on_update(PAY, pay)
    amounts = [await paid.get() for _ in range(2)]
    await ctx.schedule_activity(World.do, "close")
    return sorted([*amounts, await paid.get()])
