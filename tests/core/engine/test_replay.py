"""Replaying stored histories (B07 to B16): values come back, nothing new is asked for."""

import asyncio

import pytest
from msgspec import Raw

from perdure import OrchestrationContext, activity, orchestration
from perdure._core.stage import Stage
from perdure._events import EventRaised, Terminated
from perdure.errors import ActivityError, ActivityTimeoutError, OrchestrationError, OrchestrationTerminatedError
from tests.core.harness import Conversation, dropped, error, kinds, replayed


@activity
async def charge(cents: int) -> str:
    return f"receipt {cents}"


async def _activity(ctx):
    return await ctx.schedule_activity(charge, 5)


async def _timer(ctx):
    return await ctx.schedule_timer(5)


async def _wait(ctx):
    return await ctx.schedule_wait("approved", str)


async def _child(ctx):
    return await ctx.schedule_sub_orchestration("ship", returns=str)


VERBS = [_activity, _timer, _wait, _child]


@pytest.mark.parametrize("verb", VERBS)
def test_b07_what_is_asked_for_and_not_answered_goes_on_waiting(verb):
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        await verb(ctx)

    talk = Conversation(program)
    talk.start()

    twin = replayed(talk.stage, program, talk.history)

    assert list(twin.open) == [2]
    assert twin.take_events() == []
    assert twin.ending is None
    dropped(talk.stage, twin)


@pytest.mark.parametrize(
    ("verb", "answer", "result"),
    [
        (_activity, lambda talk: talk.complete(2, "receipt"), "receipt"),
        (_timer, lambda talk: talk.fire(2), None),
        (_wait, lambda talk: talk.raise_event("approved", "yes"), "yes"),
        (_child, lambda talk: talk.child_completed(2, "parcel"), "parcel"),
    ],
)
def test_b08_an_answer_in_history_is_handed_to_the_code_again(verb, answer, result):
    seen = []

    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        seen.append(await verb(ctx))
        await ctx.schedule_wait("never")

    talk = Conversation(program, always_replay=False)
    talk.start()
    answer(talk)
    talk.assert_live_is_replay()

    assert seen == [result, result]


@pytest.mark.parametrize(
    ("verb", "answer", "kind"),
    [
        (_activity, lambda talk: talk.fail(2), ActivityError),
        (_activity, lambda talk: talk.fail(2, timed_out=True), ActivityTimeoutError),
        (_child, lambda talk: talk.child_failed(2), OrchestrationError),
        (_child, lambda talk: talk.child_failed(2, ending="terminated"), OrchestrationTerminatedError),
    ],
)
def test_b08_a_failure_in_history_is_raised_again(verb, answer, kind):
    seen = []

    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        try:
            await verb(ctx)
        except Exception as caught:  # noqa: BLE001 - its class is what is tested
            seen.append(caught)
        await ctx.schedule_wait("never")

    talk = Conversation(program, always_replay=False)
    talk.start()
    answer(talk)
    talk.assert_live_is_replay()

    assert [type(caught) for caught in seen] == [kind, kind]
    assert [str(caught) for caught in seen] == [str(seen[0])] * 2
    assert "boom" in str(seen[0])


@orchestration
async def two_in_a_row(ctx: OrchestrationContext) -> str:
    first = await ctx.schedule_activity(charge, 1)
    second = await ctx.schedule_activity(charge, 2)
    return f"{first}, {second}"


def test_b09_two_activities_in_a_row():
    talk = Conversation(two_in_a_row)

    assert kinds(talk.start()) == ["act tests::activity::charge"]
    assert kinds(talk.complete(2, "r1")) == ["act tests::activity::charge"]
    assert kinds(talk.complete(4, "r2")) == ['done "r1, r2"']


def test_b10_activities_and_timers_after_one_another():
    @orchestration
    async def program(ctx: OrchestrationContext) -> int:
        await ctx.schedule_activity("a")
        await ctx.schedule_timer(1)
        await asyncio.sleep(1)
        return await ctx.schedule_activity("b")

    talk = Conversation(program)

    assert kinds(talk.start()) == ["act a"]
    assert kinds(talk.complete(2)) == ["tim"]
    assert kinds(talk.fire(4)) == ["tim"]
    assert kinds(talk.fire(6)) == ["act b"]
    assert kinds(talk.complete(8, 3)) == ["done 3"]


def test_b10_ten_activities_in_a_row():
    @orchestration
    async def program(ctx: OrchestrationContext) -> int:
        return sum([await ctx.schedule_activity("n", n, returns=int) for n in range(10)])

    talk = Conversation(program)
    (asked,) = talk.start()
    for n in range(10):
        (asked,) = talk.complete(asked.id, n)

    assert kinds([asked]) == ["done 45"]


