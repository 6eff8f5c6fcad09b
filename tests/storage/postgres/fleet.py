"""A worker process of a fleet: `python -m tests.storage.postgres.fleet URL`; runs until it is killed."""

import asyncio
import os
import sys

from perdure import ActivityContext, OrchestrationContext, Registry, Runtime, activity, orchestration


@activity
async def add_one(ctx: ActivityContext, number: int) -> int:
    return number + 1


@activity
async def who(ctx: ActivityContext) -> int:
    return os.getpid()


@orchestration
async def count_up(ctx: OrchestrationContext, steps: int) -> int:
    number = 0
    for _ in range(steps):
        number = await ctx.schedule_activity(add_one, number)
    return number


@orchestration
async def ask_around(ctx: OrchestrationContext, width: int) -> list[int]:
    return list(await asyncio.gather(*[ctx.schedule_activity(who) for _ in range(width)]))


registry = Registry(add_one, who, count_up, ask_around)


async def main() -> None:
    async with Runtime(sys.argv[1], registry, max_activities=5):
        print("ready", flush=True)  # noqa: T201 - the test waits for it
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
