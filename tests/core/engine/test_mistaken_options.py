"""A mistaken option is refused at the call, in words, before it could become an event."""

import pytest

from perdure import OrchestrationContext, Registry, UsageError, activity, orchestration
from perdure.testing import Environment


@activity
async def echo(number: int) -> int:
    return number


@orchestration
async def parent(ctx: OrchestrationContext) -> int:
    return await ctx.schedule_activity(echo, 1)


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("priority", "high", "priority is 'high'"),
        ("priority", 2**64, "priority is 18446744073709551616"),
        ("priority", True, "priority is True"),
        ("retry", 3, "retry is 3: use a RetryPolicy"),
    ],
)
async def test_an_option_that_no_store_could_keep_is_refused_at_the_call(option, value, words):
    @orchestration
    async def mistaken(ctx: OrchestrationContext) -> str:
        try:
            ctx.schedule_activity(echo, 1, **{option: value})
        except UsageError as error:
            return str(error)
        return "accepted"

    async with Environment(Registry(echo, mistaken)) as env:
        assert words in await env.run(mistaken)


async def test_an_orchestration_is_no_activity_and_the_error_says_which_verb_to_use():
    @orchestration
    async def mistaken(ctx: OrchestrationContext) -> str:
        try:
            await ctx.schedule_activity(parent)  # type: ignore[call-overload]  # the mistake
        except UsageError as error:
            return str(error)
        return "accepted"

    async with Environment(Registry(echo, parent, mistaken)) as env:
        assert "ctx.schedule_sub_orchestration" in await env.run(mistaken)
