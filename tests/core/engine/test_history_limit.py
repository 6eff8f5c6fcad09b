"""An execution whose history is full fails with the advice to continue as new, the same live and on replay."""

import contextlib

import pytest

from perdure import OrchestrationContext, orchestration
from perdure import _events as ev
from perdure._core import context, execution
from tests.core.harness import Conversation, kinds


@pytest.fixture(autouse=True)
def low_limits(monkeypatch):
    monkeypatch.setattr(execution, "HISTORY_EVENTS_MAX", 20)
    monkeypatch.setattr(context, "HISTORY_EVENTS_HINT", 10)


@orchestration
async def endless(ctx: OrchestrationContext) -> None:
    kept = ctx.schedule_timer(60)
    while True:
        with contextlib.suppress(Exception):
            await ctx.schedule_activity("work")
        assert not kept.done()


def test_an_endless_execution_fails_at_the_limit_and_gives_up_what_is_open():
    talk = Conversation(endless)
    _, act = talk.start()
    while isinstance(act, ev.ActivityScheduled):
        *given_up, act = talk.complete(act.id)

    assert kinds([*given_up, act]) == ["tim! 2", "fail perdure.errors.LimitError"]
    assert "continue as new" in act.error.message
    assert len(talk.history) == 22
    assert talk.execution.unfinished() == []


def test_the_code_can_ask_whether_it_is_time():
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[int]:
        lengths = [ctx.history_length]
        while not ctx.should_continue_as_new:
            await ctx.schedule_activity("work")
            lengths.append(ctx.history_length)
        return lengths

    talk = Conversation(program)
    (act,) = talk.start()
    while isinstance(act, ev.ActivityScheduled):
        (act,) = talk.complete(act.id)

    assert kinds([act]) == ["done [1,3,5,7,9,11]"]


def test_what_can_not_be_taken_back_is_still_written():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        for _ in range(25):
            ctx.schedule_activity("a")
        ctx.schedule_orchestration("audit")
        await ctx.schedule_wait("end")

    assert kinds(Conversation(program).start()) == ["detach audit", "fail perdure.errors.LimitError"]


def test_an_execution_that_ends_at_the_limit_ends_as_it_is():
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        for n in range(25):
            ctx.set_custom_status(n)
        return "done"

    assert kinds(Conversation(program).start())[-1] == 'done "done"'
