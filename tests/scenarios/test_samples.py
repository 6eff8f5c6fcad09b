"""The small programs that everybody writes first: what they record, and that one slot of each kind will do for them."""

import asyncio
import threading

import pytest

from perdure import (
    ActivityContext,
    ActivityError,
    Backoff,
    ExternalEvent,
    OrchestrationCancelledError,
    OrchestrationContext,
    Registry,
    RetryPolicy,
    Runtime,
    activity,
    orchestration,
)
from perdure.testing import Environment

NAMES = ExternalEvent[str]("names")


@activity(name="is-member")
async def is_member(name: str) -> bool:
    return name == "Ada"


@activity(name="greet")
async def greet(name: str) -> str:
    return f"welcome back, {name}"


@activity(name="invite")
async def invite(name: str) -> str:
    return f"join us, {name}"


@orchestration(name="visit")
async def visit(ctx: OrchestrationContext, name: str) -> str:
    if await ctx.schedule_activity(is_member, name):
        return await ctx.schedule_activity(greet, name)
    return await ctx.schedule_activity(invite, name)


@pytest.mark.parametrize(("name", "chosen"), [("Ada", "greet"), ("Bob", "invite")])
async def test_a02_only_the_branch_that_was_chosen_is_in_history(name, chosen):
    async with Environment(Registry(visit, is_member, greet, invite)) as env:
        handle = await env.client.start_orchestration(visit, name)
        await handle.result()

        events = [event async for event in env.client.history(handle.instance_id)]
    asked = [event.data["name"] for event in events if event.kind == "ActivityScheduled"]
    assert asked == ["is-member", chosen]


