"""Cancellation is asyncio's: raised in the orchestration, which may compensate; it cascades to what it waits for."""

import asyncio
import threading
from datetime import timedelta

import pytest

from perdure import (
    ActivityContext,
    ExternalEvent,
    OrchestrationCancelledError,
    OrchestrationContext,
    OrchestrationError,
    PayloadError,
    Registry,
    Runtime,
    Status,
    activity,
    orchestration,
)
from perdure.testing import Environment

GO = ExternalEvent[str]("go")


class Ledger:
    """Remembers what was done and undone."""

    def __init__(self) -> None:
        self.entries: list[str] = []

    @activity
    async def write(self, _ctx: ActivityContext, entry: str) -> None:
        self.entries.append(entry)


@orchestration(name="saga")
async def saga(ctx: OrchestrationContext) -> str:
    await ctx.schedule_activity(Ledger.write, "reserve")
    try:
        await ctx.schedule_activity(Ledger.write, "charge")
        return await ctx.schedule_wait(GO)
    except asyncio.CancelledError:
        await ctx.schedule_activity(Ledger.write, "refund")
        await ctx.schedule_timer(5)
        raise
    finally:
        await ctx.schedule_activity(Ledger.write, "release")


@orchestration(name="parent")
async def parent(ctx: OrchestrationContext) -> str:
    try:
        return await ctx.schedule_sub_orchestration(saga, instance_id="child")
    finally:
        await ctx.schedule_activity(Ledger.write, "parent tidied up")


async def test_compensation_runs_and_the_instance_ends_cancelled(url):
    ledger = Ledger()

    @orchestration
    async def quick(ctx: OrchestrationContext) -> str:
        try:
            await ctx.schedule_activity(Ledger.write, "charge")
            ctx.set_custom_status("charged")
            return await ctx.schedule_wait(GO)
        finally:
            await ctx.schedule_activity(Ledger.write, "refund")

    async with Runtime(url, Registry(ledger, quick)) as runtime:
        handle = await runtime.client.start_orchestration(quick)
        async for status in handle.watch():
            if status.custom_status == "charged":
                break
        await handle.cancel("changed my mind")
        with pytest.raises(OrchestrationCancelledError, match="changed my mind"):
            await handle.result()
        status = await handle.status()
    assert status.status is Status.CANCELLED
    assert status.error is not None
    assert status.error.message == "changed my mind"
    assert ledger.entries == ["charge", "refund"]


async def test_it_may_take_its_time():
    ledger = Ledger()
    async with Environment(Registry(ledger, saga)) as env:
        handle = await env.client.start_orchestration(saga)
        await env.advance(1)
        await handle.cancel()
        with pytest.raises(OrchestrationCancelledError):
            await handle.result()
    assert ledger.entries == ["reserve", "charge", "refund", "release"]


async def test_a_second_cancel_does_not_disturb_the_compensation():
    ledger = Ledger()
    async with Environment(Registry(ledger, saga)) as env:
        handle = await env.client.start_orchestration(saga)
        await env.advance(1)
        await handle.cancel("first")
        await env.advance(1)
        assert not (await handle.status()).is_closed
        await handle.cancel("second")
        with pytest.raises(OrchestrationCancelledError, match="first"):
            await handle.result()
    assert ledger.entries == ["reserve", "charge", "refund", "release"]


async def test_it_cascades_to_children_and_each_compensates():
    ledger = Ledger()
    async with Environment(Registry(ledger, saga, parent)) as env:
        handle = await env.client.start_orchestration(parent)
        await env.advance(1)
        await handle.cancel()
        with pytest.raises(OrchestrationCancelledError):
            await handle.result()
        with pytest.raises(OrchestrationCancelledError):
            await env.client.get_handle("child").result()
    assert sorted(ledger.entries) == ["charge", "parent tidied up", "refund", "release", "reserve"]


