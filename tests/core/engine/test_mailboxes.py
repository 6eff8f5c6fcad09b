"""External events (D): a queue for each name; early ones wait, none is lost, a cancelled wait consumes none."""

import asyncio
import contextlib

import pytest
from msgspec import Raw

from perdure import ExternalEvent, OrchestrationContext, orchestration
from perdure import _events as ev
from perdure.errors import PayloadError, UsageError
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


async def _await(wait):
    return await wait


async def _wait_for(wait):
    return await asyncio.wait_for(wait, 60)


async def _timeout(wait):
    async with asyncio.timeout(60):
        return await wait


async def _in_a_group(wait):
    async with asyncio.TaskGroup() as group:
        return await group.create_task(_await(wait))


READERS = [_await, _timeout, _in_a_group]


@pytest.mark.parametrize("read", READERS)
def test_an_event_whose_reader_is_cancelled_in_the_run_in_which_it_came_is_unread_again(read):
    @orchestration
    async def program(ctx: OrchestrationContext) -> int:
        wait = ctx.schedule_wait(NUMBER)
        reader = asyncio.create_task(read(wait))
        wait.add_done_callback(lambda _: reader.cancel())
        await asyncio.wait([reader])
        assert reader.cancelled()
        return await ctx.schedule_wait(NUMBER)

    talk = Conversation(program)
    wait = next(event for event in talk.start() if isinstance(event, ev.WaitStarted))

    ended = talk.raise_event("n", 7)

    back, again = (event for event in ended if isinstance(event, ev.WaitCancelled | ev.WaitStarted))
    event_id = talk.turns[1][0].id
    assert (back.source, back.gave_back, back.gave_to) == (wait.id, event_id, None)
    assert again.took == event_id
    assert kinds(ended)[-1] == "done 7"


def test_wait_for_keeps_the_event_or_gives_it_back():
    @orchestration
    async def program(ctx: OrchestrationContext) -> int:
        wait = ctx.schedule_wait(NUMBER)
        reader = asyncio.create_task(_wait_for(wait))
        wait.add_done_callback(lambda _: reader.cancel())
        await asyncio.wait([reader])
        # Python 3.11 hands the value over although it was cancelled.
        return await ctx.schedule_wait(NUMBER) if reader.cancelled() else reader.result()

    talk = Conversation(program)
    talk.start()

    assert kinds(talk.raise_event("n", 7))[-1] == "done 7"


def test_an_event_that_is_given_back_goes_to_the_next_wait_in_the_queue():
    @orchestration
    async def program(ctx: OrchestrationContext) -> int:
        first, second = ctx.schedule_wait(NUMBER), ctx.schedule_wait(NUMBER)
        reader = asyncio.create_task(_await(first))
        first.add_done_callback(lambda _: reader.cancel())
        return await second

    talk = Conversation(program)
    first, second = talk.start()

    back, end = talk.raise_event("n", 7)

    assert (back.source, back.gave_back, back.gave_to) == (first.id, 4, second.id)
    assert kinds([end]) == ["done 7"]


def test_an_event_that_is_given_back_goes_to_a_wait_of_the_same_run():
    @orchestration
    async def program(ctx: OrchestrationContext) -> int:
        first = ctx.schedule_wait(NUMBER)
        reader = asyncio.create_task(_await(first))
        later = []

        def cancel(_: object) -> None:
            later.append(ctx.schedule_wait(NUMBER))
            reader.cancel()

        first.add_done_callback(cancel)
        await asyncio.wait([reader])
        return await later[0]

    talk = Conversation(program)
    talk.start()

    back, wait, end = talk.raise_event("n", 7)

    assert (back.gave_back, back.gave_to, wait.took) == (3, None, 3)
    assert kinds([end]) == ["done 7"]


def test_an_event_that_passed_through_many_hands_is_read_once():
    @orchestration
    async def program(ctx: OrchestrationContext) -> int:
        waits = [ctx.schedule_wait(NUMBER) for _ in range(4)]
        for wait in waits[:3]:
            reader = asyncio.create_task(_await(wait))
            wait.add_done_callback(lambda _, reader=reader: reader.cancel())
        return await waits[3]

    talk = Conversation(program)
    talk.start()

    ended = talk.raise_event("n", 7)

    assert kinds(ended) == ["wait! 2", "wait! 3", "wait! 4", "done 7"]
    assert [event.gave_to for event in ended[:3]] == [3, 4, 5]


def test_an_event_goes_back_to_its_old_place():
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[int]:
        await ctx.schedule_timer(1)
        first, second = ctx.schedule_wait(NUMBER), ctx.schedule_wait(NUMBER)
        second.cancel()
        first.cancel()
        return [await ctx.schedule_wait(NUMBER) for _ in range(3)]

    talk = Conversation(program)
    talk.start()
    for n in range(3):
        talk.raise_event("n", n)

    assert kinds(talk.fire(2))[-1] == "done [0,1,2]"


