"""A worker of one of two releases of a shop: `python release_program.py URL RELEASE`; tells when it is ready.

Release 2 keeps what release 1 has, adds new versions beside it, and changes one orchestration in place.
"""

import asyncio
import sys

from perdure import ActivityContext, ExternalEvent, OrchestrationContext, Registry, Runtime, activity, orchestration

STOP = ExternalEvent[None]("stop")
TICK_S = 0.05
PAUSE_S = 0.3

second = len(sys.argv) > 2 and sys.argv[2] == "2"


@activity(name="work")
async def work(ctx: ActivityContext, what: str) -> str:
    return f"{what} {ctx.deliveries}"


@orchestration(name="order", version="1.0.0")
async def order_1(ctx: OrchestrationContext) -> list[str]:
    done = [ctx.version, await ctx.schedule_activity(work, "pack")]
    await ctx.schedule_timer(PAUSE_S)
    return [*done, await ctx.schedule_activity(work, "send")]


@orchestration(name="order", version="2.0.0")
async def order_2(ctx: OrchestrationContext) -> list[str]:
    done = [ctx.version, await ctx.schedule_activity(work, "weigh"), await ctx.schedule_activity(work, "pack")]
    await ctx.schedule_timer(PAUSE_S)
    return [*done, await ctx.schedule_activity(work, "send")]


@orchestration(name="label")
async def label(ctx: OrchestrationContext) -> list[str]:
    """Changed in place: release 1 has no question here."""
    done = [await ctx.schedule_activity(work, "print")]
    await ctx.schedule_timer(PAUSE_S)
    if second and ctx.patched("in colour"):
        done.append(await ctx.schedule_activity(work, "colour"))
    return [*done, await ctx.schedule_activity(work, "glue")]


async def _tick(ctx: OrchestrationContext, path: list[str]) -> list[str]:
    """The versions that the instance has had, in order."""
    path = path if path[-1:] == [ctx.version] else [*path, ctx.version]
    index, _ = await ctx.select2(ctx.schedule_wait(STOP), ctx.schedule_timer(TICK_S))
    if index == 1:
        ctx.continue_as_new(path)
    return path


@orchestration(name="ticker", version="1.0.0")
async def ticker_1(ctx: OrchestrationContext, path: list[str]) -> list[str]:
    return await _tick(ctx, path)


@orchestration(name="ticker", version="2.0.0")
async def ticker_2(ctx: OrchestrationContext, path: list[str]) -> list[str]:
    return await _tick(ctx, path)


RELEASE_1 = Registry(work, order_1, label, ticker_1)
RELEASE_2 = Registry(RELEASE_1, order_2, ticker_2)


async def main(url: str) -> None:
    async with Runtime(url, RELEASE_2 if second else RELEASE_1) as runtime:
        print("ready", flush=True)  # noqa: T201 - this is how the test hears of it
        await runtime.serve()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
