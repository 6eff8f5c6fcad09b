"""What a process loads before its first result: a cold start waits for all of it."""

import subprocess
import sys

PROGRAM = """
import asyncio, dataclasses, sys
from perdure import OrchestrationContext, Registry, Runtime, activity, orchestration

@activity
async def double(number: int) -> int:
    return 2 * number

@orchestration
async def one(ctx: OrchestrationContext, number: int) -> int:
    return await ctx.schedule_activity(double, number)

async def main():
    async with Runtime(sys.argv[1], Registry(double, one)) as runtime:
        assert await (await runtime.client.start_orchestration(one, 21)).result() == 42

asyncio.run(main())
ours = [each for name, each in sys.modules.items() if name.startswith("perdure.") or name == "perdure"]
print(*sys.modules)
print(*{
    thing.__name__ for each in ours for thing in vars(each).values()
    if isinstance(thing, type) and dataclasses.is_dataclass(thing)
})
"""

SELDOM = {
    "perdure._client.export_file",
    "perdure._client.figures",
    "perdure._client.history",
    "perdure._client.moving",
    "perdure._client.rewinding",
    "perdure._client.schedules",
    "perdure._client.sync",
    "perdure._client.tags",
    "perdure._client.transferring",
    "perdure._client.workers",
    "perdure._schedules.calendar",
    "shutil",
    "sqlite3",
    "tempfile",
    "zoneinfo",
}

# A frozen dataclass costs forty times what a msgspec struct costs to make: over a millisecond each.
DATACLASSES = {"Backoff", "ErrorInfo", "InstanceStatus", "Page", "RetryPolicy"}


def test_what_few_programs_ask_for_is_not_loaded_before_the_first_result(tmp_path):
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "some.db")]
    loaded, dataclasses = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()

    assert set(loaded.split()) & SELDOM == set()
    assert set(dataclasses.split()) == DATACLASSES
