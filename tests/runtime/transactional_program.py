"""A worker in a process of its own: books places in a row, each in a transactional activity, and dies on the way."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from perdure import ActivityContext, OrchestrationContext, Registry, Runtime, activity, orchestration

PLACES = 6
DEADLY = (2,)


@activity(name="book", transactional=True)
async def book(ctx: ActivityContext, place: int, scratch: str) -> int:
    if scratch.startswith("sqlite:"):
        ctx.connection.execute("INSERT INTO bookings VALUES (?)", (place,))
    else:
        await ctx.connection.execute("INSERT INTO public.bookings VALUES (%s)", (place,))
    mark = Path(scratch.partition(":")[2], f"died-{place}")
    if place in DEADLY and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return place


@orchestration(name="book-all")
async def book_all(ctx: OrchestrationContext, scratch: str) -> list[int]:
    return [await ctx.schedule_activity(book, place, scratch) for place in range(PLACES)]


async def main(url: str, scratch: str) -> None:
    async with Runtime(url, Registry(book, book_all)) as runtime:
        handle = await runtime.client.start_orchestration(
            book_all, scratch, instance_id="all", on_conflict="use_existing"
        )
        print("up", flush=True)  # noqa: T201 - whoever has started this listens
        print("done", *await handle.result(timeout=60), flush=True)  # noqa: T201 - the same


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
