"""Races (C01 to C19): live equals replay after every message (the conversation asserts it), and nothing is lost."""

import asyncio

import pytest

from perdure import ExternalEvent, OrchestrationContext, orchestration
from perdure import _events as ev
from tests.core.harness import Conversation, kinds

NUMBER = ExternalEvent[int]("n")


async def read(ctx, name="n"):
    return await ctx.schedule_wait(name)


def eager(ctx, name="n"):
    return ctx.schedule_wait(name)


ARMS = pytest.mark.parametrize("arm", [eager, read], ids=["eager", "lazy"])


def open_timer(talk):
    """The timer that is open."""
    (timer,) = (
        event for event in talk.history if isinstance(event, ev.TimerCreated) and event.id in talk.execution.open
    )
    return timer.id


@ARMS
@pytest.mark.parametrize("first", ["event", "timer"])
def test_c01_an_event_and_a_timer_in_both_orders(arm, first):
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[int | None]:
        return list(await ctx.select2(arm(ctx), ctx.schedule_timer(5)))

    talk = Conversation(program)
    talk.start()

    if first == "event":
        assert kinds(talk.raise_event("n", 7))[-1] == "done [0,7]"
    else:
        assert kinds(talk.fire(open_timer(talk)))[-1] == "done [1,null]"


@ARMS
@pytest.mark.parametrize("order", ["abc", "bca", "cab"])
def test_c02_of_several_events_the_first_wins(arm, order):
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        index, _ = await ctx.select(*(arm(ctx, name) for name in "abc"))
        await ctx.schedule_wait("end")
        return "abc"[index]

    talk = Conversation(program)
    talk.start()
    for name in order:
        talk.raise_event(name)

    assert kinds(talk.raise_event("end")) == [f'done "{order[0]}"']


def test_c03_more_work_after_the_winner_is_right_on_replay():
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[int]:
        index, _ = await ctx.select2(ctx.schedule_wait("a"), ctx.schedule_wait("b"))
        return [index, await ctx.schedule_activity("more"), await ctx.schedule_wait("a")]

    talk = Conversation(program)
    talk.start()
    _, more = talk.raise_event("b")
    talk.raise_event("a", 1)

    assert kinds(talk.complete(more.id, 5))[-1] == "done [1,5,1]"


@ARMS
@pytest.mark.parametrize("drain", [False, True])
def test_c04_c05_an_event_behind_the_timer_is_read_by_the_next_race(arm, drain):
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[int]:
        seen = []
        while len(seen) < 2:
            index, value = await ctx.select2(arm(ctx), ctx.schedule_timer(5))
            if index == 0:
                seen.append(value)
            elif drain:
                seen.append(await ctx.schedule_wait(NUMBER))
        return seen

    talk = Conversation(program)
    talk.start()
    talk.fire(open_timer(talk))
    talk.raise_event("n", 1)
    if not drain:
        talk.fire(open_timer(talk))

    assert kinds(talk.raise_event("n", 2))[-1] == "done [1,2]"


def test_c06_a_read_that_never_began_reserves_nothing():
    @orchestration
    async def program(ctx: OrchestrationContext) -> int:
        never = read(ctx)
        never.close()
        return await read(ctx)

    talk = Conversation(program)
    talk.start()

    assert kinds(talk.raise_event("n", 1)) == ["done 1"]


@ARMS
def test_c07_c08_the_loser_of_two_reads_of_one_name_leaves_the_second_event_alone(arm):
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[int]:
        index, value = await ctx.select(arm(ctx), arm(ctx))
        return [index, value, await ctx.schedule_wait(NUMBER)]

    talk = Conversation(program)
    talk.start()
    talk.raise_event("n", 1)

    assert kinds(talk.raise_event("n", 2)) == ["done [0,1,2]"]


@ARMS
def test_c08_two_reads_of_one_name_that_has_two_unread_events(arm):
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[int]:
        await ctx.schedule_timer(1)
        index, value = await ctx.select(arm(ctx), arm(ctx))
        return [index, value, await ctx.schedule_wait(NUMBER)]

    talk = Conversation(program)
    talk.start()
    talk.raise_event("n", 1)
    talk.raise_event("n", 2)

    assert kinds(talk.fire(2))[-1] == "done [0,1,2]"


@ARMS
def test_c09_names_and_a_timer_are_cancelled_independently(arm):
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[int]:
        await ctx.select(arm(ctx, "a"), arm(ctx, "b"), ctx.schedule_timer(5))
        return [await ctx.schedule_wait("a"), await ctx.schedule_wait("b")]

    talk = Conversation(program)
    talk.start()
    talk.fire(open_timer(talk))
    talk.raise_event("b", 2)

    assert kinds(talk.raise_event("a", 1))[-1] == "done [1,2]"


def test_c10_a_join_that_is_given_up_gives_back_what_it_had():
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[int]:
        await ctx.select(asyncio.gather(ctx.schedule_wait(NUMBER), ctx.schedule_wait("m")), ctx.schedule_wait("go"))
        return [await ctx.schedule_wait(NUMBER), await ctx.schedule_wait("m")]

    talk = Conversation(program)
    talk.start()
    talk.raise_event("n", 1)
    talk.raise_event("go")

    assert kinds(talk.raise_event("m", 2))[-1] == "done [1,2]"


