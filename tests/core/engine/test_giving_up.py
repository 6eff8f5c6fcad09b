"""What is no longer wanted (B41 to B44): recorded once, at the cancel, in the order of the ids."""

import asyncio
import contextlib

import pytest

from perdure import OrchestrationContext, orchestration
from perdure import _events as ev
from perdure._core.stage import Stage
from perdure.errors import ForbiddenCallError, UsageError
from tests.core.harness import Conversation, dropped, kinds, replayed

VERBS = {
    "act!": lambda ctx: ctx.schedule_activity("a"),
    "tim!": lambda ctx: ctx.schedule_timer(60),
    "wait!": lambda ctx: ctx.schedule_wait("e"),
    "sub!": lambda ctx: ctx.schedule_sub_orchestration("c"),
}


@pytest.mark.parametrize("tag", VERBS)
def test_b41_the_loser_of_a_race_is_given_up(tag):
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        await ctx.select(VERBS[tag](ctx), ctx.schedule_wait("go"))
        await ctx.schedule_wait("end")

    talk = Conversation(program)
    loser, _ = talk.start()

    assert kinds(talk.raise_event("go")) == [f"{tag} {loser.id}", "wait end"]


def test_b41_all_losers_of_a_race_are_given_up():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        await ctx.select(*(ctx.schedule_activity(name) for name in "abc"))
        await ctx.schedule_wait("end")

    talk = Conversation(program)
    talk.start()

    assert kinds(talk.complete(3)) == ["act! 2", "act! 4", "wait end"]


@pytest.mark.parametrize("tag", VERBS)
def test_b41_a_cancel_by_the_code_gives_up(tag):
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[bool]:
        asked = VERBS[tag](ctx)
        await ctx.schedule_wait("go")
        return [asked.cancel(), asked.cancelled(), asked.cancel()]

    talk = Conversation(program)
    asked, _ = talk.start()

    assert kinds(talk.raise_event("go")) == [f"{tag} {asked.id}", "done [true,true,false]"]


def test_b41_what_is_done_is_not_given_up():
    @orchestration
    async def program(ctx: OrchestrationContext) -> bool:
        asked = ctx.schedule_activity("a")
        await asked
        return asked.cancel()

    talk = Conversation(program)
    talk.start()

    assert kinds(talk.complete(2)) == ["done false"]


def test_b41_a_future_that_nobody_holds_goes_on_waiting():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        ctx.schedule_activity("a")
        await ctx.schedule_wait("go")
        await ctx.schedule_wait("end")

    talk = Conversation(program)
    talk.start()
    talk.raise_event("go")

    assert talk.complete(2) == []
    assert kinds(talk.history)[-1] == "act+ 2"


def test_b42_a_replay_gives_up_nothing_a_second_time():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        first, second = ctx.schedule_activity("a"), ctx.schedule_activity("b")
        await ctx.schedule_wait("go")
        first.cancel()
        await ctx.schedule_wait("go")
        second.cancel()
        await ctx.schedule_wait("end")

    talk = Conversation(program)
    talk.start()
    talk.raise_event("go")
    twin = replayed(talk.stage, program, talk.history)
    talk.drop()
    talk.execution = twin

    assert twin.take_events() == []
    assert kinds(talk.raise_event("go")) == ["act! 3", "wait end"]


def test_b43_an_answer_to_what_was_given_up_becomes_no_event():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        asked = ctx.schedule_activity("a")
        await ctx.schedule_wait("go")
        asked.cancel()
        await ctx.schedule_wait("end")

    talk = Conversation(program)
    talk.start()
    talk.raise_event("go")
    before = len(talk.history)

    talk.complete(2)

    assert len(talk.history) == before


def test_b44_cancels_are_written_in_the_order_of_the_ids_that_they_cancel():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        asked = [ctx.schedule_activity(name) for name in "abc"]
        await ctx.schedule_wait("go")
        for each in reversed(asked):
            each.cancel()
        await ctx.schedule_wait("end")

    talk = Conversation(program)
    talk.start()

    assert kinds(talk.raise_event("go")) == ["act! 2", "act! 3", "act! 4", "wait end"]


