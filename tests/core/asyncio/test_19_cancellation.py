"""A cancel request is delivered once, as a cancellation of the root; compensation completes."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from perdure import OrchestrationContext, orchestration
from tests.core.harness import Conversation, kinds

Program = Callable[[OrchestrationContext], Awaitable[object]]


async def plainly(ctx: OrchestrationContext) -> None:
    try:
        await ctx.schedule_activity("a")
    except asyncio.CancelledError:
        await ctx.schedule_activity("undo")
        await ctx.schedule_activity("undo")
        raise


async def within_a_timeout(ctx: OrchestrationContext) -> None:
    async with asyncio.timeout(60):
        await plainly(ctx)


async def within_a_group(ctx: OrchestrationContext) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(plainly(ctx))


async def within_a_shield(ctx: OrchestrationContext) -> None:
    work = asyncio.create_task(plainly(ctx))
    try:
        await asyncio.shield(work)
    finally:
        work.cancel()
        await asyncio.wait([work])


@pytest.mark.parametrize("program", [plainly, within_a_timeout, within_a_group, within_a_shield])
def test_compensation_completes_and_then_it_is_cancelled(program: Program) -> None:
    @orchestration
    async def compensating(ctx: OrchestrationContext) -> None:
        await program(ctx)

    talk = Conversation(compensating)
    asked = talk.start()
    activity = next(event for event in asked if kinds([event]) == ["act a"])

    first = talk.cancel("enough")
    assert kinds(first)[0] == f"act! {activity.id}"
    second = talk.complete(first[-1].id)
    last = talk.complete(second[-1].id)

    assert kinds(last)[-1] == "cancelled"
    assert last[-1].reason == "enough"


def test_a_second_request_does_not_reach_the_compensation() -> None:
    @orchestration
    async def compensating(ctx: OrchestrationContext) -> None:
        await plainly(ctx)

    talk = Conversation(compensating)
    talk.start()
    (_, undo) = talk.cancel()

    assert talk.cancel("again") == []
    assert kinds(talk.complete(undo.id)) == ["act undo"]


def test_a_swallowed_request_and_a_result_are_a_result() -> None:
    @orchestration
    async def stubborn(ctx: OrchestrationContext) -> str:
        try:
            await ctx.schedule_activity("a")
        except asyncio.CancelledError:
            return "no"
        return "yes"

    talk = Conversation(stubborn)
    talk.start()

    assert kinds(talk.cancel()) == ["act! 2", 'done "no"']


def test_a_swallowed_request_a_failed_group_and_a_result_are_a_result_on_every_python() -> None:
    @orchestration
    async def stubborn(ctx: OrchestrationContext) -> str:
        with suppress(asyncio.CancelledError):
            await ctx.schedule_activity("a")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_fail())
        except* ValueError:
            pass
        return "result"

    talk = Conversation(stubborn)
    talk.start()

    assert kinds(talk.cancel())[-1] == 'done "result"'


def test_a_timeout_that_fires_before_the_request_loses_to_it() -> None:
    @orchestration
    async def hurrying(ctx: OrchestrationContext) -> None:
        async with asyncio.timeout(60):
            await plainly(ctx)

    talk = Conversation(hurrying)
    timer, activity = talk.start()
    assert kinds(talk.fire(timer.id)) == [f"act! {activity.id}", "act undo"]

    assert kinds(talk.cancel())[-1] == "cancelled"


def test_a_request_for_one_that_has_not_begun_to_wait_is_met() -> None:
    @orchestration
    async def quick(ctx: OrchestrationContext) -> None:
        await ctx.schedule_activity("a")

    talk = Conversation(quick)
    talk.start()

    assert kinds(talk.cancel()) == ["act! 2", "cancelled"]


async def _fail() -> None:
    raise ValueError
