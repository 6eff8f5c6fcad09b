"""What the author should know at the end: what nobody waited for, and exceptions that nobody looked at."""

import asyncio

import pytest

from perdure import OrchestrationContext, orchestration
from tests.core.engine.background import in_background
from tests.core.harness import Conversation, dropped, replayed


@pytest.mark.parametrize("ends", ["returns", "continues", "returns at once"])
def test_an_activity_and_a_child_that_nobody_waited_for_are_told_with_their_lines(ends):
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        ctx.schedule_activity("charge")
        ctx.schedule_sub_orchestration("ship")
        ctx.schedule_sub_orchestration("audit", on_close="abandon")
        ctx.schedule_timer(60)
        ctx.schedule_wait("never")
        if ends != "returns at once":
            await ctx.schedule_wait("go")
        if ends == "continues":
            ctx.continue_as_new()

    talk = Conversation(program)
    talk.start()
    talk.raise_event("go")

    first, second = talk.execution.warnings

    assert first.startswith("charge, asked for at tests/core/engine/test_warnings.py:")
    assert second.startswith("ship, asked for at tests/core/engine/test_warnings.py:")
    assert "is given up" in first


def test_what_was_cancelled_or_has_ended_is_not_told():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        ctx.schedule_activity("a").cancel()
        cancelled, ended = ctx.schedule_activity("b"), ctx.schedule_activity("c")
        await ended
        cancelled.cancel()

    talk = Conversation(program)
    talk.start()
    talk.complete(3)

    assert talk.execution.warnings == []


@orchestration
async def careless(ctx: OrchestrationContext) -> None:
    async def fails():
        raise ValueError("nobody looks")

    def callback():
        raise KeyError("nobody listens")

    in_background(fails(), name="fails")
    asyncio.get_running_loop().call_soon(callback)
    await ctx.schedule_wait("go")
    await ctx.schedule_wait("go")


def test_exceptions_that_nobody_looked_at_are_told_once_at_the_end():
    talk = Conversation(careless)
    talk.start()
    talk.raise_event("go")
    assert talk.execution.warnings == []

    talk.raise_event("go")

    assert talk.execution.warnings == [
        "task fails failed and nobody looked: ValueError: nobody looks",
        "a callback failed: KeyError: 'nobody listens'",
    ]


def test_they_are_told_also_when_they_were_raised_during_a_replay():
    talk = Conversation(careless)
    talk.start()
    talk.raise_event("go")
    twin = replayed(talk.stage, careless, talk.history)
    talk.drop()
    talk.execution = twin

    talk.raise_event("go")

    assert len(talk.execution.warnings) == 2


def test_a_replay_to_the_end_tells_nothing():
    talk = Conversation(careless)
    talk.start()
    talk.raise_event("go")
    talk.raise_event("go")

    twin = replayed(talk.stage, careless, talk.history)

    assert twin.warnings == []
    dropped(talk.stage, twin)


def test_an_exception_that_somebody_looked_at_is_not_told():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        async def fails():
            raise ValueError("seen")

        task = asyncio.create_task(fails())
        await asyncio.wait([task])
        assert str(task.exception()) == "seen"

    talk = Conversation(program)
    talk.start()

    assert talk.execution.warnings == []