def test_b44_another_order_of_the_same_cancels_is_no_mismatch():
    def program(order):
        @orchestration
        async def cancelling(ctx: OrchestrationContext) -> None:
            asked = [ctx.schedule_activity(name) for name in "abc"]
            await ctx.schedule_wait("go")
            for index in order:
                asked[index].cancel()
            await ctx.schedule_wait("end")

        return cancelling

    talk = Conversation(program([2, 0, 1]))
    talk.start()
    talk.raise_event("go")

    twin = replayed(Stage(), program([1, 2, 0]), talk.history)

    assert list(twin.open) == [10]
    dropped(talk.stage, twin)
    talk.drop()


def test_a_cancel_remembers_its_line():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        asked = ctx.schedule_activity("a")
        await ctx.schedule_wait("go")
        asked.cancel()
        await ctx.schedule_wait("end")

    talk = Conversation(program)
    talk.start()

    cancelled, wait = talk.raise_event("go")

    assert line_of(wait) - line_of(cancelled) == 1


def line_of(event):
    file, _, line = event.where.partition(":")
    assert file == "tests/core/engine/test_giving_up.py"
    return int(line)


def nothing(ctx):
    ctx.schedule_activity("a").cancel()
    ctx.schedule_timer(5).cancel()
    ctx.schedule_wait("e").cancel()
    ctx.schedule_sub_orchestration("c").cancel()


async def _timeouts(ctx):
    async with asyncio.timeout(60):
        pass
    await asyncio.wait_for(asyncio.sleep(0), 60)


async def _timeout_of_zero(ctx):
    try:
        async with asyncio.timeout(0):
            await ctx.schedule_activity("a")
    except TimeoutError:
        pass


async def _race_that_is_over(ctx):
    over = asyncio.get_running_loop().create_future()
    over.set_result(1)
    await ctx.select(ctx.schedule_activity("a"), over, ctx.schedule_wait("e"))


async def _by_hand(ctx):
    nothing(ctx)


@pytest.mark.parametrize("body", [_timeouts, _timeout_of_zero, _race_that_is_over, _by_hand])
def test_what_is_asked_for_and_given_up_in_one_run_leaves_no_trace(body):
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        await body(ctx)
        await ctx.schedule_wait("end")

    (wait,) = Conversation(program).start()

    assert kinds([wait]) == ["wait end"]
    assert wait.id == 2


def test_a_sleep_that_is_over_leaves_no_cancel():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        await asyncio.sleep(5)

    talk = Conversation(program)
    talk.start()

    assert kinds(talk.fire(2)) == ["done null"]


def test_a_timeout_that_is_not_needed_any_more_is_cancelled():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        async with asyncio.timeout(5):
            await ctx.schedule_activity("a")

    talk = Conversation(program)
    timer, act = sorted(talk.start(), key=lambda event: isinstance(event, ev.ActivityScheduled))

    assert kinds(talk.complete(act.id)) == [f"tim! {timer.id}", "done null"]


@pytest.mark.parametrize("tag", VERBS)
def test_what_was_cancelled_can_not_be_awaited(tag):
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        asked = VERBS[tag](ctx)
        asked.cancel()
        try:
            await asked
        except UsageError as error:
            return str(error)
        return ""

    assert "cancelled at tests/core/engine/test_giving_up.py:" in kinds(Conversation(program).start())[0]


@pytest.mark.parametrize("satisfied", [False, True])
def test_a_cancel_outside_a_turn_holds_the_instance(satisfied):
    kept = []

    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        kept.append(ctx.schedule_wait("e"))
        await ctx.schedule_wait("go")

    talk = Conversation(program, always_replay=False)
    talk.start()
    if satisfied:
        talk.raise_event("e")
    with contextlib.suppress(ForbiddenCallError):
        kept[0].cancel()

    with pytest.raises(ForbiddenCallError, match="outside this orchestration's own turn"):
        talk.raise_event("go")
    talk.drop()
