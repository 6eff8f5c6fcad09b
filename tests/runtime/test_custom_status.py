"""The custom status: what an orchestration shows of itself, and watching it from outside."""

import asyncio

import pytest

from perdure import (
    ExternalEvent,
    InstanceNotFoundError,
    OrchestrationContext,
    PayloadTooLargeError,
    Registry,
    ResultTimeoutError,
    Runtime,
    Status,
    UsageError,
    orchestration,
)
from perdure.testing import Environment

GO = ExternalEvent[object]("go")


@orchestration(name="progress")
async def progress(ctx: OrchestrationContext, steps: int) -> str:
    for step in range(1, steps + 1):
        ctx.set_custom_status({"step": step, "of": steps})
        await ctx.schedule_wait(GO)
    return "done"


async def test_it_is_seen_from_outside_and_counted(url):
    async with Runtime(url, Registry(progress)) as runtime:
        handle = await runtime.client.start_orchestration(progress, 3)
        seen = []
        async for status in handle.watch():
            if status.custom_status is not None and status.custom_status not in seen:
                seen.append(status.custom_status)
                assert status.custom_status_version == len(seen)
                await handle.raise_event(GO, None)
        assert status.status is Status.COMPLETED
        assert status.output == "done"
    assert seen == [{"step": 1, "of": 3}, {"step": 2, "of": 3}, {"step": 3, "of": 3}]


async def test_the_last_of_a_turn_wins():
    @orchestration
    async def hasty(ctx: OrchestrationContext) -> None:
        for number in range(5):
            ctx.set_custom_status(number)

    async with Environment(Registry(hasty)) as env:
        handle = await env.client.start_orchestration(hasty)
        await handle.result()
        assert (await handle.status()).custom_status == 4


async def test_it_may_be_cleared():
    @orchestration
    async def tidy(ctx: OrchestrationContext) -> None:
        ctx.set_custom_status("busy")
        await ctx.schedule_timer(1)
        ctx.set_custom_status(None)

    async with Environment(Registry(tidy)) as env:
        handle = await env.client.start_orchestration(tidy)
        await handle.result()
        assert (await handle.status()).custom_status is None


async def test_watching_what_has_ended_tells_the_end_once():
    @orchestration
    async def quick(ctx: OrchestrationContext) -> int:
        return 1

    async with Environment(Registry(quick)) as env:
        handle = await env.client.start_orchestration(quick)
        await handle.result()
        assert [status.status async for status in handle.watch()] == [Status.COMPLETED]


async def test_watching_an_unknown_instance_is_an_error(url):
    async with Runtime(url, Registry(progress)) as runtime:
        with pytest.raises(InstanceNotFoundError, match="nobody"):
            await anext(runtime.client.get_handle("nobody").watch())


async def test_several_watch_one_instance(url):
    async def follow(handle) -> list[object]:
        return [status.custom_status async for status in handle.watch()]

    async with Runtime(url, Registry(progress)) as runtime:
        handle = await runtime.client.start_orchestration(progress, 1)
        followers = [asyncio.create_task(follow(handle)) for _ in range(5)]
        await handle.raise_event(GO, None)
        assert all(seen[-1] == {"step": 1, "of": 1} for seen in await asyncio.gather(*followers))


async def test_one_that_is_too_large_is_refused_at_the_line_that_sets_it():
    @orchestration
    async def huge(ctx: OrchestrationContext) -> str:
        try:
            ctx.set_custom_status("x" * 3_000_000)
        except PayloadTooLargeError as error:
            return str(error)
        return ""

    async with Environment(Registry(huge)) as env:
        assert "custom status" in await env.run(huge)


async def test_each_change_is_waited_for_by_its_version(url):
    async with Runtime(url, Registry(progress)) as runtime:
        handle = await runtime.client.start_orchestration(progress, 2)
        status = await handle.wait_for_status_change()
        assert (status.custom_status_version, status.custom_status) == (1, {"step": 1, "of": 2})
        next_one = asyncio.create_task(handle.wait_for_status_change(1))
        await handle.raise_event(GO, None)
        assert (await next_one).custom_status == {"step": 2, "of": 2}
        assert (await handle.wait_for_status_change(1)).custom_status_version == 2
        last = asyncio.create_task(handle.wait_for_status_change(2))
        await handle.raise_event(GO, None)
        assert (await last).is_closed


async def test_waiting_for_a_change_has_a_limit_and_needs_an_instance(url):
    async with Runtime(url, Registry(progress)) as runtime:
        handle = await runtime.client.start_orchestration(progress, 1)
        with pytest.raises(ResultTimeoutError, match="did not set its custom status within 0.01 s"):
            await handle.wait_for_status_change(1, timeout=0.01)
        with pytest.raises(UsageError, match="timeout"):
            await handle.wait_for_status_change(1, timeout=-1)
        with pytest.raises(UsageError, match="after is nan: use the custom_status_version"):
            await handle.wait_for_status_change(float("nan"))
        with pytest.raises(InstanceNotFoundError):
            await runtime.client.get_handle("nobody").wait_for_status_change()


async def test_every_setting_counts_and_the_program_reads_it_in_every_execution():
    @orchestration
    async def loud(ctx: OrchestrationContext, generation: int) -> list[object]:
        before = ctx.custom_status
        for number in range(3):
            ctx.set_custom_status([generation, number])
        await ctx.schedule_timer(1)
        if generation == 1:
            ctx.continue_as_new(2)
        return [before, ctx.custom_status]

    async with Environment(Registry(loud)) as env:
        handle = await env.client.start_orchestration(loud, 1)
        assert await handle.result() == [[1, 2], [2, 2]]
        assert (await handle.status()).custom_status_version == 6
