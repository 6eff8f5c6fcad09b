"""Whatever reaches into an execution from outside its turn marks it: nothing of that turn is committed."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from perdure import OrchestrationContext, orchestration
from perdure.errors import ForbiddenCallError
from tests.core.harness import Conversation, dropped

Kept = dict[str, Any]

VERBS: dict[str, Callable[[Kept], object]] = {
    "an activity": lambda kept: kept["ctx"].schedule_activity("b"),
    "a timer": lambda kept: kept["ctx"].schedule_timer(1),
    "a wait": lambda kept: kept["ctx"].schedule_wait("b"),
    "a child": lambda kept: kept["ctx"].schedule_sub_orchestration("b"),
    "a detached start": lambda kept: kept["ctx"].schedule_orchestration("b"),
    "an event": lambda kept: kept["ctx"].raise_event("b", "b"),
    "a status": lambda kept: kept["ctx"].set_custom_status("b"),
    "a guid": lambda kept: kept["ctx"].new_guid(),
    "another execution": lambda kept: kept["ctx"].continue_as_new(),
    "a callback": lambda kept: kept["loop"].call_soon(print),
    "a callback from a thread": lambda kept: kept["loop"].call_soon_threadsafe(print),
    "a delayed callback": lambda kept: kept["loop"].call_later(1, print),
    "a result for its future": lambda kept: kept["future"].set_result(1),
    "a cancellation": lambda kept: kept["activity"].cancel(),
}


def parked() -> tuple[Conversation, Kept]:
    """An execution that waits, and what it has let out."""
    kept: Kept = {}

    @orchestration
    async def careless(ctx: OrchestrationContext) -> None:
        kept.update(ctx=ctx, loop=asyncio.get_running_loop(), activity=ctx.schedule_activity("a"))
        kept["future"] = kept["loop"].create_future()
        await asyncio.gather(kept["activity"], kept["future"])

    talk = Conversation(careless, always_replay=False)
    talk.start()
    return talk, kept


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_between_turns_it_is_refused_and_marks_the_execution(verb: Callable[[Kept], object]) -> None:
    talk, kept = parked()

    with pytest.raises(ForbiddenCallError):
        verb(kept)

    with pytest.raises(ForbiddenCallError):
        talk.complete(2)
    assert talk.execution.take_events() == []


def test_a_coroutine_for_a_task_outside_the_turn_is_refused() -> None:
    talk, kept = parked()
    coroutine = asyncio.sleep(0)

    with pytest.raises(ForbiddenCallError, match="create_task was called outside"):
        kept["loop"].create_task(coroutine)

    coroutine.close()
    assert talk.execution.offence is not None


def test_a_thread_is_refused_even_while_a_turn_runs() -> None:
    refused: list[BaseException] = []

    def reach_in(ctx: OrchestrationContext) -> None:
        try:
            ctx.schedule_activity("from a thread")
        except ForbiddenCallError as error:
            refused.append(error)

    @orchestration
    async def threading_(ctx: OrchestrationContext) -> None:
        thread = threading.Thread(target=reach_in, args=(ctx,))
        thread.start()
        thread.join()
        await ctx.schedule_activity("a")

    with pytest.raises(ForbiddenCallError, match="outside this orchestration's own turn"):
        Conversation(threading_).start()
    assert len(refused) == 1


def test_waking_another_orchestration_marks_both() -> None:
    shared: list[asyncio.Event] = []

    @orchestration
    async def first(ctx: OrchestrationContext) -> None:
        shared.append(asyncio.Event())
        ctx.schedule_activity("a")
        await shared[0].wait()

    @orchestration
    async def second(ctx: OrchestrationContext) -> None:
        with suppress(ForbiddenCallError):
            shared[0].set()
        await ctx.schedule_activity("b")

    one = Conversation(first, always_replay=False)
    one.start()

    with pytest.raises(ForbiddenCallError, match="another orchestration shares an object"):
        Conversation(second).start()
    assert one.execution.offence is not None


def test_swallowing_the_error_changes_nothing() -> None:
    @orchestration
    async def stubborn(ctx: OrchestrationContext) -> None:
        with suppress(Exception):
            await asyncio.to_thread(print)
        await ctx.schedule_activity("a")

    talk = Conversation(stubborn)

    with pytest.raises(ForbiddenCallError, match="run_in_executor"):
        talk.start()
    assert talk.execution.take_events() == []


def test_the_first_offence_is_the_one_that_is_reported() -> None:
    @orchestration
    async def worse_and_worse(ctx: OrchestrationContext) -> None:
        for call in (lambda: asyncio.to_thread(print), lambda: asyncio.open_connection("localhost", 1)):
            with suppress(ForbiddenCallError):
                await call()

    with pytest.raises(ForbiddenCallError, match="run_in_executor"):
        Conversation(worse_and_worse).start()


def test_a_task_made_by_hand_is_refused() -> None:
    @orchestration
    async def by_hand(ctx: OrchestrationContext) -> None:
        await asyncio.Task(asyncio.sleep(1))

    with pytest.raises(ForbiddenCallError, match=r"Use asyncio.create_task"):
        Conversation(by_hand).start()


def test_an_execution_that_was_dropped_is_not_waked() -> None:
    talk, kept = parked()
    dropped(talk.stage, talk.execution)

    with pytest.raises(ForbiddenCallError):
        kept["future"].set_result(1)
