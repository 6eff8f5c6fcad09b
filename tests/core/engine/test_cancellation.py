"""Cancelling an instance (B40, E): asyncio's cancellation, delivered once, with room for compensation."""

import asyncio
import contextlib

import pytest

from perdure import OrchestrationContext, orchestration
from perdure import _events as ev
from tests.core.harness import Conversation, kinds


@orchestration
async def patient(ctx: OrchestrationContext) -> None:
    await ctx.schedule_activity("charge")


def test_b40_a_cancel_gives_up_what_is_awaited_and_ends_it():
    talk = Conversation(patient)
    talk.start()

    assert kinds(talk.cancel("enough")) == ["act! 2", "cancelled"]
    assert talk.history[-1].reason == "enough"
    assert kinds(talk.history) == ["start", "act charge", "cancel", "act! 2", "cancelled"]


def test_b40_a_cancel_beats_an_answer_that_comes_behind_it():
    talk = Conversation(patient)
    talk.start()
    talk.cancel()

    assert talk.complete(2) == []
    assert isinstance(talk.history[-1], ev.Cancelled)


def test_b40_only_the_first_cancel_becomes_an_event():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        try:
            await ctx.schedule_activity("charge")
        finally:
            await ctx.schedule_activity("undo")

    talk = Conversation(program)
    talk.start()
    _, undo = talk.cancel("first")
    before = len(talk.history)

    assert talk.cancel("second") == []

    assert len(talk.history) == before
    assert kinds(talk.complete(undo.id)) == ["cancelled"]
    assert talk.history[-1].reason == "first"


def test_e13_the_reason_is_in_the_exception_that_the_code_sees():
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        try:
            await ctx.schedule_wait("never")
        except asyncio.CancelledError as error:
            return str(error)
        return ""

    talk = Conversation(program)
    talk.start()

    assert kinds(talk.cancel("sold out")) == ["wait! 2", 'done "sold out"']


def test_e13_cleanup_activities_run_and_what_they_raise_is_the_outcome():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        try:
            await ctx.schedule_activity("charge")
        except asyncio.CancelledError:
            await ctx.schedule_activity("refund")
            raise ValueError("refunded") from None

    talk = Conversation(program)
    talk.start()
    _, refund = talk.cancel()

    assert kinds(talk.complete(refund.id)) == ["fail ValueError"]


def test_code_that_swallows_the_cancel_and_returns_is_completed():
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await ctx.schedule_activity("charge")
        await ctx.schedule_activity("more")
        return "done"

    talk = Conversation(program)
    talk.start()
    _, more = talk.cancel()

    assert kinds(talk.complete(more.id)) == ['done "done"']


def test_a_swallowed_cancel_and_a_failing_group_give_one_outcome_on_every_python():
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await ctx.schedule_activity("charge")

        async def fails():
            raise ValueError("no")

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fails())
                await ctx.schedule_activity("more")
        except* ValueError:
            pass
        return "done"

    talk = Conversation(program)
    talk.start()

    end = talk.cancel()[-1]

    assert kinds([end]) == ['done "done"']


def test_a_cancelled_error_that_nobody_asked_for_is_a_failure():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        asyncio.current_task().cancel()
        await ctx.schedule_activity("charge")

    (end,) = Conversation(program).start()

    assert kinds([end]) == ["fail asyncio.exceptions.CancelledError"]


def test_compensation_under_a_timeout_a_group_and_a_shield_completes():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        try:
            async with asyncio.timeout(60), asyncio.TaskGroup() as group:
                group.create_task(ctx.schedule_activity("a"))
                await ctx.schedule_activity("b")
        finally:
            async with asyncio.timeout(60):
                await asyncio.shield(ctx.schedule_activity("undo"))

    talk = Conversation(program)
    talk.start()

    asked = talk.cancel()
    *_, undo = [event for event in asked if isinstance(event, ev.ActivityScheduled)]

    assert kinds(talk.complete(undo.id))[-1] == "cancelled"


def test_a_timeout_that_fired_before_the_cancel_does_not_hide_it():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        async with asyncio.timeout(5):
            try:
                await ctx.schedule_activity("slow")
            finally:
                await ctx.schedule_activity("undo")

    talk = Conversation(program)
    _, timer = sorted(talk.start(), key=lambda event: isinstance(event, ev.TimerCreated))
    talk.fire(timer.id)

    assert kinds(talk.cancel())[-1] == "cancelled"


def test_e01_children_hear_of_it():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        await asyncio.gather(*(ctx.schedule_sub_orchestration("c", n) for n in range(3)))

    talk = Conversation(program)
    talk.start()

    assert kinds(talk.cancel()) == ["sub! 2", "sub! 3", "sub! 4", "cancelled"]


def test_e02_a_cancel_after_the_end_becomes_no_event():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None: ...

    talk = Conversation(program)
    talk.start()

    assert talk.cancel() == []
    assert len(talk.history) == 2


def test_a_cancel_that_meets_an_answer_in_the_same_run_asks_for_the_next_one_and_gives_that_up():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        await ctx.schedule_activity("a")
        await ctx.schedule_activity("b")

    talk = Conversation(program)
    talk.start()
    talk.complete(2)

    assert kinds(talk.cancel()) == ["act! 4", "cancelled"]


@pytest.mark.parametrize("finish", [lambda talk, undo: talk.complete(undo.id), lambda talk, undo: talk.fail(undo.id)])
def test_a_cancel_while_the_orchestration_winds_down_changes_nothing(finish):
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        async def background():
            try:
                await ctx.schedule_wait("never")
            finally:
                with contextlib.suppress(Exception):
                    await ctx.schedule_activity("undo")

        task = asyncio.create_task(background())
        await asyncio.sleep(0)
        del task
        return "done"

    talk = Conversation(program)
    (undo,) = talk.start()

    assert talk.cancel("late") == []

    assert kinds(finish(talk, undo)) == ['done "done"']