@pytest.mark.parametrize("inner_first", [True, False])
def test_c11_nested_races(inner_first):
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[int]:
        inner = ctx.select2(ctx.schedule_wait(NUMBER), ctx.schedule_timer(5))
        arms = [inner, ctx.schedule_timer(9)]
        index, _ = await ctx.select(*(arms if inner_first else reversed(arms)))
        return [index, await ctx.schedule_wait(NUMBER)]

    talk = Conversation(program)
    asked = talk.start()
    first_to_fire = min((event for event in asked if isinstance(event, ev.TimerCreated)), key=lambda each: each.fire_at)
    talk.fire(first_to_fire.id)

    assert kinds(talk.raise_event("n", 7))[-1] == f"done [{0 if inner_first else 1},7]"


@pytest.mark.parametrize("winner", ["event", "activity", "timer", "child"])
def test_c12_a_race_of_every_kind(winner):
    @orchestration
    async def program(ctx: OrchestrationContext) -> int:
        index, _ = await ctx.select(
            ctx.schedule_wait(NUMBER),
            ctx.schedule_activity("a"),
            ctx.schedule_timer(5),
            ctx.schedule_sub_orchestration("c"),
        )
        return index

    talk = Conversation(program)
    talk.start()
    ends = {
        "event": lambda: talk.raise_event("n", 1),
        "activity": lambda: talk.complete(3),
        "timer": lambda: talk.fire(4),
        "child": lambda: talk.child_completed(5),
    }

    assert kinds(ends[winner]())[-1] == f"done {list(ends).index(winner)}"


def test_c13_fifty_events_behind_a_timer_arrive_in_order():
    @orchestration
    async def program(ctx: OrchestrationContext) -> bool:
        seen = []
        while len(seen) < 50:
            index, value = await ctx.select2(ctx.schedule_wait(NUMBER), ctx.schedule_timer(5))
            if index == 0:
                seen.append(value)
        return seen == sorted(seen)

    talk = Conversation(program, always_replay=False)
    talk.start()
    talk.fire(open_timer(talk))
    for n in range(50):
        ended = talk.raise_event("n", n)
    talk.assert_live_is_replay()

    assert kinds(ended)[-1] == "done true"


@ARMS
@pytest.mark.parametrize("events", range(4))
def test_c14_timers_that_lose_consume_nothing(arm, events):
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[int]:
        await ctx.select2(arm(ctx), ctx.schedule_timer(5))
        await ctx.select2(arm(ctx), ctx.schedule_timer(5))
        return [await ctx.schedule_wait(NUMBER) for _ in range(events)]

    talk = Conversation(program)
    talk.start()
    talk.fire(open_timer(talk))
    ended = talk.fire(open_timer(talk))
    for n in range(events):
        ended = talk.raise_event("n", n)

    assert kinds(ended)[-1] == f"done {list(range(events))}".replace(", ", ",")


def test_c15_a_wait_that_is_satisfied_as_it_is_made_and_cancelled_gives_the_event_back():
    @orchestration
    async def program(ctx: OrchestrationContext) -> int:
        await ctx.schedule_timer(1)
        ctx.schedule_wait(NUMBER).cancel()
        return await ctx.schedule_wait(NUMBER)

    talk = Conversation(program)
    talk.start()
    talk.raise_event("n", 7)

    assert kinds(talk.fire(2)) == ["wait n", "done 7"]


def test_c16_an_event_that_comes_before_its_wait_is_kept():
    @orchestration
    async def program(ctx: OrchestrationContext) -> int:
        await ctx.schedule_activity("a")
        return await ctx.schedule_wait(NUMBER)

    talk = Conversation(program)
    talk.start()
    talk.raise_event("n", 7)

    assert kinds(talk.complete(2)) == ["wait n", "done 7"]


def test_c17_late_votes_do_not_become_the_acknowledgement():
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[int]:
        deadline = ctx.schedule_timer(60)
        votes = []
        while True:
            index, vote = await ctx.select2(deadline, ctx.schedule_wait("vote"))
            if index == 0:
                break
            votes.append(vote)
            deadline = ctx.schedule_timer(60)
        return [*votes, await ctx.schedule_wait("ack")]

    talk = Conversation(program)
    talk.start()
    talk.raise_event("vote", 1)
    talk.fire(open_timer(talk))
    talk.raise_event("vote", 2)

    assert kinds(talk.raise_event("ack", 9)) == ["done [1,9]"]


def test_c18_an_event_of_another_name_wakes_nobody():
    @orchestration
    async def program(ctx: OrchestrationContext) -> int:
        held = ctx.schedule_wait(NUMBER)
        await ctx.schedule_activity("a")
        return await held

    talk = Conversation(program)
    talk.start()
    assert talk.raise_event("m", 1) == []
    assert talk.raise_event("n", 7) == []

    assert kinds(talk.complete(3)) == ["done 7"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_c19_waits_that_begin_behind_activities(order):
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[int]:
        async def arm(name):
            await ctx.schedule_activity(name)
            return await ctx.schedule_wait(NUMBER)

        index, value = await ctx.select(arm("a"), arm("b"))
        return [index, value, await ctx.schedule_wait(NUMBER)]

    talk = Conversation(program)
    asked = talk.start()
    talk.raise_event("n", 1)
    talk.complete(asked[order[0]].id)
    ended = talk.raise_event("n", 2)

    assert kinds(ended)[-1] == f"done [{order[0]},1,2]"


def test_two_arms_that_are_ready_in_one_run_do_not_both_read():
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[int]:
        gate = ctx.schedule_activity("a")

        async def arm(name):
            await gate
            return await ctx.schedule_wait(name)

        index, value = await ctx.select(arm("n"), arm("m"))
        return [index, value, await ctx.schedule_wait("m")]

    talk = Conversation(program)
    talk.start()
    talk.raise_event("n", 1)
    talk.raise_event("m", 2)

    assert kinds(talk.complete(2))[-1] == "done [0,1,2]"
