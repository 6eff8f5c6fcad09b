"""A worker in a process of its own: books places in a row, each in a transactional activity, and dies on the way.

At one place it is killed by itself before the commit, at another by a process that sees what has been committed.
"""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from perdure import ActivityContext, OrchestrationContext, Registry, Runtime, activity, orchestration

PLACES = 6
DIES_BEFORE_COMMIT = 2
DIES_AFTER_COMMIT = 4

KILLER = """
import os, signal, sys
place, store, path, pid = sys.argv[1:]
if store == "sqlite":
    import sqlite3
    ask = sqlite3.connect(path, isolation_level=None).execute
else:
    import psycopg
    ask = psycopg.connect(path, autocommit=True).execute
print("ready", flush=True)
while not ask("SELECT 1 FROM bookings WHERE place = " + str(int(place))).fetchall():
    # Ends with an error when there is nobody left to be killed.
    os.kill(int(pid), 0)
os.kill(int(pid), signal.SIGKILL)
"""


def _first_time(scratch: str, what: str) -> bool:
    mark = Path(scratch, what)
    is_first = not mark.exists()
    mark.touch()
    return is_first


@activity(name="arm")
def arm(place: int, store: str, scratch: str) -> None:
    """Have somebody ready who kills this process when the place is booked."""
    if _first_time(scratch, f"armed-{place}"):
        path = sys.argv[1].removeprefix("sqlite:///").partition("?")[0]
        killer = subprocess.Popen(
            [sys.executable, "-c", KILLER, str(place), store, path, str(os.getpid())], stdout=subprocess.PIPE
        )
        assert killer.stdout is not None
        killer.stdout.readline()


@activity(name="book", transactional=True)
async def book(ctx: ActivityContext, place: int, store: str, scratch: str) -> int:
    if store == "sqlite":
        ctx.connection.execute("INSERT INTO bookings VALUES (?)", (place,))
    else:
        await ctx.connection.execute("INSERT INTO public.bookings VALUES (%s)", (place,))
    if place == DIES_BEFORE_COMMIT and _first_time(scratch, f"died-{place}"):
        os.kill(os.getpid(), signal.SIGKILL)
    return place


@orchestration(name="book-all")
async def book_all(ctx: OrchestrationContext, store: str, scratch: str) -> list[int]:
    booked = []
    for place in range(PLACES):
        if place == DIES_AFTER_COMMIT:
            await ctx.schedule_activity(arm, place, store, scratch)
        booked.append(await ctx.schedule_activity(book, place, store, scratch))
    return booked


async def main(url: str, store: str, scratch: str) -> None:
    async with Runtime(url, Registry(arm, book, book_all)) as runtime:
        handle = await runtime.client.start_orchestration(
            book_all, store, scratch, instance_id="all", on_conflict="use_existing"
        )
        print("done", *await handle.result(timeout=60), flush=True)  # noqa: T201 - whoever has started this listens


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
