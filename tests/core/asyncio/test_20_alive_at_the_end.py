"""Tasks alive at the end are cancelled in the order of their creation and awaited; then the outcome, then nothing."""

import asyncio

import pytest

from perdure import OrchestrationContext, orchestration
from perdure import _events as ev
from tests.core.harness import Conversation, kinds


async def releasing(ctx: OrchestrationContext, name: str) -> None:
    try:
        await ctx.schedule_activity(name)
    finally:
        await ctx.schedule_activity(f"release {name}")


def test_they_are_cancelled_in_order_and_awaited_before_the_outcome() -> None:
    @orchestration
    async def leaving(ctx: OrchestrationContext) -> str:
        kept = [asyncio.create_task(releasing(ctx, name)) for name in "ab"]
        await ctx.schedule_activity("c")
        return f"left {len(kept)}"

    talk = Conversation(leaving)
    c, a, b = talk.start()
    cancelled_a, cancelled_b, release_a, release_b = talk.complete(c.id)

    assert kinds([cancelled_a, cancelled_b]) == [f"act! {a.id}", f"act! {b.id}"]
    assert kinds([release_a, release_b]) == ["act release a", "act release b"]
    assert talk.complete(release_b.id) == []
    assert kinds(talk.complete(release_a.id)) == ['done "left 2"']


def test_what_was_ready_when_the_root_returned_still_runs() -> None:
    @orchestration
    async def leaving(ctx: OrchestrationContext) -> None:
        async def late() -> None:
            ctx.set_custom_status("late")

        asyncio.get_running_loop().call_soon(asyncio.create_task, late())

    assert kinds(Conversation(leaving).start()) == ['status "late"', "done null"]


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_nothing_is_asked_for_after_the_terminal_event(cut: int) -> None:
    @orchestration
    async def leaving(ctx: OrchestrationContext) -> None:
        kept = [asyncio.create_task(releasing(ctx, str(number))) for number in range(cut)]
        await asyncio.sleep(0)
        del kept

    talk = Conversation(leaving)
    asked = talk.start()
    while talk.execution.ending is None:
        asked = talk.complete(asked[0].id) or asked[1:]

    assert isinstance(talk.history[-1], ev.Ended)
    assert talk.cancel() == []
    assert talk.raise_event("late") == []
    assert sum(isinstance(event, ev.Ended) for event in talk.history) == 1


def test_continuing_as_new_ends_them_without_letting_them_ask() -> None:
    @orchestration
    async def again(ctx: OrchestrationContext) -> None:
        kept = asyncio.create_task(releasing(ctx, "a"))
        await ctx.schedule_activity("b")
        ctx.continue_as_new()
        del kept

    talk = Conversation(again)
    b, a = talk.start()

    assert kinds(talk.complete(b.id)) == [f"act! {a.id}", "can"]
