"""An orchestration that nothing durable can wake is reported in that very turn, with its line."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future as ThreadFuture
from typing import Any

import pytest

from perdure import OrchestrationContext, orchestration
from perdure._core.ending import StuckError
from perdure.errors import ForbiddenCallError
from tests.core.harness import Conversation, kinds

Wait = Callable[[], Awaitable[Any]]


async def event_nobody_sets() -> None:
    await asyncio.Event().wait()


async def lost_future() -> None:
    await asyncio.get_running_loop().create_future()


async def future_of_an_executor() -> None:
    await asyncio.wrap_future(ThreadFuture())


async def queue_nobody_fills() -> None:
    await asyncio.Queue().get()


async def cancelled_activity() -> None:
    await asyncio.gather(event_nobody_sets(), return_exceptions=True)


@pytest.mark.parametrize(
    "wait",
    [event_nobody_sets, lost_future, future_of_an_executor, queue_nobody_fills, cancelled_activity],
    ids=lambda wait: wait.__name__,
)
def test_a_wait_that_nothing_durable_ends_is_reported_with_its_line(wait: Wait) -> None:
    @orchestration
    async def waiting(ctx: OrchestrationContext) -> None:
        await wait()

    with pytest.raises(StuckError, match="test_16_stuck.py:\\d+"):
        Conversation(waiting).start()


def test_it_is_reported_in_the_turn_in_which_it_happens() -> None:
    @orchestration
    async def waiting(ctx: OrchestrationContext) -> None:
        await ctx.schedule_activity("a")
        await event_nobody_sets()

    talk = Conversation(waiting)
    talk.start()

    with pytest.raises(StuckError, match="event_nobody_sets"):
        talk.complete(2)


def test_while_something_durable_may_come_nothing_is_stuck() -> None:
    @orchestration
    async def waiting(ctx: OrchestrationContext) -> None:
        ctx.schedule_activity("a")
        await event_nobody_sets()

    assert kinds(Conversation(waiting).start()) == ["act a"]


FOREIGN: dict[str, Callable[["asyncio.Future[Any]"], Awaitable[Any]]] = {
    "await": lambda future: future,
    "gather": asyncio.gather,
    "shield": asyncio.shield,
    "wait_for": lambda future: asyncio.wait_for(future, 5),
}


@pytest.mark.parametrize("wait", FOREIGN.values(), ids=FOREIGN)
def test_awaiting_a_future_of_another_loop_holds_the_instance(wait: Callable[[Any], Awaitable[Any]]) -> None:
    loop = asyncio.new_event_loop()
    future = loop.create_future()

    @orchestration
    async def foreign(ctx: OrchestrationContext) -> None:
        await wait(future)

    with pytest.raises((ForbiddenCallError, StuckError)):
        Conversation(foreign).start()
    loop.close()


def test_asyncio_wait_for_a_future_of_another_loop_is_stuck() -> None:
    loop = asyncio.new_event_loop()
    future = loop.create_future()

    @orchestration
    async def foreign(ctx: OrchestrationContext) -> None:
        await asyncio.wait({future})

    with pytest.raises(StuckError):
        Conversation(foreign).start()
    loop.close()


def test_a_foreign_future_that_resumes_it_outside_its_turn_marks_it() -> None:
    loop = asyncio.new_event_loop()
    future = loop.create_future()

    @orchestration
    async def foreign(ctx: OrchestrationContext) -> None:
        ctx.schedule_activity("a")
        await asyncio.wait({future})

    talk = Conversation(foreign)
    talk.start()
    loop.set_exception_handler(lambda _loop, _context: None)
    loop.call_soon(future.set_result, 1)
    loop.run_until_complete(_two_rounds())
    loop.close()

    with pytest.raises(ForbiddenCallError, match="outside this orchestration's own turn"):
        talk.complete(2)


async def _two_rounds() -> None:
    for _ in range(3):
        await asyncio.sleep(0)