async def test_many_children_are_all_cancelled():
    @orchestration(name="wait")
    async def wait(ctx: OrchestrationContext) -> str:
        return await ctx.schedule_wait(GO)

    @orchestration
    async def fan_out(ctx: OrchestrationContext) -> list[str]:
        children = [ctx.schedule_sub_orchestration(wait, instance_id=f"child-{n}") for n in range(30)]
        return await asyncio.gather(*children)

    async with Environment(Registry(wait, fan_out)) as env:
        handle = await env.client.start_orchestration(fan_out)
        await env.advance(1)
        await handle.cancel()
        with pytest.raises(OrchestrationCancelledError):
            await handle.result()
        await env.advance(1)
        assert len((await env.client.list_instances(name="wait", status=Status.CANCELLED)).items) == 30


async def test_an_orchestration_that_swallows_it_completes():
    @orchestration
    async def stubborn(ctx: OrchestrationContext) -> str:
        try:
            await ctx.schedule_wait(GO)
        except asyncio.CancelledError:
            return "not me"
        return ""

    async with Environment(Registry(stubborn)) as env:
        handle = await env.client.start_orchestration(stubborn)
        await env.advance(1)
        await handle.cancel()
        assert await handle.result() == "not me"


async def test_a_stray_cancelled_error_is_a_failure():
    @orchestration
    async def stray(ctx: OrchestrationContext) -> None:
        raise asyncio.CancelledError

    async with Environment(Registry(stray)) as env:
        with pytest.raises(OrchestrationError) as caught:
            await env.run(stray)
    assert not isinstance(caught.value, OrchestrationCancelledError)


async def test_an_error_in_the_compensation_is_the_outcome():
    @orchestration
    async def unlucky(ctx: OrchestrationContext) -> None:
        try:
            await ctx.schedule_wait(GO)
        finally:
            raise LookupError("the refund desk is closed")

    async with Environment(Registry(unlucky)) as env:
        handle = await env.client.start_orchestration(unlucky)
        await env.advance(1)
        await handle.cancel()
        with pytest.raises(OrchestrationError, match="refund desk") as caught:
            await handle.result()
    assert caught.value.caused_by(LookupError)


async def test_an_instance_that_has_not_begun_hears_of_it_at_its_first_wait():
    ledger = Ledger()
    async with Environment(Registry(ledger, saga)) as env:
        handle = await env.client.start_orchestration(saga, start_at=env.now + timedelta(hours=1))
        await handle.cancel("not needed")
        with pytest.raises(OrchestrationCancelledError, match="not needed"):
            await handle.result()
    assert ledger.entries == []


async def test_a_running_async_activity_is_cancelled_and_its_outcome_dropped():
    seen: list[str] = []
    running = asyncio.Event()

    @activity
    async def slow() -> str:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("unwound")
        return "late"

    @orchestration
    async def patient(ctx: OrchestrationContext) -> str:
        return await ctx.schedule_activity(slow)

    async with Runtime("memory://", Registry(slow, patient)) as runtime:
        handle = await runtime.client.start_orchestration(patient)
        await running.wait()
        await handle.cancel()
        with pytest.raises(OrchestrationCancelledError):
            await handle.result()
    assert seen == ["unwound"]


async def test_a_running_plain_activity_sees_that_it_is_no_longer_wanted():
    running = asyncio.Event()
    loop = asyncio.get_running_loop()
    looked = threading.Event()
    stopped: list[bool] = []

    @activity
    def slow(ctx: ActivityContext) -> str:
        loop.call_soon_threadsafe(running.set)
        looked.wait(10)
        stopped.append(ctx.cancelled)
        ctx.raise_if_cancelled()
        return "late"

    @orchestration
    async def patient(ctx: OrchestrationContext) -> str:
        return await ctx.schedule_activity(slow)

    async with Runtime("memory://", Registry(slow, patient)) as runtime:
        handle = await runtime.client.start_orchestration(patient)
        await running.wait()
        await handle.cancel()
        with pytest.raises(OrchestrationCancelledError):
            await handle.result()
        looked.set()
    assert stopped == [True]


