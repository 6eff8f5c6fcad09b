"""A schedule with several workers: what must hold on every store."""

import asyncio
from contextlib import AsyncExitStack

from perdure import Every, OrchestrationContext, Registry, Runtime, orchestration


@orchestration(name="told")
async def told(ctx: OrchestrationContext, word: str) -> str:
    return word


async def start_each_slot_once(url: str, workers: int) -> None:
    """Have so many workers run a schedule for three slots, and look whether each has started one run."""
    async with AsyncExitStack() as open_workers:
        runtimes = [await open_workers.enter_async_context(Runtime(url, Registry(told))) for _ in range(workers)]
        schedule = await runtimes[0].client.schedules.create("often", told, "hello", when=Every(1))
        async for _ in runtimes[0].client.get_handle("often").watch():
            status = await schedule.status()
            if status.started >= 3:
                break
        await schedule.pause()
        runs = (await runtimes[-1].client.list_instances(name="told")).items
        seconds = [each.instance_id.removeprefix("often@") for each in runs]
        assert len(set(seconds)) == len(seconds) >= 3
        results = await asyncio.gather(
            *(runtimes[-1].client.get_handle(each.instance_id, told).result() for each in runs)
        )
    assert set(results) == {"hello"}
