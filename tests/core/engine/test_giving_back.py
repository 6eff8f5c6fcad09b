"""Events that no code has seen are given back (D): to the next wait in the queue, or to their old place in it."""

import asyncio
import contextlib

import pytest

from perdure import ExternalEvent, OrchestrationContext, orchestration
from perdure import _events as ev
from perdure.errors import UsageError
from tests.core.harness import Conversation, kinds

NUMBER = ExternalEvent[int]("n")


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
    assert talk.turns[-1][0].wait == wait.id


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

    assert "cancelled at tests/core/engine/test_giving_back.py:" in kinds(talk.raise_event("go"))[-1]
