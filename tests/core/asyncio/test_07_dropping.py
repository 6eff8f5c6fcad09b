"""Dropping an execution: no action is added, nothing is printed, nothing of it runs at a later collection."""

import asyncio
import gc
import sys
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from perdure import OrchestrationContext, orchestration
from perdure._core.loop import alive
from perdure._core.unwinding import CLOSES_MAX, graveyard
from perdure.errors import ForbiddenCallError
from tests.core.harness import Conversation

Program = Callable[[OrchestrationContext], Awaitable[None]]


@pytest.fixture
def printed(capfd: pytest.CaptureFixture[str]) -> Iterator[list[object]]:
    """What Python complains of meanwhile, and what is printed, once the test has read it."""
    complaints: list[object] = []
    hook, sys.unraisablehook = sys.unraisablehook, complaints.append
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        yield complaints
    sys.unraisablehook = hook
    complaints += [str(warning.message) for warning in warned]
    complaints += [text for text in capfd.readouterr() if text]
    assert complaints == []


async def awaits_in_finally(ctx: OrchestrationContext) -> None:
    try:
        await ctx.schedule_activity("a")
    finally:
        await ctx.schedule_activity("cleanup")


async def sleeps_in_finally(ctx: OrchestrationContext) -> None:
    try:
        await ctx.schedule_activity("a")
    finally:
        await asyncio.sleep(1)


async def yields_in_finally(ctx: OrchestrationContext) -> None:
    try:
        await ctx.schedule_activity("a")
    finally:
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def gathers_in_finally(ctx: OrchestrationContext) -> None:
    try:
        await ctx.schedule_activity("a")
    finally:
        await asyncio.gather(awaits_in_finally(ctx), asyncio.sleep(1), ctx.schedule_activity("b"))


async def groups_in_finally(ctx: OrchestrationContext) -> None:
    try:
        await ctx.schedule_activity("a")
    finally:
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(awaits_in_finally(ctx), name="cleanup")


async def waits_for_a_future_in_finally(ctx: OrchestrationContext) -> None:
    try:
        await ctx.schedule_activity("a")
    finally:
        await asyncio.create_task(ctx.schedule_timer(1))


async def swallows_once(ctx: OrchestrationContext) -> None:
    try:
        await ctx.schedule_activity("a")
    except BaseException:  # noqa: BLE001 - the swallower
        await asyncio.sleep(0)


async def raises_in_finally(ctx: OrchestrationContext) -> None:
    try:
        await ctx.schedule_activity("a")
    finally:
        raise RuntimeError("in finally")


async def exits_in_finally(ctx: OrchestrationContext) -> None:
    try:
        await ctx.schedule_activity("a")
    finally:
        raise SystemExit


async def within_a_generator(ctx: OrchestrationContext) -> None:
    async def steps() -> AsyncIterator[int]:
        later = asyncio.sleep(1)
        try:
            await awaits_in_finally(ctx)
            yield 1
        finally:
            await ctx.schedule_activity("cleanup")
        await later

    async for _ in steps():
        pass


async def beside_a_generator(ctx: OrchestrationContext) -> None:
    async def steps() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await ctx.schedule_activity("cleanup")

    begun = steps()
    await anext(begun)
    await ctx.schedule_activity("a")


async def within_context_managers(ctx: OrchestrationContext) -> None:
    @asynccontextmanager
    async def resource() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await ctx.schedule_activity("release")

    async with asyncio.timeout(60), resource(), asyncio.TaskGroup() as group:
        group.create_task(awaits_in_finally(ctx))
        group.create_task(yields_in_finally(ctx))


async def holds_coroutines_for_later(ctx: OrchestrationContext) -> None:
    later, more = awaits_in_finally(ctx), {"later": [awaits_in_finally(ctx)]}
    await ctx.schedule_activity("a")
    await later
    await more["later"][0]


async def makes_coroutines_in_finally(ctx: OrchestrationContext) -> None:
    try:
        await ctx.schedule_activity("a")
    finally:
        first, second = awaits_in_finally(ctx), awaits_in_finally(ctx)
        await ctx.schedule_activity("cleanup")
        await first
        await second


async def knows_its_own_task(ctx: OrchestrationContext) -> None:
    me = asyncio.current_task()
    try:
        await ctx.schedule_activity("a")
    finally:
        await ctx.schedule_activity(str(me))


async def leaves_a_failed_task(ctx: OrchestrationContext) -> None:
    async def fails() -> None:
        raise RuntimeError("nobody looks")

    asyncio.create_task(fails())  # noqa: RUF006 - that nobody holds it is the point
    await ctx.schedule_activity("a")


