"""A cancelled activity that is waited for: the cancellation is raised when it has ended, and its outcome is there."""

import asyncio
import contextlib

import pytest

from perdure import ActivityError, ForbiddenCallError, OrchestrationContext, UsageError, orchestration
from tests.core.harness import Conversation, kinds


@orchestration
async def careful(ctx: OrchestrationContext) -> None:
    charging = ctx.schedule_activity("charge", on_cancel="wait", returns=str)
    try:
        await charging
    except asyncio.CancelledError as cancelled:
        ctx.set_custom_status(str(cancelled))
        if not charging.cancelled() and charging.exception() is None:
            await ctx.schedule_activity("refund", charging.result())
        raise


def test_the_cancellation_is_raised_when_the_activity_has_ended():
    talk = Conversation(careful)
    talk.start()

    assert kinds(talk.cancel("enough")) == ["act~ 2"]
    assert kinds(talk.stopped(2)) == ['status "enough"', "cancelled"]


def test_an_outcome_that_came_all_the_same_is_there_for_the_cleanup():
    talk = Conversation(careful)
    talk.start()
    talk.cancel()

    status, refund = talk.complete(2, "receipt")

    assert kinds([status, refund]) == ['status ""', "act refund"]
    assert bytes(refund.input) == b'["receipt"]'
    assert kinds(talk.complete(refund.id)) == ["cancelled"]


def test_a_failure_is_the_cause_of_the_cancellation():
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        try:
            await ctx.schedule_activity("charge", on_cancel="wait")
        except asyncio.CancelledError as cancelled:
            return type(cancelled.__cause__).__name__
        return ""

    talk = Conversation(program)
    talk.start()
    talk.cancel()

    assert kinds(talk.fail(2)) == ['done "ActivityError"']


def test_a_second_cancel_asks_no_second_time():
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        charging = ctx.schedule_activity("charge", on_cancel="wait", returns=str)
        await ctx.schedule_timer(1)
        charging.cancel()
        charging.cancel()
        assert not charging.cancelled()
        return await charging

    talk = Conversation(program)
    talk.start()

    assert kinds(talk.fire(3)) == ["act~ 2"]
    assert kinds(talk.complete(2, "receipt")) == ['done "receipt"']


def test_who_awaits_it_after_the_cancel_gets_the_outcome():
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        charging = ctx.schedule_activity("charge", on_cancel="wait")
        await ctx.schedule_timer(1)
        charging.cancel()
        try:
            return str(await charging)
        except ActivityError:
            return "failed"
        except asyncio.CancelledError:
            return "ended"

    for answer, outcome in (("fail", '"failed"'), ("stopped", '"ended"')):
        talk = Conversation(program)
        talk.start()
        talk.fire(3)
        assert kinds(getattr(talk, answer)(2)) == [f"done {outcome}"]


def test_one_that_has_ended_is_awaited_as_any_other():
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        charging = ctx.schedule_activity("charge", on_cancel="wait", returns=str)
        await ctx.schedule_timer(1)
        assert not charging.cancel()
        return await charging

    talk = Conversation(program)
    talk.start()
    talk.complete(2, "receipt")

    assert kinds(talk.fire(3)) == ['done "receipt"']


def test_without_a_cancel_it_is_like_any_other():
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        try:
            return await ctx.schedule_activity("charge", on_cancel="wait", returns=str)
        except ActivityError as error:
            return error.error.message

    talk = Conversation(program)
    talk.start()
    assert kinds(talk.complete(2, "receipt")) == ['done "receipt"']
    talk = Conversation(program)
    talk.start()
    assert kinds(talk.fail(2)) == ['done "boom"']


def test_one_that_was_not_even_written_down_leaves_no_trace():
    @orchestration
    async def program(ctx: OrchestrationContext) -> bool:
        charging = ctx.schedule_activity("charge", on_cancel="wait")
        charging.cancel()
        return charging.cancelled()

    assert kinds(Conversation(program).start()) == ["done true"]


def test_a_timeout_waits_for_the_end():
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        try:
            async with asyncio.timeout(5):
                await ctx.schedule_activity("charge", on_cancel="wait")
        except TimeoutError:
            return "too late"
        return "in time"

    talk = Conversation(program)
    talk.start()

    assert kinds(talk.fire(2)) == ["act~ 3"]
    assert kinds(talk.stopped(3)) == ['done "too late"']


def test_a_loser_of_a_select_is_asked_to_end_and_not_waited_for():
    @orchestration
    async def program(ctx: OrchestrationContext) -> int:
        index, _ = await ctx.select(ctx.schedule_activity("charge", on_cancel="wait"), ctx.schedule_timer(5))
        await ctx.schedule_timer(60)
        return index

    talk = Conversation(program)
    talk.start()

    assert kinds(talk.fire(3)) == ["act~ 2", "tim"]
    assert talk.complete(2) == []
    assert kinds(talk.fire(6)) == ["done 1"]


def test_what_is_still_waited_for_at_the_end_is_given_up():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        await ctx.select(ctx.schedule_activity("charge", on_cancel="wait"), ctx.schedule_timer(5))

    talk = Conversation(program)
    talk.start()

    assert kinds(talk.fire(3)) == ["act~ 2", "act! 2", "done null"]


def test_a_continue_as_new_waits_for_nobody():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        task = asyncio.ensure_future(ctx.schedule_activity("charge", on_cancel="wait"))
        await ctx.schedule_timer(5)
        task.add_done_callback(print)
        ctx.continue_as_new()

    talk = Conversation(program)
    talk.start()

    assert kinds(talk.fire(3)) == ["act! 2", "can"]


def test_it_can_be_dropped_while_it_is_waited_for():
    talk = Conversation(careful)
    talk.start()
    talk.cancel()

    assert talk.drop() == 0


@pytest.mark.parametrize("mistake", ["Wait", None, True])
def test_another_word_is_refused(mistake):
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        try:
            ctx.schedule_activity("charge", on_cancel=mistake)
        except UsageError as error:
            return str(error)
        return ""

    [done] = Conversation(program).start()
    assert bytes(done.output).decode() == f'"on_cancel is {mistake!r}: use one of leave, wait"'


def test_a_cancel_outside_a_turn_holds_the_instance():
    kept = []

    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        kept.append(ctx.schedule_activity("charge", on_cancel="wait"))
        await ctx.schedule_wait("go")

    talk = Conversation(program, always_replay=False)
    talk.start()
    with contextlib.suppress(ForbiddenCallError):
        kept[0].cancel()

    with pytest.raises(ForbiddenCallError, match="outside this orchestration's own turn"):
        talk.raise_event("go")
    talk.drop()