def test_b11_equal_calls_get_each_its_own_result():
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[int]:
        first, second = ctx.schedule_activity("draw"), ctx.schedule_activity("draw")
        await ctx.schedule_timer(1)
        return [await first, await second]

    talk = Conversation(program)
    first, second, timer = talk.start()
    talk.complete(second.id, 2)
    talk.fire(timer.id)

    assert kinds(talk.complete(first.id, 1)) == ["done [1,2]"]


@orchestration
async def fan_out(ctx: OrchestrationContext, n: int) -> list[int]:
    return await asyncio.gather(*(ctx.schedule_activity("n", each, returns=int) for each in range(n)))


def test_b12_a_join_waits_for_all_whatever_their_order():
    talk = Conversation(fan_out)
    asked = talk.start(3)
    assert talk.complete(asked[2].id, 2) == []
    assert talk.complete(asked[0].id, 0) == []

    assert kinds(talk.complete(asked[1].id, 1)) == ["done [0,1,2]"]


def test_b12_one_failure_fails_the_join_and_gives_up_nothing_by_itself():
    talk = Conversation(fan_out)
    asked = talk.start(3)

    ended = talk.fail(asked[1].id)

    assert kinds(ended) == ["act! 2", "act! 4", "fail perdure.errors.ActivityError"]


@pytest.mark.parametrize("done", [0, 1, None])
def test_b13_a_race_with_the_first_the_second_or_none_done(done):
    @orchestration
    async def program(ctx: OrchestrationContext) -> int:
        index, _ = await ctx.select(ctx.schedule_activity("a"), ctx.schedule_activity("b"))
        return index

    talk = Conversation(program)
    asked = talk.start()
    if done is None:
        assert list(talk.execution.open) == [2, 3]
    else:
        ended = talk.complete(asked[done].id)
        assert kinds(ended) == [f"act! {asked[1 - done].id}", f"done {done}"]


def test_b14_a_join_of_1024_children_replays():
    @orchestration
    async def program(ctx: OrchestrationContext) -> int:
        results = await asyncio.gather(*(ctx.schedule_sub_orchestration("c", n, returns=int) for n in range(1024)))
        return sum(results)

    talk = Conversation(program, always_replay=False)
    children = talk.start()
    ended = []
    for child in children:
        ended = talk.child_completed(child.id, 1)
    talk.assert_live_is_replay()

    assert kinds(ended) == ["done 1024"]


def test_b15_ids_go_on_where_the_replayed_history_ends():
    talk = Conversation(two_in_a_row)
    talk.start()
    twin = replayed(talk.stage, two_in_a_row, talk.history)
    talk.drop()
    talk.execution = twin

    (second,) = talk.complete(2, "r1")

    assert second.id == 4


def test_b16_replaying_is_true_up_to_the_end_of_history_and_false_behind_it():
    seen = []

    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        for name in "abc":
            seen.append((name, ctx.is_replaying))
            await ctx.schedule_activity(name)

    talk = Conversation(program, always_replay=False)
    (a,) = talk.start()
    (b,) = talk.complete(a.id)
    twin = replayed(talk.stage, program, talk.history)
    talk.drop()
    talk.execution = twin
    talk.complete(b.id)

    assert seen == [("a", False), ("b", False), ("a", True), ("b", True), ("c", False)]


def test_every_prefix_of_a_history_replays_to_its_own_end():
    talk = Conversation(two_in_a_row)
    talk.start()
    talk.complete(2, "r1")
    talk.complete(4, "r2")
    stage = Stage()
    history = talk.history

    for end in (2, 4, 6):
        twin = replayed(stage, two_in_a_row, history[:end])
        assert twin.last_event == end
        dropped(stage, twin)


def test_a_history_that_was_terminated_replays_without_its_code():
    talk = Conversation(two_in_a_row)
    talk.start()

    history = [*talk.history, Terminated(id=3, at=talk.now, reason="enough")]

    twin = replayed(talk.stage, two_in_a_row, history)

    assert twin.last_event == 3
    assert twin.unfinished() == []
    talk.drop()


def test_an_error_keeps_what_was_recorded_of_it():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        await ctx.schedule_activity("a")

    talk = Conversation(program)
    talk.start()

    (end,) = talk.fail(2, error("card declined", "shop.CardDeclined"))

    assert end.error.type == "perdure.errors.ActivityError"
    assert "card declined" in end.error.message
    assert "shop.CardDeclined" in end.error.types


def test_which_wait_got_an_event_is_read_from_history_and_not_worked_out_again():
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[int]:
        first, second = ctx.schedule_wait("n", int), ctx.schedule_wait("n", int)
        return [await second, await first]

    talk = Conversation(program, always_replay=False)
    talk.start()
    raised = EventRaised(id=4, at=talk.now, name="n", data=Raw(b"7"), wait=3)
    twin = replayed(talk.stage, program, [*talk.history, raised])
    talk.drop()
    talk.turns.append([raised])
    talk.execution = twin

    assert kinds(talk.raise_event("n", 8)) == ["done [7,8]"]
