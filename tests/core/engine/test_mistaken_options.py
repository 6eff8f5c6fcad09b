"""A mistaken option is refused at the call, in words, before it could become an event."""

from datetime import datetime

import msgspec
import pytest

from perdure import (
    ExternalEvent,
    OrchestrationContext,
    OrchestrationError,
    Registry,
    UsageError,
    activity,
    orchestration,
)
from perdure.testing import Environment
from tests.core.harness import Conversation


@activity
async def echo(number: int) -> int:
    return number


@orchestration
async def parent(ctx: OrchestrationContext) -> int:
    return await ctx.schedule_activity(echo, 1)


def what_is_said_of(call):
    @orchestration
    async def mistaken(ctx: OrchestrationContext) -> str:
        try:
            call(ctx)
        except UsageError as error:
            return str(error)
        return "accepted"

    # Its end is the only event: what was refused has left none.
    (ended,) = Conversation(mistaken).start()
    return msgspec.json.decode(ended.output)


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("priority", "high", "priority is 'high'"),
        ("priority", 2**64, "priority is 18446744073709551616"),
        ("priority", True, "priority is True"),
        ("retry", 3, "retry is 3: use a RetryPolicy"),
        ("schedule_to_start", -1, "schedule_to_start must be"),
        ("session", "", "session must not be empty"),
        ("tag", 7, "tag must be a string"),
    ],
)
def test_an_option_that_no_store_could_keep_is_refused_at_the_call(option, value, words):
    assert words in what_is_said_of(lambda ctx: ctx.schedule_activity(echo, 1, **{option: value}))


def test_an_orchestration_is_no_activity_and_the_error_says_which_verb_to_use():
    assert "ctx.schedule_sub_orchestration" in what_is_said_of(lambda ctx: ctx.schedule_activity(parent))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda ctx: ctx.schedule_activity(echo, 1, retries=3), "has no option retries= here: did you mean retry=?"),
        (lambda ctx: ctx.schedule_activity("echo", 1, retries=3), "did you mean returns= or retry=?"),
        (lambda ctx: ctx.schedule_activity(echo, 1, max_attempts=3), "write retry=RetryPolicy(max_attempts=...)"),
        (
            lambda ctx: ctx.schedule_activity(echo, number=1),
            "number is an input of <activity tests::activity::echo>, and inputs are positional",
        ),
        (
            lambda ctx: ctx.schedule_activity(echo, 1, returns=int),
            "returns= here: it is for calls by name, and <activity ",
        ),
        (
            lambda ctx: ctx.schedule_activity(echo, 1, zzz=1),
            "zzz= here: its options are retry, tag, session, priority, ",
        ),
        (lambda ctx: ctx.schedule_sub_orchestration(parent, id="a"), "schedule_sub_orchestration has no option id="),
        (lambda ctx: ctx.schedule_sub_orchestration(parent, on_closed="a"), "did you mean on_close=?"),
        (lambda ctx: ctx.schedule_sub_orchestration(parent, on_close="a"), "on_close is 'a': use one of cancel, "),
        (lambda ctx: ctx.schedule_sub_orchestration(parent, version=2), "version is 2: it must be a semantic version"),
        (lambda ctx: ctx.schedule_sub_orchestration("p", version="new"), "version is 'new'"),
        (lambda ctx: ctx.schedule_orchestration(parent, instance="a"), "did you mean instance_id=?"),
        (lambda ctx: ctx.schedule_orchestration(parent, version="1"), "version is '1'"),
        (lambda ctx: ctx.schedule_orchestration(parent, retry=None), "its options are instance_id, version"),
        (
            lambda ctx: ctx.continue_as_new(versions="1.0.0"),
            "continue_as_new has no option versions= here: did you mean",
        ),
        (lambda ctx: ctx.map(lambda n: n, [1]), "ctx.map got the plain function "),
        (lambda ctx: ctx.map(echo, 5), "ctx.map takes an iterable of inputs, one for each activity, not 5"),
        (lambda ctx: ctx.map(echo, "abc"), "one for each activity, not 'abc'"),
        (lambda ctx: ctx.schedule_timer(datetime(2026, 1, 1)), "timer must be an aware datetime"),  # noqa: DTZ001 - so
        (lambda ctx: ctx.schedule_activity(echo, 1, timeout=5), "write retry=RetryPolicy(attempt_timeout=...)"),
        (lambda ctx: ctx.schedule_wait(int), "event must be an ExternalEvent or its name, not <class 'int'>"),
        (lambda ctx: ctx.raise_event("i", 5, data=5), "event must be an ExternalEvent or its name, not 5"),
        (lambda ctx: ctx.raise_event(ExternalEvent("e"), 5), "instance id must be a string, not ExternalEvent('e')"),
        (lambda ctx: ctx.continue_as_new(version="latest"), "version is 'latest'"),
    ],
)
def test_every_verb_refuses_an_option_that_it_does_not_have_and_says_which_was_meant(call, words):
    assert words in what_is_said_of(call)


async def test_a_mistake_that_nobody_catches_fails_the_instance_as_every_exception_of_its_code_does():
    @orchestration
    async def mistaken(ctx: OrchestrationContext) -> int:
        return await ctx.schedule_activity(echo, 1, retries=3)

    async with Environment(Registry(echo, mistaken)) as env:
        with pytest.raises(OrchestrationError, match="did you mean retry=") as failure:
            await env.run(mistaken)
    assert failure.value.caused_by(UsageError)


async def test_what_no_definition_says_of_its_results_is_an_option_of_every_verb_that_waits():
    @orchestration
    async def by_name(ctx: OrchestrationContext) -> list[str]:
        ctx.raise_event(ctx.instance_id, "number", data=7)
        seven = await ctx.schedule_wait("number", returns=int)
        one = await ctx.schedule_activity(echo.name, 1, returns=int)
        return [str(seven), str(one), str(await ctx.schedule_sub_orchestration(parent.name, returns=int))]

    async with Environment(Registry(echo, parent, by_name)) as env:
        assert await env.run(by_name) == ["7", "1", "1"]
