"""A plain activity begins when there is a thread for it; until then it waits, and keeps no slot from others."""

import threading

import pytest

from perdure import (
    ActivityTimeoutError,
    OrchestrationContext,
    Registry,
    RetryPolicy,
    Runtime,
    activity,
    orchestration,
)

GIVE_UP_S = 5
"""How long a thread is held at most, so that what is wrong fails and does not hang."""


@pytest.fixture
def gate():
    """Opened at the end by all means: the thread that waits for it is the worker's only one."""
    gate = threading.Event()
    yield gate
    gate.set()


def _registry(gate, *more):
    @activity(name="hold")
    def hold() -> str:
        return "was let go" if gate.wait(GIVE_UP_S) else "gave up"

    @activity(name="let-go")
    async def let_go() -> None:
        gate.set()

    @activity(name="plain", aliases=("plain-as-it-was",))
    def plain() -> str:
        return "done"

    return Registry(hold, let_go, plain, *more)


async def test_an_async_one_has_the_slot_of_those_that_wait_for_a_thread(url, gate):
    # given
    @orchestration(name="mixed")
    async def mixed(ctx: OrchestrationContext) -> list[str]:
        held = ctx.schedule_activity("hold", returns=str)
        waiting = [ctx.schedule_activity(name, returns=str) for name in ("plain", "plain-as-it-was", "plain")]
        await ctx.schedule_activity("let-go", returns=None)
        return [await held, *[await each for each in waiting]]

    async with Runtime(url, _registry(gate, mixed), max_activities=2, activity_threads=1) as runtime:
        # when
        handle = await runtime.client.start_orchestration(mixed)

        # then
        assert await handle.result() == ["was let go", "done", "done", "done"]


async def test_what_waits_too_long_for_a_thread_has_not_begun(url, gate):
    # given
    @orchestration(name="impatient")
    async def impatient(ctx: OrchestrationContext) -> str:
        held = ctx.schedule_activity("hold", returns=str)
        try:
            return await ctx.schedule_activity("plain", returns=str, schedule_to_start=0.1)
        except ActivityTimeoutError as late:
            return late.error.message
        finally:
            held.cancel()

    async with Runtime(url, _registry(gate, impatient), activity_threads=1) as runtime:
        # when
        handle = await runtime.client.start_orchestration(impatient)

        # then
        assert await handle.result() == "it did not start within schedule_to_start: no worker with it was free in time"
        gate.set()


async def test_a_thread_that_works_on_for_nobody_is_no_thread_for_the_next_one_until_it_has_ended(url, gate):
    # given
    @orchestration(name="after-a-timeout")
    async def after_a_timeout(ctx: OrchestrationContext) -> list[str]:
        with pytest.raises(ActivityTimeoutError):
            await ctx.schedule_activity("hold", returns=str, retry=RetryPolicy(1, attempt_timeout=0.1))
        with pytest.raises(ActivityTimeoutError):
            await ctx.schedule_activity("plain", returns=str, schedule_to_start=0.1)
        waiting = ctx.schedule_activity("plain", returns=str)
        await ctx.schedule_activity("let-go", returns=None)
        return [await waiting]

    async with Runtime(url, _registry(gate, after_a_timeout), activity_threads=1) as runtime:
        # when
        handle = await runtime.client.start_orchestration(after_a_timeout)

        # then
        assert await handle.result(timeout=60) == ["done"]
