"""Fakes live on test time: what they sleep and the limits that they are under cost nothing, and time waits for work."""

import asyncio
import threading
from datetime import timedelta

import pytest
import uvloop

from perdure import (
    ActivityError,
    ActivityTimeoutError,
    Backoff,
    OrchestrationContext,
    OrchestrationError,
    Registry,
    RetryPolicy,
    activity,
    orchestration,
)
from perdure.testing import Environment

DAY_S = 86_400


@activity(retry=RetryPolicy(3, attempt_timeout=60, backoff=Backoff.fixed(10)))
async def charge(order: str) -> str:
    raise AssertionError("every test fakes it")


@activity
async def ship(order: str) -> str:
    raise AssertionError("every test fakes it")


@orchestration
async def checkout(ctx: OrchestrationContext, order: str) -> str:
    try:
        return await ctx.schedule_activity(charge, order)
    except ActivityTimeoutError as late:
        return f"{late.error.attempts} attempts, {late.error.message}"


@orchestration
async def delivery(ctx: OrchestrationContext, order: str) -> str:
    match await ctx.select2(ctx.schedule_activity(ship, order), ctx.schedule_timer(3 * DAY_S)):
        case 0, answer:
            return f"{answer} after {ctx.utc_now():%H:%M}"
        case _:
            return "given up"


async def sleeps_for_ever(order: str) -> str:
    await asyncio.sleep(10**9)
    return "never"


async def waits_for_ever(order: str) -> str:
    await asyncio.Event().wait()
    return "never"


async def waits_for_what_sleeps(order: str) -> str:
    await asyncio.gather(asyncio.sleep(10**9), asyncio.sleep(10**8))
    return "never"


SILENT = [sleeps_for_ever, waits_for_ever, waits_for_what_sleeps]


@pytest.mark.parametrize("silent", SILENT)
async def test_a_fake_that_never_answers_ends_by_its_time_limit_in_test_time(silent):
    async with Environment(Registry(charge, checkout)) as env:
        begun = env.now
        env.fake(charge, silent)
        assert await env.run(checkout, "o-1") == "3 attempts, it did not end within 60 s"
        assert env.now - begun == timedelta(seconds=3 * 60 + 2 * 10)


@pytest.mark.parametrize("silent", SILENT)
async def test_without_a_limit_whatever_else_is_due_comes_first(silent):
    async with Environment(Registry(ship, delivery)) as env:
        env.fake(ship, silent)
        assert await env.run(delivery, "o-1") == "given up"


async def test_a_fake_sleeps_in_test_time():
    async def slow(order: str) -> str:
        for _ in range(2):
            await asyncio.sleep(3600)
        async with asyncio.timeout(7200):
            await asyncio.sleep(1800)
        return "shipped"

    async with Environment(Registry(ship, delivery)) as env:
        env.fake(ship, slow)
        assert await env.run(delivery, "o-1") == "shipped after 02:30"


async def test_its_own_timeouts_are_of_test_time_too():
    async def impatient(order: str) -> str:
        async with asyncio.timeout(90):
            await asyncio.sleep(120)
        return "never"

    @orchestration
    async def once(ctx: OrchestrationContext, order: str) -> None:
        await ctx.schedule_activity(ship, order)

    async with Environment(Registry(ship, once)) as env:
        begun = env.now
        env.fake(ship, impatient)
        with pytest.raises(OrchestrationError) as failure:
            await env.run(once, "o-1")
        assert failure.value.caused_by(TimeoutError)
        assert failure.value.caused_by(ActivityError)
        assert not failure.value.caused_by(ActivityTimeoutError)
        assert env.now - begun == timedelta(seconds=90)


async def test_advance_moves_sleeping_fakes_and_stops_at_each():
    woken = []

    async def slow(order: str) -> str:
        for _ in range(3):
            await asyncio.sleep(600)
            woken.append(env.now)
        return "shipped"

    async with Environment(Registry(ship, delivery)) as env:
        begun = env.now
        env.fake(ship, slow)
        handle = await env.client.start_orchestration(delivery, "o-1")
        await env.advance(timedelta(minutes=25))
        assert woken == [begun + timedelta(minutes=10), begun + timedelta(minutes=20)]
        await env.advance(timedelta(minutes=5))
        assert await handle.result() == "shipped after 00:30"


async def test_advance_passes_by_a_fake_that_waits_for_the_test():
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def asks(order: str) -> str:
        return await answer

    async with Environment(Registry(ship, delivery)) as env:
        env.fake(ship, asks)
        handle = await env.client.start_orchestration(delivery, "o-1")
        for _ in range(24):
            await env.advance(3600)
        answer.set_result("shipped")
        assert await handle.result() == "shipped after 00:00"


async def test_time_stands_still_while_a_fake_does_something_real():
    async def real(order: str) -> str:
        await asyncio.to_thread(threading.Event().wait, 0.05)
        return "shipped"

    async with Environment(Registry(ship, delivery)) as env:
        env.fake(ship, real)
        assert await env.run(delivery, "o-1") == "shipped after 00:00"


async def test_the_test_itself_stays_on_its_own_time():
    loop = asyncio.get_running_loop()
    async with Environment(Registry(ship, delivery)) as env:
        env.fake(ship, sleeps_for_ever)
        before = loop.time()
        await env.run(delivery, "o-1")
        async with asyncio.timeout(20):
            await asyncio.to_thread(str)
        assert loop.time() - before < DAY_S


async def test_environments_in_one_loop_have_each_its_own_time():
    async def slow(order: str) -> str:
        await asyncio.sleep(3600)
        return "shipped"

    async with Environment(Registry(ship, delivery)) as one, Environment(Registry(ship, delivery)) as other:
        one.fake(ship, slow)
        other.fake(ship, slow)
        begun = other.now
        assert await one.run(delivery, "o-1") == "shipped after 01:00"
        assert other.now == begun
        assert await other.run(delivery, "o-1") == "shipped after 01:00"


def test_uvloop_is_as_good_a_loop_as_any():
    async def slow(order: str) -> str:
        await asyncio.sleep(3600)
        async with asyncio.timeout(60):
            return "shipped"

    async def run() -> str:
        async with Environment(Registry(ship, delivery)) as env:
            env.fake(ship, slow)
            return await env.run(delivery, "o-1")

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(run()) == "shipped after 01:00"
