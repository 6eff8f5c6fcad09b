"""Async generators of orchestrations are cleaned up by their own loop, in the turn in which they were left."""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator
from decimal import Decimal, getcontext, localcontext

import pytest

from perdure import OrchestrationContext, orchestration
from perdure._core.stage import Stage
from tests.core.harness import Conversation, dropped, kinds, new_execution, started


async def numbers(ctx: OrchestrationContext) -> AsyncIterator[int]:
    try:
        for number in range(3):
            yield number
    finally:
        await ctx.schedule_activity("cleanup")


def test_a_generator_left_by_break_cleans_up_in_its_turn() -> None:
    @orchestration
    async def breaking(ctx: OrchestrationContext) -> None:
        async for _ in numbers(ctx):
            break
        await ctx.schedule_activity("after")

    talk = Conversation(breaking)

    assert kinds(talk.start()) == ["act after", "act cleanup"]


def test_one_that_ran_to_its_end_leaves_nothing_behind() -> None:
    @orchestration
    async def exhausting(ctx: OrchestrationContext) -> int:
        return sum([number async for number in numbers(ctx)])

    talk = Conversation(exhausting)
    (cleanup,) = talk.start()

    assert kinds(talk.complete(cleanup.id)) == ["done 3"]


def test_thousands_that_ended_are_forgotten() -> None:
    remembered: list[int] = []

    async def one() -> AsyncIterator[int]:
        yield 1

    @orchestration
    async def exhausting(ctx: OrchestrationContext) -> None:
        for _ in range(1_000):
            async for _ in one():
                pass
        remembered.append(len(asyncio.get_running_loop()._generators))  # noqa: SLF001 - what it holds is what is tested

    Conversation(exhausting, always_replay=False).start()

    assert remembered == [0]


def test_one_kept_in_a_cycle_never_cleans_up() -> None:
    @orchestration
    async def keeping(ctx: OrchestrationContext) -> None:
        begun = numbers(ctx)
        await anext(begun)
        cycle: list[object] = [begun]
        cycle.append(cycle)
        del begun, cycle
        await ctx.schedule_activity("a")
        await ctx.schedule_activity("b")

    talk = Conversation(keeping)
    talk.start()
    gc.collect()

    assert kinds(talk.complete(2)) == ["act b"]


def test_the_cleanup_sees_the_executions_own_context_variables() -> None:
    seen: list[int] = []

    async def precise() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            seen.append(getcontext().prec)

    @orchestration
    async def breaking(ctx: OrchestrationContext) -> None:
        async for _ in precise():
            break

    with localcontext(prec=5):
        Conversation(breaking, always_replay=False).start()

    assert seen == [28]
    assert getcontext().divide(Decimal(1), Decimal(8)) == Decimal("0.125")


async def test_the_outer_loop_shuts_down_none_of_ours() -> None:
    ended: list[str] = []

    async def watched(ctx: OrchestrationContext) -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            ended.append("watched")

    @orchestration
    async def holding(ctx: OrchestrationContext) -> None:
        begun = watched(ctx)
        await anext(begun)
        await ctx.schedule_activity("a")

    talk = Conversation(holding)
    talk.start()
    await asyncio.get_running_loop().shutdown_asyncgens()
    assert ended == []

    talk.drop()
    assert ended == []


def test_a_generator_of_the_outer_program_is_left_to_it() -> None:
    lost: list[object] = []
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter=None, finalizer=lost.append)
    outer = numbers(None)  # type: ignore[arg-type]  # it gets no further than its first yield
    with pytest.raises(StopIteration):
        outer.__anext__().send(None)

    execution = new_execution(orchestration(_idle))
    with Stage() as stage, stage.on(execution):
        del outer
    sys.set_asyncgen_hooks(*hooks)

    assert len(lost) == 1


async def _idle(ctx: OrchestrationContext) -> None:
    pass


def test_hooks_of_the_thread_are_as_before() -> None:
    before = sys.get_asyncgen_hooks()

    with Stage():
        assert sys.get_asyncgen_hooks() != before

    assert sys.get_asyncgen_hooks() == before


def test_a_generator_begun_and_lost_outside_a_turn_is_nobodys() -> None:
    with Stage():
        outside = numbers(None)  # type: ignore[arg-type]  # it gets no further than its first yield
        with pytest.raises(StopIteration):
            outside.__anext__().send(None)
        del outside


def test_a_generator_of_another_execution_is_left_alone() -> None:
    shared: list[object] = []

    @orchestration
    async def lending(ctx: OrchestrationContext) -> None:
        shared.append(numbers(ctx))
        await anext(shared[-1])
        await ctx.schedule_activity("a")

    @orchestration
    async def losing(ctx: OrchestrationContext) -> None:
        shared.clear()
        await ctx.schedule_activity("b")

    lender = Conversation(lending, always_replay=False)
    lender.start()
    other = Conversation(losing)

    assert kinds(other.start()) == ["act b"]
    assert lender.execution.offence is None
    assert dropped(lender.stage, lender.execution) == 0
    assert started(losing).name == losing.name
