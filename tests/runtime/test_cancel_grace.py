"""`cancel_grace`: an activity that is told of a cancellation may clean up; one that takes too long is given up."""

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

LONG_S = 3_600


@activity(name="quick")
async def quick() -> str:
    return "done"


def cancelled_then_quick(slow, on_cancel):
    """An orchestration whose activity is given up, and which then needs the only slot of its worker."""

    @orchestration(name="program")
    async def program(ctx: OrchestrationContext) -> str:
        asked = ctx.schedule_activity(slow, on_cancel=on_cancel)
        await ctx.schedule_wait("go")
        asked.cancel()
        if on_cancel == "wait":
            try:
                await asked
            except asyncio.CancelledError:
                return "cancelled, " + await ctx.schedule_activity(quick)
        return await ctx.schedule_activity(quick)

    return Registry(slow, quick, program), program


async def result_of(url, slow, begun: asyncio.Event, on_cancel: str) -> str:
    """What such an orchestration returns, cancelled once the activity runs."""
    registry, program = cancelled_then_quick(slow, on_cancel)
    async with Runtime(url, registry, max_activities=1, grace=0) as runtime:
        handle = await runtime.client.start_orchestration(program)
        await begun.wait()
        await runtime.client.raise_event(handle.instance_id, "go", None)
        return await handle.result(timeout=20)


ENDS = pytest.mark.parametrize(
    ("on_cancel", "result"), [("leave", "done"), ("wait", "cancelled, done")], ids=["leave", "wait"]
)


@ENDS
async def test_an_async_one_that_does_not_end_is_given_up(url, on_cancel, result):
    begun, never = asyncio.Event(), asyncio.Event()

    @activity(name="stubborn", cancel_grace=0.05)
    async def stubborn() -> None:
        begun.set()
        while not never.is_set():
            try:
                await never.wait()
            except asyncio.CancelledError:
                continue

    assert await result_of(url, stubborn, begun, on_cancel) == result
    never.set()


@ENDS
async def test_an_async_one_may_clean_up_first(url, on_cancel, result):
    begun, said = asyncio.Event(), []

    @activity(name="tidy", cancel_grace=LONG_S)
    async def tidy() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            said.append("cleaned up")

    assert await result_of(url, tidy, begun, on_cancel) == result
    assert said == ["cleaned up"]


@ENDS
async def test_a_plain_one_has_its_slot_until_it_has_cleaned_up(url, on_cancel, result):
    begun, said, loop = asyncio.Event(), [], asyncio.get_running_loop()

    @activity(name="tidy", cancel_grace=LONG_S)
    def tidy(ctx: ActivityContext) -> None:
        loop.call_soon_threadsafe(begun.set)
        ended = threading.Event()
        while not ctx.cancelled:
            ended.wait(0.01)
        said.append("cleaned up")
        ctx.raise_if_cancelled()

    @activity(name="quick")
    async def later() -> str:
        said.append("quick")
        return "done"

    registry, program = cancelled_then_quick(tidy, on_cancel)
    registry = Registry(tidy, later, program)
    async with Runtime(url, registry, max_activities=1) as runtime:
        handle = await runtime.client.start_orchestration(program)
        await begun.wait()
        await runtime.client.raise_event(handle.instance_id, "go", None)
        assert await handle.result(timeout=20) == result
    assert said == ["cleaned up", "quick"]


@ENDS
async def test_a_plain_one_that_never_asks_is_given_up(url, on_cancel, result):
    begun, release, loop = asyncio.Event(), threading.Event(), asyncio.get_running_loop()

    @activity(name="deaf", cancel_grace=0.05)
    def deaf() -> None:
        loop.call_soon_threadsafe(begun.set)
        release.wait(20)

    try:
        assert await result_of(url, deaf, begun, on_cancel) == result
    finally:
        release.set()


async def test_a_cancelled_instance_ends_when_the_grace_of_what_it_waits_for_is_over(url):
    begun, never = asyncio.Event(), asyncio.Event()

    @activity(name="stubborn", cancel_grace=0.05)
    async def stubborn() -> None:
        begun.set()
        while not never.is_set():
            try:
                await never.wait()
            except asyncio.CancelledError:
                continue

    @orchestration(name="program")
    async def program(ctx: OrchestrationContext) -> None:
        await ctx.schedule_activity(stubborn, on_cancel="wait")

    async with Runtime(url, Registry(stubborn, program), grace=0) as runtime:
        handle = await runtime.client.start_orchestration(program)
        await begun.wait()
        await handle.cancel("enough")
        with pytest.raises(OrchestrationCancelledError):
            await handle.result(timeout=20)
    never.set()


async def test_without_a_limit_it_is_waited_for(url):
    begun, ends, said = asyncio.Event(), asyncio.Event(), []

    @activity(name="slow", cancel_grace=None)
    async def slow() -> str:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            said.append("heard")
            await ends.wait()
        return "ended in its own time"

    @orchestration(name="program")
    async def program(ctx: OrchestrationContext) -> str:
        asked = ctx.schedule_activity(slow, on_cancel="wait")
        try:
            await asked
        finally:
            said.append(asked.result())

    async with Runtime(url, Registry(slow, program)) as runtime:
        handle = await runtime.client.start_orchestration(program)
        await begun.wait()
        await handle.cancel("enough")
        while not said:
            await asyncio.sleep(0)
        ends.set()
        with pytest.raises(OrchestrationCancelledError):
            await handle.result(timeout=20)
    assert said == ["heard", "ended in its own time"]
