"""A worker process of a fleet: `python -m tests.storage.postgres.fleet URL`; runs until it is killed."""

import asyncio
import os
import sys
from pathlib import Path

from perdure import ActivityContext, OrchestrationContext, Registry, Runtime, activity, orchestration

TWO = 2
PATIENCE_S = 60


@activity
async def add_one(ctx: ActivityContext, number: int) -> int:
    return number + 1


@activity
async def meet(ctx: ActivityContext, where: str) -> int:
    """Come to a place, and leave it when another process has come there too."""
    place = Path(where)
    (place / str(os.getpid())).touch()
    async with asyncio.timeout(PATIENCE_S):
        while len(list(place.iterdir())) < TWO:
            await ctx.client.list_workers()
    return os.getpid()


@orchestration
async def count_up(ctx: OrchestrationContext, steps: int) -> int:
    number = 0
    for _ in range(steps):
        number = await ctx.schedule_activity(add_one, number)
    return number


@orchestration
async def gather_at(ctx: OrchestrationContext, where: str, width: int) -> list[int]:
    return list(await asyncio.gather(*[ctx.schedule_activity(meet, where) for _ in range(width)]))


registry = Registry(add_one, meet, count_up, gather_at)


async def main() -> None:
    async with Runtime(sys.argv[1], registry, max_activities=5):
        print("ready", flush=True)  # noqa: T201 - the test waits for it
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
