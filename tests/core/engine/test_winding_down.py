"""Tasks that are alive when the orchestration returns (E): cancelled in the order of their creation, and awaited."""

import asyncio
import contextlib

import pytest

from perdure import OrchestrationContext, orchestration
from perdure._core import execution
from perdure._core.loop import TurnEndlessError
from tests.core.engine.background import in_background
from tests.core.harness import Conversation, kinds


def background(ctx, name):
    async def work():
        try:
            await ctx.schedule_activity(name)
        finally:
            ctx.set_custom_status(f"{name} cancelled")

    return work()


def test_they_are_cancelled_in_the_order_of_their_creation():
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        tasks = [asyncio.create_task(background(ctx, name)) for name in "cab"]
        await ctx.schedule_wait("go")
        return "done" if tasks else "none"

    talk = Conversation(program)
    talk.start()

    assert kinds(talk.raise_event("go")) == [
        "act! 3",
        "act! 4",
        "act! 5",
        'status "c cancelled"',
        'status "a cancelled"',
        'status "b cancelled"',
        'done "done"',
    ]


def test_their_cleanup_is_awaited_and_the_result_stands():
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        async def work():
            try:
                await ctx.schedule_activity("a")
            finally:
                await ctx.schedule_activity("undo")

        in_background(work())
        await ctx.schedule_wait("go")
        return "done"

    talk = Conversation(program)
    talk.start()
    _, undo = talk.raise_event("go")

    assert talk.execution.ending is None
    assert kinds(talk.complete(undo.id)) == ['done "done"']


def test_a_shielded_compensation_is_cancelled_when_nobody_waits_for_it():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        async def compensate():
            await ctx.schedule_activity("undo")
            await ctx.schedule_activity("undo more")

        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(compensate()), 5)

    talk = Conversation(program)
    timer = next(event for event in talk.start() if kinds([event]) == ["tim"])

    assert kinds(talk.fire(timer.id)) == ["act! 3" if timer.id == 2 else "act! 2", "done null"]


def test_tasks_that_clean_up_with_tasks_are_awaited():
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        async def undo(name):
            await ctx.schedule_activity(name)

        async def work():
            try:
                await ctx.schedule_wait("never")
            finally:
                await asyncio.gather(undo("a"), undo("b"))

        in_background(work())
        await ctx.schedule_wait("go")
        return "done"

    talk = Conversation(program)
    talk.start()
    _, first, second = talk.raise_event("go")
    assert talk.complete(first.id) == []

    assert kinds(talk.complete(second.id)) == ['done "done"']


def test_tasks_that_are_left_behind_while_winding_down_are_cancelled_in_turn():
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        left = []

        async def work(depth):
            try:
                await ctx.schedule_wait("never")
            finally:
                ctx.set_custom_status(depth)
                if depth < 3:
                    left.append(asyncio.create_task(work(depth + 1)))
                    await asyncio.sleep(0)

        left.append(asyncio.create_task(work(1)))
        await ctx.schedule_wait("go")
        return "done"

    talk = Conversation(program)
    talk.start()

    assert kinds(talk.raise_event("go")) == ["wait! 3", "status 1", "status 2", "status 3", 'done "done"']


def test_tasks_that_leave_others_behind_for_ever_are_endless(monkeypatch):
    monkeypatch.setattr(execution, "WIND_DOWN_ROUNDS_MAX", 10)

    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        async def work():
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                in_background(work())
                await asyncio.sleep(0)

        in_background(work())
        await asyncio.sleep(0)

    talk = Conversation(program)

    with pytest.raises(TurnEndlessError, match="more than 10 times"):
        talk.start()
    talk.drop()


def test_a_task_that_is_ready_in_the_run_that_ends_it_all_still_runs():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        async def work():
            ctx.set_custom_status("ran")

        in_background(work())

    assert kinds(Conversation(program).start()) == ['status "ran"', "done null"]


def test_nothing_is_asked_for_after_the_end():
    kept = []

    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        kept.append(ctx)

    talk = Conversation(program)
    talk.start()

    assert kinds(talk.history) == ["start", "done null"]
    assert talk.execution.unfinished() == []
    assert kept[0].is_replaying


def test_the_failure_of_the_program_stands_when_its_tasks_fail_too():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        async def work():
            try:
                await ctx.schedule_wait("never")
            finally:
                raise ValueError("in cleanup")

        in_background(work())
        await ctx.schedule_wait("go")
        raise KeyError("program")

    talk = Conversation(program)
    talk.start()

    assert kinds(talk.raise_event("go")) == ["wait! 3", "fail KeyError"]