class Flaky:
    """Fails at its first so many attempts."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.attempts = 0

    @activity
    async def run(self, _ctx: ActivityContext) -> int:
        self.attempts += 1
        if self.attempts <= self.failures:
            raise ValueError(f"not yet, {self.attempts}")
        return self.attempts


async def in_a_helper(ctx: OrchestrationContext) -> int:
    async def deeper() -> int:
        return await ctx.schedule_activity(Flaky.run)

    return await deeper()


@orchestration(name="helped")
async def helped(ctx: OrchestrationContext) -> tuple[str, int]:
    try:
        await in_a_helper(ctx)
    except ActivityError as error:
        ctx.trace_warn("trying again")
        return str(error.__cause__ or error), await in_a_helper(ctx)
    return "no error", 0


async def test_a05_a_helper_hands_on_the_error_as_it_is_and_the_code_goes_on():
    async with Environment(Registry(helped, Flaky(1))) as env:
        told, attempts = await env.run(helped)
    assert "not yet, 1" in told
    assert attempts == 2


@orchestration(name="patient")
async def patient(ctx: OrchestrationContext) -> int:
    return await ctx.schedule_activity(Flaky.run, retry=RetryPolicy(100, backoff=Backoff.none()))


async def test_h05_more_than_fifty_attempts_are_as_good_as_one():
    flaky = Flaky(60)
    async with Environment(Registry(patient, flaky)) as env:
        assert await env.run(patient) == 61


@orchestration(name="innermost")
async def innermost(ctx: OrchestrationContext) -> str:
    return await ctx.schedule_wait(NAMES)


@orchestration(name="generations")
async def generations(ctx: OrchestrationContext, left: int) -> str:
    name = await ctx.schedule_sub_orchestration(innermost, instance_id=f"innermost-{left}")
    return ctx.continue_as_new(left - 1) if left else name


@orchestration(name="outermost")
async def outermost(ctx: OrchestrationContext) -> str:
    return await ctx.schedule_sub_orchestration(generations, 2)


async def test_f16_a_chain_of_three_with_generations_in_the_middle():
    async with Environment(Registry(outermost, generations, innermost)) as env:
        handle = await env.client.start_orchestration(outermost)
        for left, name in ((2, "Ada"), (1, "Bob"), (0, "Cyd")):
            await env.advance(1)
            await env.client.raise_event(f"innermost-{left}", NAMES, name)
        assert await handle.result() == "Cyd"


@orchestration(name="impatient")
async def impatient(ctx: OrchestrationContext) -> str:
    child = ctx.schedule_sub_orchestration(innermost, instance_id="unwanted")
    match await ctx.select2(ctx.schedule_wait(NAMES), child):
        case 0, name:
            return name
    return "the child was first"


async def test_e09_a_child_that_both_its_parent_and_a_user_cancel_is_cancelled_once():
    async with Environment(Registry(impatient, innermost)) as env:
        handle = await env.client.start_orchestration(impatient)
        await env.advance(1)

        child = env.client.get_handle("unwanted", innermost)
        asked = [child.cancel("by a user"), handle.raise_event(NAMES, "Ada"), child.cancel("again")]
        # The last may come too late, and is told so.
        await asyncio.gather(*asked, return_exceptions=True)

        with pytest.raises(OrchestrationCancelledError):
            await child.result()
        kinds = [event.kind async for event in env.client.history(child.instance_id)]
    assert kinds.count("CancelRequested") == 1


@orchestration(name="tour")
async def tour(ctx: OrchestrationContext, rounds: int) -> list[str]:
    """One of everything, in two executions."""
    greetings = await asyncio.gather(*(ctx.schedule_sub_orchestration(visit, name) for name in ("Ada", "Bob")))
    await asyncio.sleep(0.01)
    async with asyncio.timeout(60):
        greetings.append(await ctx.schedule_activity(greet, await ctx.schedule_wait(NAMES)))
    return greetings if rounds == 1 else ctx.continue_as_new(rounds - 1)


async def test_e15_a_cancel_together_with_the_start_disturbs_no_other_instance(url):
    async with Runtime(url, Registry(tour, visit, is_member, greet, invite)) as runtime:
        client = runtime.client
        cancelled = [await client.start_orchestration(tour, 1) for _ in range(5)]
        await asyncio.gather(*(handle.cancel() for handle in cancelled))
        others = [await client.start_orchestration(visit, "Ada") for _ in range(5)]

        assert [await handle.result() for handle in others] == ["welcome back, Ada"] * 5
        for handle in cancelled:
            with pytest.raises(OrchestrationCancelledError):
                await handle.result()


class Runaway:
    """A plain function that heeds nobody until it is let go."""

    def __init__(self) -> None:
        self.began, self.let_go = threading.Event(), threading.Event()

    @activity
    def run(self, ctx: ActivityContext, manners: str) -> str:
        self.began.set()
        while not self.let_go.wait(0.01):
            if manners == "cooperates" and ctx.cancelled:
                break
        return "nobody hears this"


@orchestration(name="hurried")
async def hurried(ctx: OrchestrationContext, manners: str) -> str:
    match await ctx.select2(ctx.schedule_activity(Runaway.run, manners), ctx.schedule_wait(NAMES)):
        case 1, name:
            return name
    return "the activity was first"


@pytest.mark.parametrize("manners", ["cooperates", "runs away"])
async def test_e10_with_one_slot_of_each_kind_an_activity_that_lost_holds_up_no_orchestration(url, manners):
    runaway = Runaway()
    registry = Registry(hurried, runaway, visit, is_member, greet)
    async with Runtime(url, registry, max_activities=1, activity_threads=1, max_cached_instances=1) as runtime:
        handle = await runtime.client.start_orchestration(hurried, manners)
        await asyncio.to_thread(runaway.began.wait)
        await handle.raise_event(NAMES, "Ada")
        assert await handle.result() == "Ada"

        runaway.let_go.set()
        another = await runtime.client.start_orchestration(visit, "Ada")
        assert await another.result() == "welcome back, Ada"


async def test_s06_with_one_slot_of_each_kind_everything_runs(url):
    registry = Registry(tour, visit, is_member, greet, invite)
    async with Runtime(url, registry, max_activities=1, activity_threads=1, max_cached_instances=1) as runtime:
        handles = [await runtime.client.start_orchestration(tour, 2) for _ in range(4)]
        for handle in handles:
            for name in ("Cyd", "Dan"):
                await handle.raise_event(NAMES, name)
        assert [await handle.result() for handle in handles] == [
            ["welcome back, Ada", "join us, Bob", "welcome back, Dan"]
        ] * 4
