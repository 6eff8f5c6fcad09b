"""Timers of asyncio are durable: exact to the microsecond, never early, and without a trace where none is needed."""

import asyncio
import math
from random import Random

import pytest

from perdure import OrchestrationContext, orchestration
from perdure._core.loop import INSTANT_US_MAX, timer_us
from tests.core.harness import SECOND_US, START_US, Conversation, kinds

YEAR_S = 365 * 24 * 3600


@pytest.mark.parametrize("begin", [0, START_US, 2_490_000_000_000_000], ids=["1970", "2023", "2048"])
def test_a_timer_is_due_exactly_when_the_loops_clock_says_so(begin: int) -> None:
    chance = Random(begin)  # noqa: S311 - the same numbers each time
    for _ in range(5_000):
        now = begin + chance.randrange(SECOND_US)
        when = now / 1e6 + chance.choice((1e-7, 1e-6, 1e-3, 1.0, 0.1, 86_400.0)) * chance.random()

        us = timer_us(when)

        assert us / 1e6 >= when > (us - 1) / 1e6 - 1e-6


@pytest.mark.parametrize(
    ("when", "us"),
    [(math.inf, INSTANT_US_MAX), (1e300, INSTANT_US_MAX), (-1.0, 0), (-math.inf, 0), (0.0, 0), (1e-7, 1)],
)
def test_times_that_no_calendar_has_are_brought_into_it(when: float, us: int) -> None:
    assert timer_us(when) == us


def test_no_number_is_no_time() -> None:
    with pytest.raises(ValueError, match="NaN"):
        timer_us(math.nan)


@pytest.mark.parametrize("seconds", [1e-7, 0.001, 0.1, 1 / 3, 60, YEAR_S])
def test_the_loops_time_has_come_when_a_sleep_is_over(seconds: float) -> None:
    seen: list[bool] = []

    @orchestration
    async def sleeping(ctx: OrchestrationContext) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        await asyncio.sleep(seconds)
        seen.append(loop.time() >= until)

    talk = Conversation(sleeping)
    (timer,) = talk.start()

    assert timer.fire_at == timer_us(START_US / 1e6 + seconds)
    assert kinds(talk.fire(timer.id)) == ["done null"]
    assert set(seen) == {True}


def test_time_never_goes_back() -> None:
    @orchestration
    async def sleeping(ctx: OrchestrationContext) -> float:
        await asyncio.sleep(60)
        await ctx.schedule_activity("a")
        return asyncio.get_running_loop().time()

    talk = Conversation(sleeping)
    talk.start()
    talk.fire(2)
    talk.now = START_US - SECOND_US

    assert kinds(talk.complete(4)) == [f"done {START_US / 1e6 + 60}"]
    assert talk.history[4].at == START_US + 60 * SECOND_US


def test_a_worker_with_a_slow_clock_does_not_fire_early() -> None:
    @orchestration
    async def sleeping(ctx: OrchestrationContext) -> None:
        await asyncio.sleep(60)

    talk = Conversation(sleeping)
    (timer,) = talk.start()
    talk.now = START_US - SECOND_US
    talk.fire(timer.id)

    assert talk.history[2].at == timer.fire_at


async def nothing_to_wait_for() -> None:
    async with asyncio.timeout(60):
        pass


async def waits_for_no_time() -> None:
    await asyncio.wait_for(asyncio.sleep(0), 60)


async def sleeps_for_no_time() -> None:
    await asyncio.sleep(0)
    await asyncio.sleep(-5)


async def cancels_at_once() -> None:
    asyncio.get_running_loop().call_later(60, print).cancel()


async def reschedules() -> None:
    async with asyncio.timeout(60) as scope:
        scope.reschedule(asyncio.get_running_loop().time() + 120)
        scope.reschedule(None)


TRACELESS = [nothing_to_wait_for, waits_for_no_time, sleeps_for_no_time, cancels_at_once, reschedules]


@pytest.mark.parametrize("program", TRACELESS, ids=lambda program: program.__name__)
def test_a_timer_born_and_dead_in_one_turn_leaves_no_trace(program) -> None:
    @orchestration
    async def traceless(ctx: OrchestrationContext) -> None:
        await program()

    assert kinds(Conversation(traceless).start()) == ["done null"]


def test_cancelling_a_handle_that_has_fired_leaves_no_trace() -> None:
    @orchestration
    async def late(ctx: OrchestrationContext) -> None:
        fired = asyncio.Event()
        handle = asyncio.get_running_loop().call_later(1, fired.set)
        await fired.wait()
        handle.cancel()

    talk = Conversation(late)
    talk.start()

    assert kinds(talk.fire(2)) == ["done null"]


@pytest.mark.parametrize("seconds", [0, -1, 1e-8])
def test_a_timeout_of_nothing_needs_no_timer(seconds: float) -> None:
    @orchestration
    async def hurrying(ctx: OrchestrationContext) -> str:
        try:
            async with asyncio.timeout(seconds):
                return await ctx.schedule_activity("a")
        except TimeoutError:
            return "late"

    assert kinds(Conversation(hurrying).start()) == ['done "late"']


def test_a_timeout_cancels_and_its_timer_is_cancelled_when_it_was_not_needed() -> None:
    @orchestration
    async def hurrying(ctx: OrchestrationContext) -> str:
        async with asyncio.timeout(60):
            return await ctx.schedule_activity("a")

    late, early = Conversation(hurrying), Conversation(hurrying)
    late.start()
    early.start()

    assert kinds(late.fire(2)) == ["act! 3", "fail TimeoutError"]
    assert kinds(early.complete(3, "in time")) == ["tim! 2", 'done "in time"']


def test_timers_fire_in_the_order_of_their_messages() -> None:
    @orchestration
    async def calling(ctx: OrchestrationContext) -> list[str]:
        called: list[str] = []
        loop = asyncio.get_running_loop()
        for name, delay in (("b", 2), ("a", 1)):
            loop.call_later(delay, called.append, name)
        await asyncio.sleep(3)
        return called

    talk = Conversation(calling)
    talk.start()
    talk.fire(3)
    talk.fire(2)

    assert kinds(talk.fire(4)) == ['done ["a","b"]']
