"""A worker that some of its work kills, in a process of its own: `python poison_program.py URL`."""

import asyncio
import os
import signal
import sys

from perdure import ExternalEvent, OrchestrationContext, Registry, Runtime, activity, orchestration

GO = ExternalEvent[str]("go")


def die() -> None:
    """As a crash of native code would end the process."""
    os.kill(os.getpid(), signal.SIGKILL)


@activity(name="deadly")
async def deadly() -> None:
    die()


@activity(name="slow")
async def slow(number: int) -> int:
    await asyncio.sleep(0.2)
    return number


@orchestration(name="killer")
async def killer(ctx: OrchestrationContext) -> None:
    await ctx.schedule_wait(GO)
    die()


@orchestration(name="waiting")
async def waiting(ctx: OrchestrationContext) -> str:
    return await ctx.schedule_wait(GO)


@orchestration(name="ordering")
async def ordering(ctx: OrchestrationContext) -> None:
    await ctx.schedule_activity(deadly)


@orchestration(name="innocent")
async def innocent(ctx: OrchestrationContext, number: int) -> int:
    return await ctx.schedule_activity(slow, number)


registry = Registry(deadly, slow, killer, waiting, ordering, innocent)


if __name__ == "__main__":
    # Opened by `serve` alone: once open it takes work, and a signal that nobody hears yet would be another death.
    asyncio.run(Runtime(sys.argv[1], registry, max_deliveries=4).serve())
