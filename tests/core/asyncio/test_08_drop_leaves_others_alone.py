"""Dropping or losing an execution during another's turn leaves that one's history as it is."""

import asyncio
import gc

from perdure import OrchestrationContext, orchestration
from perdure._core.loop import alive
from tests.core.harness import Conversation, kinds


@orchestration
async def releasing(ctx: OrchestrationContext) -> None:
    me = asyncio.current_task()
    try:
        await ctx.schedule_activity("a")
    finally:
        await asyncio.sleep(1)
        await asyncio.create_task(asyncio.sleep(2))
        await ctx.schedule_activity(f"release {me is None}")


def lost() -> None:
    Conversation(releasing).start()


def test_an_execution_that_everybody_forgot_is_not_collected_in_anothers_turn() -> None:
    lost()

    @orchestration
    async def collecting(ctx: OrchestrationContext) -> None:
        gc.collect()
        await ctx.schedule_activity("b")

    talk = Conversation(collecting)

    assert kinds(talk.start()) == ["act b"]
    assert any(execution.definition is releasing for execution in alive)


def test_an_execution_that_is_dropped_between_two_turns_of_another_adds_nothing_to_it() -> None:
    @orchestration
    async def steady(ctx: OrchestrationContext) -> None:
        await ctx.schedule_activity("b")
        await ctx.schedule_activity("c")

    other, talk = Conversation(releasing), Conversation(steady)
    other.start()
    talk.start()
    other.drop()
    del other
    gc.collect()

    assert kinds(talk.complete(2)) == ["act c"]


def test_an_execution_that_ended_is_held_by_nobody() -> None:
    @orchestration
    async def quick(ctx: OrchestrationContext) -> None:
        await ctx.schedule_activity("a")

    talk = Conversation(quick)
    talk.start()
    assert talk.execution in alive

    talk.complete(2)

    assert talk.execution not in alive


def test_an_execution_that_continues_as_new_is_held_by_nobody() -> None:
    @orchestration
    async def again(ctx: OrchestrationContext) -> None:
        asyncio.create_task(asyncio.sleep(1))  # noqa: RUF006 - left behind
        await ctx.schedule_activity("a")
        ctx.continue_as_new()

    talk = Conversation(again)
    talk.start()
    talk.complete(2)

    assert talk.execution not in alive