def test_an_event_that_the_wait_got_turns_ago_and_nobody_saw_can_be_given_back():
    @orchestration
    async def program(ctx: OrchestrationContext) -> int:
        wait = ctx.schedule_wait(NUMBER)
        await ctx.schedule_wait("go")
        assert wait.done()
        assert wait.cancel()
        assert wait.cancelled()
        with pytest.raises(asyncio.CancelledError):
            wait.result()
        with pytest.raises(asyncio.CancelledError):
            wait.exception()
        assert not wait.cancel()
        return await ctx.schedule_wait(NUMBER)

    talk = Conversation(program)
    wait, _ = talk.start()
    talk.raise_event("n", 7)

    back, again, end = talk.raise_event("go")

    assert (back.source, back.gave_back, again.took) == (wait.id, 4, 4)
    assert kinds([end]) == ["done 7"]


def test_an_event_that_code_has_seen_is_not_given_back():
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[bool]:
        wait = ctx.schedule_wait(NUMBER)
        await wait
        return [wait.cancel(), wait.cancelled(), await wait == wait.result()]

    talk = Conversation(program)
    talk.start()

    assert kinds(talk.raise_event("n", 7)) == ["done [false,false,true]"]


@pytest.mark.parametrize("cancelled", [0, 1])
def test_of_two_readers_of_one_wait_one_may_be_cancelled(cancelled):
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[int]:
        wait = ctx.schedule_wait(NUMBER)
        readers = [asyncio.create_task(_await(wait)) for _ in range(2)]
        wait.add_done_callback(lambda _: readers[cancelled].cancel())
        await asyncio.wait(readers)
        return [reader.result() for reader in readers if not reader.cancelled()]

    talk = Conversation(program)
    talk.start()

    ended = talk.raise_event("n", 7)

    assert kinds(ended)[-1] in {"done [7]", "done [7,7]"}
    assert not any(isinstance(event, ev.WaitCancelled) for event in ended)


def test_a_reader_that_is_cancelled_before_the_event_came_gives_up_the_wait():
    @orchestration
    async def program(ctx: OrchestrationContext) -> int:
        reader = asyncio.create_task(_await(ctx.schedule_wait(NUMBER)))
        await ctx.schedule_wait("go")
        reader.cancel()
        return await ctx.schedule_wait(NUMBER)

    talk = Conversation(program)
    talk.start()
    talk.raise_event("go")

    assert kinds(talk.raise_event("n", 7)) == ["done 7"]


def test_data_that_can_not_be_read_is_given_back_too_when_nobody_saw_it():
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        wait = ctx.schedule_wait(NUMBER)
        reader = asyncio.create_task(_await(wait))
        wait.add_done_callback(lambda _: reader.cancel())
        await asyncio.wait([reader])
        return await ctx.schedule_wait("n", str)

    talk = Conversation(program)
    talk.start()

    assert kinds(talk.raise_event("n", "many"))[-1] == 'done "many"'


def test_a_shielded_wait_goes_on():
    @orchestration
    async def program(ctx: OrchestrationContext) -> int:
        wait = ctx.schedule_wait(NUMBER)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(wait), 5)
        return await wait

    talk = Conversation(program)
    wait, timer = sorted(talk.start(), key=lambda event: isinstance(event, ev.TimerCreated))
    assert talk.fire(timer.id) == []

    assert kinds(talk.raise_event("n", 7)) == ["done 7"]
    assert waits_of(talk)[-1][1] == wait.id


def test_a_gather_that_is_cancelled_gives_back_what_nobody_saw():
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[int]:
        both = asyncio.gather(ctx.schedule_wait(NUMBER), ctx.schedule_wait("m"))
        await ctx.schedule_wait("go")
        both.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await both
        return [await ctx.schedule_wait(NUMBER), await ctx.schedule_wait("m")]

    talk = Conversation(program)
    talk.start()
    talk.raise_event("n", 1)
    talk.raise_event("go")

    assert kinds(talk.raise_event("m", 2))[-1] == "done [1,2]"


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


def test_a_wait_that_was_given_back_can_not_be_awaited_again():
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        wait = ctx.schedule_wait(NUMBER)
        await ctx.schedule_wait("go")
        wait.cancel()
        try:
            await wait
        except UsageError as error:
            return str(error)
        return ""

    talk = Conversation(program)
    talk.start()
    talk.raise_event("n", 1)

    assert "cancelled at tests/core/engine/test_mailboxes.py:" in kinds(talk.raise_event("go"))[-1]
