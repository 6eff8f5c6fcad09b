"""External events (D): a queue for each name; early ones wait, none is lost, a cancelled wait consumes none."""

import contextlib

import pytest
from msgspec import Raw

from perdure import ExternalEvent, OrchestrationContext, orchestration
from perdure import _events as ev
from perdure.errors import PayloadError
from tests.core.harness import Conversation, kinds

NUMBER = ExternalEvent[int]("n")
ONE, TWO = Raw(b"1"), Raw(b"2")


def waits_of(talk):
    """Which event went to which wait, in the order of history."""
    given = []
    for event in talk.history:
        match event:
            case ev.EventRaised(wait=int(wait)):
                given.append((event.id, wait))
            case ev.WaitStarted(took=int(took)):
                given.append((took, event.id))
            case ev.WaitCancelled(gave_to=int(heir)):
                given.append((event.gave_back, heir))
    return given


def test_d01_an_event_reaches_the_wait_that_is_open():
    @orchestration
    async def program(ctx: OrchestrationContext) -> int:
        return await ctx.schedule_wait(NUMBER)

    talk = Conversation(program)
    (wait,) = talk.start()

    assert kinds(talk.raise_event("n", 7)) == ["done 7"]
    assert waits_of(talk) == [(3, wait.id)]


def test_d01_events_that_came_early_are_read_first_in_first_out():
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[int]:
        await ctx.schedule_timer(1)
        return [await ctx.schedule_wait(NUMBER) for _ in range(3)]

    talk = Conversation(program)
    talk.start()
    for n in range(3):
        talk.raise_event("n", n)

    ended = talk.fire(2)

    assert kinds(ended) == ["wait n", "wait n", "wait n", "done [0,1,2]"]
    assert [wait.took for wait in ended[:3]] == [3, 4, 5]


def test_d01_events_that_nobody_reads_end_with_the_orchestration():
    @orchestration
    async def program(ctx: OrchestrationContext) -> int:
        await ctx.schedule_timer(1)
        return await ctx.schedule_wait(NUMBER)

    talk = Conversation(program)
    talk.start()
    talk.raise_event("n", 1)
    talk.raise_event("n", 2)

    assert kinds(talk.fire(2)) == ["wait n", "done 1"]


@pytest.mark.parametrize("unread", [0, 1, 2])
def test_d03_a_cancelled_wait_consumes_none(unread):
    @orchestration
    async def program(ctx: OrchestrationContext) -> int:
        await ctx.schedule_timer(1)
        ctx.schedule_wait(NUMBER).cancel()
        return await ctx.schedule_wait(NUMBER)

    talk = Conversation(program)
    talk.start()
    for n in range(unread):
        talk.raise_event("n", n)
    ended = talk.fire(2)
    if not unread:
        ended += talk.raise_event("n", 0)

    assert kinds(ended) == ["wait n", "done 0"]


def test_d03_a_wait_that_is_open_at_the_end_is_given_up():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        ctx.schedule_wait(NUMBER)
        await ctx.schedule_wait("go")

    talk = Conversation(program)
    talk.start()

    assert kinds(talk.raise_event("go")) == ["wait! 2", "done null"]


def test_d04_of_two_cancelled_waits_and_one_that_is_open_that_one_gets_the_event():
    @orchestration
    async def program(ctx: OrchestrationContext) -> int:
        first, second, third = (ctx.schedule_wait(NUMBER) for _ in range(3))
        await ctx.schedule_wait("go")
        first.cancel()
        second.cancel()
        return await third

    talk = Conversation(program)
    talk.start()
    talk.raise_event("go")

    assert kinds(talk.raise_event("n", 7)) == ["done 7"]
    assert waits_of(talk)[-1][1] == 4


def test_d05_a_long_mixed_run_keeps_the_order():
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[int]:
        seen = []
        for n in range(20):
            if n % 3 == 0:
                await ctx.schedule_activity("work", n)
            index, value = await ctx.select2(ctx.schedule_wait(NUMBER), ctx.schedule_timer(60))
            seen.append(value if index == 0 else -1)
        return seen

    talk = Conversation(program)
    asked = talk.start()
    sent = 0
    while not isinstance(asked[-1], ev.Completed):
        if isinstance(asked[-1], ev.ActivityScheduled):
            talk.raise_event("n", sent)
            sent += 1
            asked = talk.complete(asked[-1].id)
        elif sent % 5 == 4:
            asked = talk.fire(asked[-1].id)
            sent += 1
        else:
            asked = talk.raise_event("n", sent)
            sent += 1

    seen = [int(n) for n in bytes(asked[-1].output).decode().strip("[]").split(",")]
    read = [n for n in seen if n >= 0]
    assert len(seen) == 20
    assert read == sorted(read)


