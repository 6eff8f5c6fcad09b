"""Terminate ends an instance at once, without its code, whatever state it is in."""

import asyncio
from datetime import timedelta

import pytest

from perdure import (
    ExternalEvent,
    OrchestrationContext,
    OrchestrationTerminatedError,
    Registry,
    Runtime,
    Status,
    activity,
    orchestration,
)
from perdure.testing import Environment

GO = ExternalEvent[str]("go")


async def test_code_does_not_run_any_more():
    compensated: list[str] = []

    @activity
    async def compensate() -> None:
        compensated.append("yes")

    @orchestration
    async def careful(ctx: OrchestrationContext) -> str:
        try:
            return await ctx.schedule_wait(GO)
        finally:
            await ctx.schedule_activity(compensate)

    async with Environment(Registry(careful, compensate)) as env:
        handle = await env.client.start_orchestration(careful, instance_id="i")
        await env.advance(1)
        await handle.terminate("pulled the plug")
        with pytest.raises(OrchestrationTerminatedError, match="pulled the plug"):
            await handle.result()
        status = await handle.status()
        kinds = [event.kind async for event in env.client.history("i")]
    assert status.status is Status.TERMINATED
    assert kinds[-1] == "Terminated"
    assert compensated == []


async def test_it_ends_a_compensation_that_does_not_end():
    @orchestration
    async def stubborn(ctx: OrchestrationContext) -> str:
        try:
            return await ctx.schedule_wait(GO)
        finally:
            await ctx.schedule_wait("never")

    async with Environment(Registry(stubborn)) as env:
        handle = await env.client.start_orchestration(stubborn)
        await env.advance(1)
        await handle.cancel()
        await env.advance(1)
        await handle.terminate()
        with pytest.raises(OrchestrationTerminatedError):
            await handle.result()


async def test_a_held_instance_can_be_terminated(url):
    @orchestration
    async def stuck(ctx: OrchestrationContext) -> None:
        await asyncio.get_running_loop().create_future()

    async with Runtime(url, Registry(stuck)) as runtime:
        handle = await runtime.client.start_orchestration(stuck)
        async for status in handle.watch():
            if status.status is Status.HELD:
                break
        await handle.terminate("no use")
        with pytest.raises(OrchestrationTerminatedError, match="no use"):
            await handle.result()


async def test_an_instance_that_no_worker_knows_can_be_terminated(database):
    @orchestration(name="known")
    async def known(ctx: OrchestrationContext) -> None: ...

    async with Runtime(database, Registry(known)) as runtime:
        handle = await runtime.client.start_orchestration("unknown")
        await handle.terminate("nobody has it")
        with pytest.raises(OrchestrationTerminatedError, match="nobody has it"):
            await handle.result()


async def test_an_instance_that_has_not_begun_can_be_terminated():
    @orchestration
    async def later(ctx: OrchestrationContext) -> None:
        raise AssertionError

    async with Environment(Registry(later)) as env:
        handle = await env.client.start_orchestration(later, start_at=env.now + timedelta(days=1))
        await handle.terminate()
        with pytest.raises(OrchestrationTerminatedError):
            await handle.result()


async def test_after_a_continue_as_new_it_ends_the_present_execution():
    @orchestration
    async def loop(ctx: OrchestrationContext, execution: int) -> None:
        await ctx.schedule_wait(GO)
        ctx.continue_as_new(execution + 1)

    async with Environment(Registry(loop)) as env:
        handle = await env.client.start_orchestration(loop, 1)
        await handle.raise_event(GO, "")
        await env.advance(1)
        await handle.terminate()
        with pytest.raises(OrchestrationTerminatedError):
            await handle.result()
        assert (await handle.status()).execution_id == 2


async def test_its_running_activities_are_cancelled():
    running, unwound = asyncio.Event(), asyncio.Event()

    @activity
    async def slow() -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            unwound.set()

    @orchestration
    async def patient(ctx: OrchestrationContext) -> None:
        await ctx.schedule_activity(slow)

    async with Runtime("memory://", Registry(slow, patient)) as runtime:
        handle = await runtime.client.start_orchestration(patient)
        await running.wait()
        await handle.terminate()
        with pytest.raises(OrchestrationTerminatedError):
            await handle.result()
        await unwound.wait()
