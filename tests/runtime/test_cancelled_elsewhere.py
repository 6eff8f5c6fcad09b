"""An activity hears that it is no longer wanted also where its orchestration is not."""

import asyncio
import threading

import pytest

from perdure import (
    ActivityContext,
    OrchestrationCancelledError,
    OrchestrationContext,
    Registry,
    Runtime,
    activity,
    orchestration,
)


@orchestration(name="wait-for-it")
async def wait_for_it(ctx: OrchestrationContext) -> str:
    return await ctx.schedule_activity("endless", returns=str)


async def _cancelled_while_it_runs(url: str, endless, begun: asyncio.Event, heard: asyncio.Event) -> None:
    async with Runtime(url, Registry(wait_for_it)) as thinker, Runtime(url, Registry(endless)):
        handle = await thinker.client.start_orchestration(wait_for_it)
        await asyncio.wait_for(begun.wait(), 60)
        await handle.cancel()
        with pytest.raises(OrchestrationCancelledError):
            await handle.result(timeout=60)
        await asyncio.wait_for(heard.wait(), 60)


async def test_an_async_one_is_cancelled(database):
    begun, heard = asyncio.Event(), asyncio.Event()

    @activity(name="endless")
    async def endless() -> str:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            heard.set()
            raise
        return "never"

    await _cancelled_while_it_runs(database, endless, begun, heard)


async def test_a_plain_one_sees_it_when_it_looks(database):
    loop = asyncio.get_running_loop()
    begun, heard = asyncio.Event(), asyncio.Event()

    @activity(name="endless")
    def endless(ctx: ActivityContext) -> str:
        loop.call_soon_threadsafe(begun.set)
        pause = threading.Event()
        while not ctx.cancelled:
            pause.wait(0.001)
        loop.call_soon_threadsafe(heard.set)
        return "never"

    await _cancelled_while_it_runs(database, endless, begun, heard)