def test_d07_typed_events_arrive_as_their_type_and_others_raise_where_they_are_awaited():
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[int]:
        first = await ctx.schedule_wait(NUMBER)
        with contextlib.suppress(PayloadError):
            await ctx.schedule_wait(NUMBER)
            first = -1
        return [first, await ctx.schedule_wait("n", int)]

    talk = Conversation(program)
    talk.start()
    talk.raise_event("n", 1)
    talk.raise_event("n", "many")

    assert kinds(talk.raise_event("n", 3)) == ["done [1,3]"]


def test_d08_names_are_queues_of_their_own():
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[str]:
        first, second = ctx.schedule_wait("a"), ctx.schedule_wait("b")
        return [await second, await first]

    talk = Conversation(program)
    talk.start()
    talk.raise_event("c", "C")
    talk.raise_event("b", "B")

    assert kinds(talk.raise_event("a", "A")) == ['done ["B","A"]']


def test_d11_two_waits_get_two_events_the_first_the_first():
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[int]:
        first, second = ctx.schedule_wait(NUMBER), ctx.schedule_wait(NUMBER)
        return [await first, await second]

    talk = Conversation(program)
    talk.start()
    talk.raise_event("n", 1)

    assert kinds(talk.raise_event("n", 2)) == ["done [1,2]"]


def test_d12_an_event_after_the_end_becomes_none():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None: ...

    talk = Conversation(program)
    talk.start()

    talk.raise_event("n", 1)

    assert len(talk.history) == 2


def test_d14_two_hundred_unread_events_are_drained_in_one_run():
    @orchestration
    async def program(ctx: OrchestrationContext) -> int:
        await ctx.schedule_timer(1)
        return sum([await ctx.schedule_wait(NUMBER) for _ in range(200)])

    talk = Conversation(program, always_replay=False)
    talk.start()
    for n in range(200):
        talk.raise_event("n", n)

    assert kinds(talk.fire(2))[-1] == "done 19900"
    talk.assert_live_is_replay()


def test_d15_a_thousand_unread_events_survive_continue_as_new_in_order_across_names():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        await ctx.schedule_timer(1)
        ctx.continue_as_new()

    talk = Conversation(program, always_replay=False)
    talk.start()
    for n in range(1000):
        talk.raise_event(f"n{n % 7}", n)
    (end,) = talk.fire(2)
    talk.assert_live_is_replay()

    assert [bytes(carried.data) for carried in end.carried] == [str(n).encode() for n in range(1000)]
    assert end.carried[8].name == "n1"


def test_carried_events_are_read_before_new_ones():
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[int]:
        await ctx.schedule_timer(1)
        return [await ctx.schedule_wait(NUMBER) for _ in range(3)]

    talk = Conversation(program)
    talk.start(carried=(ev.Carried("n", ONE), ev.Carried("m", ONE), ev.Carried("n", TWO)))
    talk.raise_event("n", 3)

    ended = talk.fire(2)

    assert [wait.took for wait in ended[:3]] == [-3, -1, 3]
    assert kinds(ended)[-1] == "done [1,2,3]"


def test_a_mailbox_is_read_for_ever_also_when_a_read_is_cancelled():
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[int]:
        inbox = ctx.mailbox(NUMBER)
        seen = []
        for _ in range(3):
            index, value = await ctx.select2(anext(inbox), ctx.schedule_timer(5))
            seen.append(value if index == 0 else -1)
        async for value in inbox:
            seen.append(value)
            if value == 9:
                break
        return seen

    talk = Conversation(program)
    _, timer = talk.start()
    *_, timer = talk.fire(timer.id)
    *_, timer = talk.raise_event("n", 1)
    talk.fire(timer.id)
    talk.raise_event("n", 2)

    assert kinds(talk.raise_event("n", 9)) == ["done [-1,1,-1,2,9]"]
