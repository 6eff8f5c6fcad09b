"""`schedule_to_start`: an activity that no worker begins in time fails, and its orchestration may go another way."""

import asyncio

from perdure import ActivityTimeoutError, OrchestrationContext, Registry, Runtime, Status, activity, orchestration
from perdure.testing import Environment


@activity(name="occupy")
async def occupy() -> None:
    await asyncio.Event().wait()


@activity(name="quick")
async def quick() -> str:
    return "done"


@orchestration(name="impatient")
async def impatient(ctx: OrchestrationContext, patience_s: float) -> str:
    occupied = ctx.schedule_activity(occupy)
    try:
        return await ctx.schedule_activity(quick, schedule_to_start=patience_s)
    except ActivityTimeoutError as late:
        return late.error.message
    finally:
        occupied.cancel()


async def test_what_waits_too_long_for_a_slot_times_out_and_the_orchestration_goes_on(url):
    async with Runtime(url, Registry(occupy, quick, impatient), max_activities=1) as runtime:
        handle = await runtime.client.start_orchestration(impatient, 0.1)
        assert await handle.result() == "it did not start within schedule_to_start: no worker with it was free in time"


async def test_what_begins_in_time_is_not_concerned(url):
    async with Runtime(url, Registry(occupy, quick, impatient), max_activities=2) as runtime:
        handle = await runtime.client.start_orchestration(impatient, 3_600)
        assert await handle.result() == "done"


async def test_what_no_worker_has_times_out_as_well(url):
    @orchestration(name="by-name")
    async def by_name(ctx: OrchestrationContext) -> str:
        try:
            return await ctx.schedule_activity("nobody", returns=str, schedule_to_start=0.1)
        except ActivityTimeoutError:
            return "another way"

    async with Runtime(url, Registry(by_name)) as runtime:
        handle = await runtime.client.start_orchestration(by_name)
        assert await handle.result() == "another way"


async def test_what_no_worker_has_ends_by_its_own_time_and_not_by_a_hold_that_comes_before():
    @orchestration(name="by-name")
    async def by_name(ctx: OrchestrationContext) -> str:
        try:
            return await ctx.schedule_activity("nobody", returns=str, schedule_to_start=3_600)
        except ActivityTimeoutError as late:
            return late.error.message

    async with Environment(Registry(by_name)) as env:
        handle = await env.client.start_orchestration(by_name)
        await env.advance(3_599)
        assert (await handle.status()).status is Status.RUNNING
        await env.advance(1)
        assert await handle.result() == "it did not start within schedule_to_start: no worker with it was free in time"
