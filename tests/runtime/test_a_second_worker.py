"""A worker that comes later: what the first one has kept for itself while it was alone is shared with it."""

import asyncio
from pathlib import Path

from perdure import ActivityContext, OrchestrationContext, Registry, Runtime, activity, orchestration


class Meeting:
    """An activity that ends when two workers run it."""

    def __init__(self, everybody: set[str], met: asyncio.Event, name: str) -> None:
        self.everybody, self.met, self.name = everybody, met, name
        self.arrived = asyncio.Event()

    @activity
    async def attend(self, _ctx: ActivityContext) -> str:
        self.everybody.add(self.name)
        self.arrived.set()
        if len(self.everybody) > 1:
            self.met.set()
        await self.met.wait()
        return self.name


@orchestration(name="meet")
async def meet(ctx: OrchestrationContext, width: int) -> list[str]:
    return list(await asyncio.gather(*(ctx.schedule_activity(Meeting.attend) for _ in range(width))))


async def test_what_waits_for_a_slot_goes_to_a_worker_that_comes_later(tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    everybody: set[str] = set()
    met = asyncio.Event()
    first, second = (Meeting(everybody, met, name) for name in ("first", "second"))
    async with Runtime(url, Registry(meet, first), max_activities=1) as alone:
        handle = await alone.client.start_orchestration(meet, 5)
        await first.arrived.wait()

        async with Runtime(url, Registry(meet, second), max_activities=1):
            names = await handle.result(timeout=60)

    assert set(names) == {"first", "second"}
