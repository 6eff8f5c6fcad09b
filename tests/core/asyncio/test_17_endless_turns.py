"""A turn has a budget of callbacks, and leaves the queue empty whatever happens in it."""

import asyncio

import pytest

from perdure import OrchestrationContext, orchestration
from perdure._core import loop as loops
from perdure._core.loop import TurnEndlessError
from tests.core.harness import Conversation, kinds


async def spin() -> None:
    while True:
        await asyncio.sleep(0)


def test_a_loop_that_waits_for_nothing_durable_is_ended_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "HANDLES_PER_TURN_MAX", 500)

    @orchestration
    async def spinning(ctx: OrchestrationContext) -> None:
        await spin()

    with pytest.raises(TurnEndlessError, match=r"more than 500 callbacks.*test_17_endless_turns.py:\d+ \(spin\)"):
        Conversation(spinning).start()


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_what_is_left_of_a_turn_that_raised_runs_in_no_other_turn(error: type[BaseException]) -> None:
    ran: list[str] = []

    @orchestration
    async def exiting(ctx: OrchestrationContext) -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(_raise, error)
        loop.call_soon(ran.append, "left over")

    @orchestration
    async def ordinary(ctx: OrchestrationContext) -> None:
        await ctx.schedule_activity("a")

    one, other = Conversation(exiting), Conversation(ordinary)
    other.stage = one.stage

    with pytest.raises(error):
        one.start()

    assert kinds(other.start()) == ["act a"]
    assert ran == []


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_an_exit_in_a_task_passes_through_the_turn(error: type[BaseException]) -> None:
    @orchestration
    async def exiting(ctx: OrchestrationContext) -> None:
        try:
            await asyncio.gather(_exit(error), ctx.schedule_activity("a"))
        finally:
            await ctx.schedule_activity("cleanup")

    talk = Conversation(exiting)

    with pytest.raises(error):
        talk.start()
    assert talk.execution.take_events() == []
    assert talk.drop() == 0


def test_a_callback_that_was_cancelled_is_not_run() -> None:
    ran: list[str] = []

    @orchestration
    async def changing_its_mind(ctx: OrchestrationContext) -> None:
        asyncio.get_running_loop().call_soon(ran.append, "cancelled").cancel()
        await asyncio.sleep(0)

    assert kinds(Conversation(changing_its_mind).start()) == ["done null"]
    assert ran == []


def test_a_callback_that_raises_is_reported_at_the_end_and_harms_nobody() -> None:
    @orchestration
    async def failing(ctx: OrchestrationContext) -> None:
        asyncio.get_running_loop().call_soon(_raise, ValueError)
        await ctx.schedule_activity("a")

    talk = Conversation(failing)
    talk.start()

    assert kinds(talk.complete(2)) == ["done null"]
    assert talk.execution.warnings == ["a callback failed: ValueError"]


async def _exit(error: type[BaseException]) -> None:
    raise error


def _raise(error: type[BaseException]) -> None:
    raise error
