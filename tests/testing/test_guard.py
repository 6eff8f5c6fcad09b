"""Tests catch clocks, chance and blocking calls in orchestration code on every version of Python."""

import pytest

from perdure import HeldError, OrchestrationContext, Registry, activity, orchestration
from perdure.testing import Environment
from tests.core.asyncio import guarded

# Only a worker on Python 3.12 and newer can see that such a call has no argument.
UNSEEN = {"time.localtime"}


@activity
async def act() -> str:
    return "done"


@pytest.mark.parametrize(("name", "call"), [(name, call) for name, call in guarded.CALLS.items() if name not in UNSEEN])
async def test_a_forbidden_call_fails_the_test_with_its_line_and_its_cure(name, call):
    @orchestration
    async def careless(ctx: OrchestrationContext) -> str:
        call()
        return await ctx.schedule_activity(act)

    async with Environment(Registry(act, careless)) as env:
        with pytest.raises(HeldError) as held:
            await env.run(careless)

    assert f"{name}() was called in an orchestration" in str(held.value)
    assert f"guarded.py:{call.__code__.co_firstlineno}). " in str(held.value)


async def test_later_turns_are_watched_as_the_first_is():
    @orchestration
    async def careless(ctx: OrchestrationContext) -> str:
        await ctx.schedule_activity(act)
        await ctx.schedule_activity(act)
        return str(guarded.two_levels_deep())

    async with Environment(Registry(act, careless)) as env:
        with pytest.raises(HeldError, match=r"time.time\(\) was called in an orchestration, in one_level_deep"):
            await env.run(careless)


@pytest.mark.parametrize("call", guarded.HARMLESS.values(), ids=guarded.HARMLESS)
async def test_there_is_no_false_alarm(call):
    @orchestration
    async def careful(ctx: OrchestrationContext) -> str:
        call()
        ctx.new_guid()
        ctx.random.shuffle([1, 2, 3])
        ctx.logger.warning("in a turn, at %s", ctx.utc_now())
        return await ctx.schedule_activity(act)

    async with Environment(Registry(act, careful)) as env:
        assert await env.run(careful) == "done"


async def test_activities_and_fakes_may_call_what_they_like():
    @activity
    async def real() -> str:
        return type(guarded.CALLS["datetime.now"]()).__name__

    @orchestration
    async def both(ctx: OrchestrationContext) -> list[str]:
        return [await ctx.schedule_activity(real), await ctx.schedule_activity(act)]

    async with Environment(Registry(act, real, both)) as env:
        env.fake(act, lambda: type(guarded.CALLS["uuid.uuid4"]()).__name__)
        assert await env.run(both) == ["datetime", "UUID"]
