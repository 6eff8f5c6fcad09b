"""Canonical orchestrations of what must not be done twice."""

import asyncio
from typing import Any

from perdure import (
    ActivityContext,
    DidNotHappen,
    Happened,
    OrchestrationContext,
    RetryPolicy,
    Verdict,
    activity,
    orchestration,
)
from tests.crashes.programs import World


def once_in(world: World) -> Any:
    """An activity that is done once in this world, which can be asked whether it was."""

    async def find(ctx: ActivityContext, entry: str) -> Verdict[str]:
        done = (ctx.idempotency_key, entry) in world.runs
        return Happened(entry) if done else DidNotHappen()

    @activity(name="once", on_unknown="hold", probe=find)
    async def once(ctx: ActivityContext, entry: str) -> str:
        if entry == "second try" and ctx.attempt == 1:
            raise ConnectionError("not yet")
        world.runs.append((ctx.idempotency_key, entry))
        return entry

    return once


@orchestration
async def never_twice(ctx: OrchestrationContext) -> list[str]:
    def do(entry: str) -> Any:
        return ctx.schedule_activity("once", entry, returns=str, retry=RetryPolicy(2))

    return [await do("alone"), await do("second try"), *await asyncio.gather(do("left"), do("right"))]
