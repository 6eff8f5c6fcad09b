"""`on_cancel="wait"`: the cleanup begins when the activity has ended, and sees what came of it; wherever it runs."""

import asyncio
import threading

import pytest

from perdure import (
    ActivityContext,
    OrchestrationCancelledError,
    OrchestrationContext,
    Registry,
    RetryPolicy,
    Runtime,
    activity,
    orchestration,
)
from perdure.testing import Environment


class Till:
    """An activity that hears of its end and, if it is told so, has charged all the same."""

    def __init__(self, *, charges: bool) -> None:
        self.begun = asyncio.Event()
        self.charges = charges
        self.log: list[str] = []

    @activity(name="charge")
    async def charge(self, _ctx: ActivityContext) -> str:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.to_thread(self.log.append, "hung up")
            if not self.charges:
                raise
        return "receipt"

    @activity(name="refund")
    async def refund(self, _ctx: ActivityContext, receipt: str) -> None:
        self.log.append(f"refunded {receipt}")


@orchestration(name="pay")
async def pay(ctx: OrchestrationContext) -> str:
    charging = ctx.schedule_activity("charge", returns=str, on_cancel="wait")
    try:
        return await charging
    finally:
        await ctx.schedule_activity("refund", "nothing" if charging.cancelled() else charging.result())


async def _cancelled(runtime: Runtime, till: Till) -> list[str]:
    handle = await runtime.client.start_orchestration(pay)
    await asyncio.wait_for(till.begun.wait(), 60)
    await handle.cancel()
    with pytest.raises(OrchestrationCancelledError):
        await handle.result(timeout=60)
    return till.log


@pytest.mark.parametrize(("charges", "receipt"), [(True, "receipt"), (False, "nothing")])
async def test_the_cleanup_sees_what_came_of_it(url, charges, receipt):
    till = Till(charges=charges)
    async with Runtime(url, Registry(pay, till)) as runtime:
        assert await _cancelled(runtime, till) == ["hung up", f"refunded {receipt}"]


async def test_on_another_worker_too(database):
    till = Till(charges=True)
    async with Runtime(database, Registry(pay)) as thinker, Runtime(database, Registry(till)):
        assert await _cancelled(thinker, till) == ["hung up", "refunded receipt"]


async def test_one_that_is_retried_ends_between_its_attempts():
    failed = asyncio.Event()

    @activity
    async def unlucky() -> str:
        failed.set()
        raise ConnectionError

    @orchestration
    async def patient(ctx: OrchestrationContext) -> str:
        trying = ctx.schedule_activity(unlucky, retry=RetryPolicy(100), on_cancel="wait")
        await asyncio.wait([trying], timeout=0.01)
        trying.cancel()
        await asyncio.wait([trying])
        return "ended" if trying.cancelled() else "failed"

    async with Environment(Registry(unlucky, patient)) as env:
        assert await env.run(patient) == "ended"
    assert failed.is_set()


async def test_one_that_waits_for_a_slot_never_begins(url):
    till = Till(charges=False)

    @orchestration
    async def two(ctx: OrchestrationContext) -> list[bool]:
        both = [ctx.schedule_activity(Till.charge, on_cancel="wait") for _ in range(2)]
        await ctx.schedule_wait("stop")
        for each in both:
            each.cancel()
        await asyncio.wait(both)
        return [each.cancelled() for each in both]

    async with Runtime(url, Registry(two, till), max_activities=1) as runtime:
        handle = await runtime.client.start_orchestration(two)
        await asyncio.wait_for(till.begun.wait(), 60)
        await handle.raise_event("stop")
        assert await handle.result(timeout=60) == [True, True]
    assert till.log == ["hung up"]


async def test_a_plain_one_ends_when_it_has_looked(url):
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    @activity(name="charge")
    def charge(ctx: ActivityContext) -> str:
        loop.call_soon_threadsafe(begun.set)
        while not ctx.cancelled:
            threading.Event().wait(0.001)
        return "receipt"

    refunded: list[str] = []

    @activity(name="refund")
    async def refund(receipt: str) -> None:
        refunded.append(receipt)

    async with Runtime(url, Registry(pay, charge, refund)) as runtime:
        handle = await runtime.client.start_orchestration(pay)
        await asyncio.wait_for(begun.wait(), 60)
        await handle.cancel()
        with pytest.raises(OrchestrationCancelledError):
            await handle.result(timeout=60)
    assert refunded == ["receipt"]
