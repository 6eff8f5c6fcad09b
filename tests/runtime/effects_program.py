"""A worker whose activities must not be run twice, in a process of its own: `python effects_program.py URL LEDGER`.

Each effect is a line of the ledger, in the middle of its call: whoever kills the process may do so before or behind it.
"""

import asyncio
import os
import sys
from pathlib import Path

from perdure import (
    ActivityContext,
    DidNotHappen,
    Happened,
    OrchestrationContext,
    Registry,
    Runtime,
    Verdict,
    activity,
    orchestration,
)

COUNT = 20
_ledger: Path


def effects() -> list[int]:
    """What has happened."""
    return [int(line) for line in _ledger.read_text().splitlines()] if _ledger.exists() else []


async def do(number: int) -> int:
    """The effect, after and before a while."""
    await asyncio.sleep(0.02)
    with _ledger.open("a") as file:
        file.write(f"{number}\n")
        file.flush()
        os.fsync(file.fileno())
    await asyncio.sleep(0.02)
    return number


@activity(name="asked", on_unknown="hold")
async def asked(number: int) -> int:
    return await do(number)


def find(_: ActivityContext, number: int) -> Verdict[int]:
    return Happened(number) if number in effects() else DidNotHappen()


@activity(name="probed", on_unknown="hold", probe=find)
async def probed(number: int) -> int:
    return await do(number)


@orchestration(name="work")
async def work(ctx: OrchestrationContext) -> list[int]:
    done = [ctx.schedule_activity(probed if number % 2 else asked, number) for number in range(COUNT)]
    return list(await asyncio.gather(*done))


registry = Registry(asked, probed, work)


def use(ledger: Path) -> None:
    """Where effects are written."""
    global _ledger  # noqa: PLW0603 - the ledger of this process
    _ledger = ledger


async def main(url: str, ledger: str) -> None:
    use(Path(ledger))
    async with Runtime(url, registry, max_activities=4) as runtime:
        await runtime.serve()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