ZOO = [
    awaits_in_finally,
    sleeps_in_finally,
    yields_in_finally,
    gathers_in_finally,
    groups_in_finally,
    waits_for_a_future_in_finally,
    swallows_once,
    raises_in_finally,
    exits_in_finally,
    within_a_generator,
    beside_a_generator,
    within_context_managers,
    holds_coroutines_for_later,
    makes_coroutines_in_finally,
    knows_its_own_task,
    leaves_a_failed_task,
]


@pytest.mark.parametrize("inhabitant", ZOO, ids=lambda each: each.__name__)
def test_the_zoo_of_finally_blocks_is_dropped_in_silence(inhabitant: Program, printed: list[object]) -> None:
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        await asyncio.gather(inhabitant(ctx), ctx.schedule_wait("never"))

    talk = Conversation(program)
    talk.start()
    asked, buried = talk.execution.asked, len(graveyard)

    stubborn = talk.drop()
    gc.collect()

    assert (stubborn, len(graveyard)) == (0, buried)
    assert talk.execution.asked == asked
    assert talk.execution.take_events() == []
    assert talk.execution not in alive


def test_what_swallows_everything_is_counted_and_kept() -> None:
    closes: list[int] = []
    enough: list[bool] = []

    @orchestration
    async def stubborn(ctx: OrchestrationContext) -> None:
        while not enough:
            try:
                await asyncio.sleep(0) if closes else await ctx.schedule_activity("a")
            except BaseException:  # noqa: BLE001 - the stubborn one
                closes.append(1)

    talk = Conversation(stubborn, always_replay=False)
    talk.start()

    assert talk.drop() == 1
    assert len(closes) == CLOSES_MAX
    enough.append(True)
    graveyard.pop().close()


@pytest.mark.parametrize("way", ["dropped", "continues as new"])
def test_what_swallows_everything_for_ever_comes_back_all_the_same(way: str) -> None:
    enough: list[bool] = []

    @orchestration
    async def immortal(ctx: OrchestrationContext) -> None:
        while not enough:
            try:
                await ctx.schedule_wait("e")
                ctx.continue_as_new()
            except BaseException:  # noqa: BLE001, S112 - the stubborn one
                continue

    talk = Conversation(immortal, always_replay=False)
    talk.start()
    buried = len(graveyard)

    if way == "dropped":
        assert talk.drop() == 1
    else:
        talk.raise_event("e")

    assert len(graveyard) == buried + 1
    assert talk.execution not in alive
    enough.append(True)
    graveyard.pop().close()


def test_it_is_a_replay_while_an_execution_is_dropped() -> None:
    seen: list[bool] = []

    @orchestration
    async def looking(ctx: OrchestrationContext) -> None:
        try:
            await ctx.schedule_activity("a")
        finally:
            seen.append(ctx.is_replaying)

    talk = Conversation(looking, always_replay=False)
    talk.start()
    talk.drop()

    assert seen == [True]


def test_the_newest_task_is_ended_first() -> None:
    ended: list[int] = []

    @orchestration
    async def many(ctx: OrchestrationContext) -> None:
        async def one(number: int) -> None:
            try:
                await ctx.schedule_activity("a")
            finally:
                ended.append(number)

        try:
            await asyncio.gather(*(one(number) for number in range(3)))
        finally:
            ended.append(-1)

    talk = Conversation(many, always_replay=False)
    talk.start()
    talk.drop()

    assert ended == [2, 1, 0, -1]


def test_dropping_twice_does_nothing_more() -> None:
    @orchestration
    async def waiting(ctx: OrchestrationContext) -> None:
        await awaits_in_finally(ctx)

    talk = Conversation(waiting)
    talk.start()

    assert (talk.drop(), talk.drop()) == (0, 0)


def test_an_execution_with_an_offence_is_dropped_with_tasks_that_never_began(printed: list[object]) -> None:
    @orchestration
    async def offending(ctx: OrchestrationContext) -> None:
        tasks: list[Any] = [asyncio.create_task(awaits_in_finally(ctx)) for _ in range(3)]
        with suppress(ForbiddenCallError):
            asyncio.get_running_loop().run_in_executor(None, print)
        raise SystemExit(len(tasks))

    talk = Conversation(offending)
    with pytest.raises((SystemExit, ForbiddenCallError)):
        talk.start()

    assert talk.drop() == 0
    gc.collect()
