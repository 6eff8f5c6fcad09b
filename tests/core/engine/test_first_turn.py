"""What a new execution asks for in its first turn (B01 to B06)."""

import asyncio
from datetime import timedelta

import pytest

from perdure import OrchestrationContext, orchestration
from tests.core.harness import START_US, Conversation, kinds, started


def test_b01_returning_at_once_leaves_only_the_end():
    @orchestration
    async def at_once(ctx: OrchestrationContext) -> int:
        return 7

    talk = Conversation(at_once)

    assert kinds(talk.start()) == ["done 7"]
    assert talk.execution.ending is talk.history[-1]


def test_b01_raising_at_once_leaves_only_the_end():
    @orchestration
    async def at_once(ctx: OrchestrationContext) -> int:
        raise ValueError("no such order")

    (end,) = Conversation(at_once).start()

    assert kinds([end]) == ["fail ValueError"]
    assert end.error.message == "no such order"
    assert "no such order" in end.error.traceback


async def _activity(ctx):
    await ctx.schedule_activity("charge")


async def _timer(ctx):
    await ctx.schedule_timer(5)


async def _sleep(ctx):
    await asyncio.sleep(5)


async def _wait(ctx):
    await ctx.schedule_wait("approved")


async def _child(ctx):
    await ctx.schedule_sub_orchestration("ship")


async def _detached(ctx):
    ctx.schedule_orchestration("audit")
    await ctx.schedule_wait("approved")


async def _event(ctx):
    ctx.raise_event("order-8", "paid")
    await ctx.schedule_wait("approved")


async def _status(ctx):
    ctx.set_custom_status("charging")
    await ctx.schedule_wait("approved")


@pytest.mark.parametrize(
    ("verb", "asked"),
    [
        (_activity, "act charge"),
        (_timer, "tim"),
        (_sleep, "tim"),
        (_wait, "wait approved"),
        (_child, "sub ship"),
        (_detached, "detach audit"),
        (_event, "send paid"),
        (_status, 'status "charging"'),
    ],
)
def test_b02_each_verb_writes_one_event_of_its_kind_with_the_next_id(verb, asked):
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        await verb(ctx)

    first, *_ = Conversation(program).start()

    assert kinds([first]) == [asked]
    assert first.id == 2


def test_b03_what_one_turn_asks_for_is_written_in_call_order_with_dense_ids():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        waiting = [
            ctx.schedule_timer(timedelta(seconds=5)),
            ctx.schedule_activity("charge"),
            ctx.schedule_wait("approved"),
            ctx.schedule_sub_orchestration("ship"),
        ]
        ctx.set_custom_status(1)
        ctx.schedule_orchestration("audit")
        ctx.raise_event("order-8", "paid", None)
        await asyncio.gather(*waiting)

    asked = Conversation(program).start()

    assert kinds(asked) == ["tim", "act charge", "wait approved", "sub ship", "status 1", "detach audit", "send paid"]
    assert [event.id for event in asked] == [2, 3, 4, 5, 6, 7, 8]
    assert asked[0].fire_at == START_US + 5_000_000


def test_b04_what_was_asked_for_in_the_run_that_ends_it_is_never_begun():
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        ctx.schedule_activity("charge")
        ctx.schedule_timer(5)
        ctx.schedule_wait("approved")
        ctx.schedule_sub_orchestration("ship")
        return "done"

    assert kinds(Conversation(program).start()) == ['done "done"']


def test_b05_continuing_as_new_at_once_leaves_only_that():
    @orchestration
    async def program(ctx: OrchestrationContext, n: int) -> None:
        ctx.continue_as_new(n + 1)

    (end,) = Conversation(program).start(1)

    assert kinds([end]) == ["can"]
    assert bytes(end.input) == b"[2]"


def test_b05_a_child_asked_for_in_the_run_that_continues_as_new_is_never_begun():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        ctx.schedule_sub_orchestration("ship")
        ctx.continue_as_new()

    assert kinds(Conversation(program).start()) == ["can"]


def test_b06_the_code_is_begun_once_for_the_live_run_and_once_for_each_replay():
    begun = []

    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        begun.append(ctx.is_replaying)
        await ctx.schedule_activity("a")
        await ctx.schedule_activity("b")

    talk = Conversation(program, always_replay=False)
    (a,) = talk.start()
    (b,) = talk.complete(a.id)
    talk.complete(b.id)
    talk.assert_live_is_replay()

    assert begun == [False, True]


def test_the_start_event_says_which_python_ran_it():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        return None

    start = started(program)

    assert start.python.count(".") == 2
    assert start.min_reader == 1
