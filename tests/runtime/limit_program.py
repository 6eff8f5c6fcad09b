"""A worker for tests whose orchestrations hold a place of a limit: `python limit_program.py URL FILE`.

Whoever is inside has written so to the file, and whoever leaves too: the order of its lines is that of the world.
"""

import asyncio
import os
import sys

from perdure import ActivityContext, OrchestrationContext, Registry, Runtime, activity, orchestration

PLACES = 5


def say(*words: object) -> None:
    """One line, at once."""
    print(*words, flush=True)  # noqa: T201 - this is how the test hears of it


class Door:
    """What activities write to a file that all processes share."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    @activity(name="pass-the-door")
    async def go(self, ctx: ActivityContext, way: str) -> None:
        os.write(self._file, f"{way} {ctx.instance_id}\n".encode())
        say(way, ctx.instance_id)


@orchestration(name="guest")
async def guest(ctx: OrchestrationContext, number: int) -> int:
    async with ctx.limit("room", PLACES):
        await ctx.schedule_activity("pass-the-door", "in", returns=type(None))
        await ctx.schedule_activity("pass-the-door", "out", returns=type(None))
    return number


async def main(url: str, path: str) -> None:
    async with Runtime(url, Registry(Door(path), guest)) as runtime:
        say("ready")
        await runtime.serve()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
