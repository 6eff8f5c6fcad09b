"""Orchestrations that can never go on: what nothing can wake, what never yields, and what is forbidden."""

import asyncio
import contextlib
import sys

import pytest

from perdure import OrchestrationContext, orchestration
from perdure._core import loop
from perdure._core.ending import StuckError
from perdure._core.loop import TurnEndlessError
from perdure.errors import ForbiddenCallError
from tests.core.engine.background import in_background
from tests.core.harness import Conversation, kinds


async def _lost_future():
    await asyncio.get_running_loop().create_future()


async def _event_that_nobody_sets():
    await asyncio.Event().wait()


async def _queue_that_nobody_fills():
    await asyncio.Queue().get()


STUCK = [_lost_future, _event_that_nobody_sets, _queue_that_nobody_fills]


@pytest.mark.parametrize("body", STUCK)
def test_waiting_for_what_nothing_durable_can_bring_is_reported_in_that_turn(body):
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        await ctx.schedule_activity("a")
        await body()

    talk = Conversation(program)
    talk.start()

    with pytest.raises(StuckError, match="test_stuck.py") as caught:
        talk.complete(2)

    assert "no durable event can bring" in str(caught.value)
    talk.drop()


def test_a_stuck_task_while_winding_down_is_reported_too():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        async def work():
            with contextlib.suppress(asyncio.CancelledError):
                await ctx.schedule_wait("never")
            await _lost_future()

        in_background(work())
        await ctx.schedule_wait("go")

    talk = Conversation(program)
    talk.start()

    with pytest.raises(StuckError):
        talk.raise_event("go")
    talk.drop()


def test_an_asyncio_object_beside_something_durable_is_not_stuck():
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        event = asyncio.Event()

        async def setter():
            await ctx.schedule_timer(1)
            event.set()

        task = asyncio.create_task(setter())
        await event.wait()
        await task
        return "done"

    talk = Conversation(program)
    talk.start()

    assert kinds(talk.fire(2)) == ['done "done"']


def test_what_was_asked_for_and_taken_back_brings_nothing():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        ctx.schedule_activity("a").cancel()
        ctx.set_custom_status(1)
        await _lost_future()

    talk = Conversation(program)

    with pytest.raises(StuckError):
        talk.start()
    talk.drop()


def test_an_orchestration_that_never_waits_is_interrupted(monkeypatch):
    monkeypatch.setattr(loop, "HANDLES_PER_TURN_MAX", 1_000)

    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        while True:
            await asyncio.sleep(0)

    talk = Conversation(program)

    with pytest.raises(TurnEndlessError, match="test_stuck.py"):
        talk.start()
    talk.drop()


def test_a_long_turn_within_the_limit_is_fine(monkeypatch):
    monkeypatch.setattr(loop, "HANDLES_PER_TURN_MAX", 1_000)

    @orchestration
    async def program(ctx: OrchestrationContext) -> int:
        for _ in range(900):
            await asyncio.sleep(0)
        await ctx.schedule_timer(1)
        for _ in range(900):
            await asyncio.sleep(0)
        return 1

    talk = Conversation(program)
    talk.start()

    assert kinds(talk.fire(2)) == ["done 1"]


async def _swallowed(ctx):
    with contextlib.suppress(Exception):
        await asyncio.to_thread(print)


async def _in_a_task(ctx):
    async def work():
        await asyncio.to_thread(print)

    task = asyncio.create_task(work())
    await asyncio.wait([task])


async def _raised(ctx):
    await asyncio.to_thread(print)


async def _before_continuing_as_new(ctx):
    with contextlib.suppress(Exception):
        await asyncio.to_thread(print)
    ctx.continue_as_new()


async def _before_being_stuck(ctx):
    with contextlib.suppress(Exception):
        await asyncio.to_thread(print)
    await _lost_future()


@pytest.mark.parametrize("body", [_swallowed, _in_a_task, _raised, _before_continuing_as_new, _before_being_stuck])
def test_a_forbidden_call_holds_the_instance_whatever_became_of_the_error(body):
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        await body(ctx)
        await ctx.schedule_activity("a")
        return "done"

    talk = Conversation(program)

    with pytest.raises(ForbiddenCallError, match="run_in_executor"):
        talk.start()

    assert talk.history == []
    talk.drop()


def test_a_future_of_another_event_loop_holds_the_instance():
    foreign = asyncio.new_event_loop()
    future = foreign.create_future()

    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        await future

    talk = Conversation(program)

    with pytest.raises(ForbiddenCallError, match="a future of another event loop"):
        talk.start()
    talk.drop()
    foreign.close()
    assert sys.exc_info() == (None, None, None)


@pytest.mark.parametrize("kind", [RuntimeError, ValueError])
def test_other_errors_of_these_kinds_are_failures(kind):
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        raise kind("no such order")

    assert kinds(Conversation(program).start()) == [f"fail {kind.__name__}"]