async def test_the_loser_of_a_race_is_cancelled_and_the_instance_goes_on():
    unwound = asyncio.Event()

    @activity
    async def slow() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            unwound.set()
        return "late"

    @orchestration
    async def race(ctx: OrchestrationContext) -> int:
        index, _ = await ctx.select2(ctx.schedule_wait(GO), ctx.schedule_activity(slow))
        return index

    async with Runtime("memory://", Registry(slow, race)) as runtime:
        handle = await runtime.client.start_orchestration(race)
        await handle.raise_event(GO, "")
        assert await handle.result() == 0


async def test_an_activity_of_a_finished_orchestration_is_cancelled():
    running, unwound = asyncio.Event(), asyncio.Event()

    @activity
    async def slow() -> str:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            unwound.set()
        return "late"

    @orchestration
    async def hasty(ctx: OrchestrationContext) -> str:
        ctx.schedule_activity(slow)
        await ctx.schedule_wait(GO)
        return "done"

    async with Runtime("memory://", Registry(slow, hasty)) as runtime:
        handle = await runtime.client.start_orchestration(hasty)
        await running.wait()
        await handle.raise_event(GO, "")
        assert await handle.result() == "done"
        await unwound.wait()


async def test_asyncios_own_tools_cancel_what_they_give_up():
    @orchestration
    async def impatient(ctx: OrchestrationContext) -> list[str]:
        told = []
        try:
            async with asyncio.timeout(30):
                await ctx.schedule_wait(GO)
        except TimeoutError:
            told.append("timeout")
        try:
            await asyncio.wait_for(ctx.schedule_wait(GO), 30)
        except TimeoutError:
            told.append("wait_for")
        told.append(await ctx.schedule_wait(GO))
        return told

    async with Environment(Registry(impatient)) as env:
        handle = await env.client.start_orchestration(impatient)
        await env.advance(61)
        await handle.raise_event(GO, "at last")
        assert await handle.result() == ["timeout", "wait_for", "at last"]


async def test_it_survives_a_restart_between_the_request_and_the_end(database):
    ledger = Ledger()

    @orchestration(name="slow-saga")
    async def slow_saga(ctx: OrchestrationContext) -> str:
        try:
            return await ctx.schedule_wait(GO)
        finally:
            ctx.set_custom_status("compensating")
            await asyncio.shield(ctx.schedule_wait("the bank has answered"))
            await ctx.schedule_activity(Ledger.write, "refund")

    async with Runtime(database, Registry(ledger, slow_saga)) as runtime:
        handle = await runtime.client.start_orchestration(slow_saga, instance_id="i")
        async for status in handle.watch():
            if status.status is Status.RUNNING:
                await handle.cancel("enough")
                break
        async for status in handle.watch():
            if status.custom_status == "compensating":
                break
    async with Runtime(database, Registry(ledger, slow_saga)) as runtime:
        handle = runtime.client.get_handle("i", slow_saga)
        await handle.raise_event("the bank has answered")
        with pytest.raises(OrchestrationCancelledError, match="enough"):
            await handle.result()
    assert ledger.entries == ["refund"]


@pytest.mark.parametrize("verb", ["cancel", "terminate", "suspend", "discard"])
@pytest.mark.parametrize("reason", [5, None, "not a \0 text"])
async def test_a_reason_that_is_no_text_is_refused_where_it_is_given(url, verb, reason):
    @orchestration(name="patient")
    async def patient(ctx: OrchestrationContext) -> None:
        await asyncio.sleep(3600)

    async with Runtime(url, Registry(patient)) as runtime:
        await runtime.client.start_orchestration(patient, instance_id="a")
        with pytest.raises(PayloadError, match="reason does not fit str"):
            await getattr(runtime.client, verb)("a", reason=reason)
        assert not (await runtime.client.get_status("a")).is_closed
