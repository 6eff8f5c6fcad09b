"""`select` and `select2`: one winner, and what they were given is their own."""

import asyncio

import pytest

from perdure import OrchestrationContext, orchestration
from perdure import _events as ev
from perdure.errors import ActivityError, UsageError
from tests.core.harness import Conversation, kinds


def test_the_winner_is_the_first_that_ends_whatever_its_place():
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[object]:
        return list(await ctx.select(*(ctx.schedule_activity(name) for name in "abc")))

    talk = Conversation(program)
    talk.start()

    assert kinds(talk.complete(4, "C")) == ["act! 2", "act! 3", 'done [2,"C"]']


def test_of_those_that_have_ended_already_the_first_in_their_order_wins():
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[object]:
        first, second = ctx.schedule_activity("a"), ctx.schedule_activity("b")
        await asyncio.gather(first, second)
        return [await ctx.select2(second, first), await ctx.select2(first, second)]

    talk = Conversation(program)
    talk.start()
    talk.complete(3, "B")

    assert kinds(talk.complete(2, "A")) == ['done [[0,"B"],[0,"A"]]']


def test_the_failure_of_the_winner_is_raised():
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        try:
            await ctx.select2(ctx.schedule_activity("a"), ctx.schedule_wait("e"))
        except ActivityError as failure:
            return failure.activity_name
        return ""

    talk = Conversation(program)
    talk.start()

    assert kinds(talk.fail(2)) == ["wait! 3", 'done "a"']


def test_coroutines_tasks_and_futures_race_alike():
    @orchestration
    async def program(ctx: OrchestrationContext) -> int:
        async def slow():
            await asyncio.sleep(60)

        plain = asyncio.get_running_loop().create_future()
        index, _ = await ctx.select(slow(), asyncio.create_task(slow()), plain, ctx.schedule_wait("e"))
        assert plain.cancelled()
        return index

    talk = Conversation(program)
    talk.start()

    assert kinds(talk.raise_event("e"))[-1] == "done 3"


def test_losers_unwind_in_the_same_run_behind_the_winner():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        async def slow():
            try:
                await ctx.schedule_activity("slow")
            finally:
                ctx.set_custom_status("loser")

        await ctx.select2(slow(), ctx.schedule_wait("go"))
        ctx.set_custom_status("winner")
        await ctx.schedule_wait("end")

    talk = Conversation(program)
    talk.start()

    assert kinds(talk.raise_event("go")) == ["act! 3", 'status "winner"', "wait end", 'status "loser"']


@pytest.mark.parametrize("again", ["awaited", "selected"])
def test_a_loser_that_is_handed_over_again_is_refused_with_the_line_where_it_lost(again):
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        wait = ctx.schedule_wait("e")
        await ctx.select2(wait, ctx.schedule_wait("go"))
        try:
            if again == "awaited":
                await wait
            else:
                await ctx.select2(wait, ctx.schedule_wait("go"))
        except UsageError as error:
            return str(error)
        return ""

    talk = Conversation(program)
    talk.start()

    said = kinds(talk.raise_event("go"))[-1]

    assert "was cancelled at tests/core/engine/test_select.py:" in said
    assert ("awaited" if again == "awaited" else "handed to select") in said
    assert "Ask for a new one" in said


def test_a_future_that_asyncio_cancelled_is_refused_without_a_line():
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        wait = ctx.schedule_wait("e")
        reader = asyncio.create_task(asyncio.wait_for(wait, 5))
        await asyncio.wait([reader])
        try:
            await wait
        except UsageError as error:
            return str(error)
        return ""

    talk = Conversation(program)
    timer = next(event for event in talk.start() if isinstance(event, ev.TimerCreated))

    assert "was cancelled" in kinds(talk.fire(timer.id))[-1]


@pytest.mark.parametrize("arms", [0, 1])
def test_a_race_needs_something_that_can_be_awaited(arms):
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        await ctx.select(*[5] * arms)

    (end,) = Conversation(program).start()

    assert end.error.type == "perdure.errors.UsageError"
    assert "ctx.select" in end.error.message


def test_one_future_may_run_twice():
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[object]:
        wait = ctx.schedule_wait("e")
        return list(await ctx.select(wait, wait))

    talk = Conversation(program)
    talk.start()

    assert kinds(talk.raise_event("e", 7)) == ["done [0,7]"]


def test_a_race_that_is_cancelled_gives_up_all_its_arms():
    @orchestration
    async def program(ctx: OrchestrationContext) -> int:
        async def race():
            await ctx.select2(ctx.schedule_wait("e"), ctx.schedule_activity("a"))

        task = asyncio.create_task(race())
        await ctx.schedule_wait("go")
        task.cancel()
        return await ctx.schedule_wait("e")

    talk = Conversation(program)
    talk.start()

    assert kinds(talk.raise_event("go")) == ["wait! 3", "act! 4", "wait e"]


def test_a_race_that_is_cancelled_in_the_run_in_which_it_was_won_gives_the_event_back():
    @orchestration
    async def program(ctx: OrchestrationContext) -> int:
        wait = ctx.schedule_wait("e")

        async def race():
            await ctx.select2(wait, ctx.schedule_activity("a"))

        task = asyncio.create_task(race())
        await asyncio.sleep(0)
        wait.add_done_callback(lambda _: task.cancel())
        await asyncio.wait([task])
        return await ctx.schedule_wait("e")

    talk = Conversation(program)
    talk.start()

    assert kinds(talk.raise_event("e", 7)) == ["wait! 2", "act! 3", "wait e", "done 7"]


def test_a_race_that_is_cancelled_before_it_began_leaves_nothing_behind():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        async def arm():
            await ctx.schedule_activity("a")

        async def race():
            await ctx.select2(arm(), arm())

        task = asyncio.create_task(race())
        asyncio.get_running_loop().call_soon(lambda: asyncio.get_running_loop().call_soon(task.cancel))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    assert kinds(Conversation(program).start()) == ["done null"]


def test_a_coroutine_that_never_ran_because_another_won_is_closed_without_a_warning():
    @orchestration
    async def program(ctx: OrchestrationContext) -> int:
        async def at_once():
            return 1

        async def never():
            raise AssertionError

        index, _ = await ctx.select(at_once(), never(), never())
        return index

    assert kinds(Conversation(program).start()) == ["done 0"]


def test_awaitables_of_users_own_classes_race_too():
    class Answer:
        def __await__(self):
            return asyncio.sleep(0, "mine").__await__()

    @orchestration
    async def program(ctx: OrchestrationContext) -> list[object]:
        return list(await ctx.select2(ctx.schedule_wait("e"), Answer()))

    assert kinds(Conversation(program).start()) == ['done [1,"mine"]']


def test_awaitables_of_users_own_classes_may_lose():
    class Answer:
        def __await__(self):
            return asyncio.sleep(0, "mine").__await__()

    @orchestration
    async def program(ctx: OrchestrationContext) -> int:
        done = asyncio.get_running_loop().create_future()
        done.set_result(1)
        index, _ = await ctx.select2(done, Answer())
        return index

    assert kinds(Conversation(program).start()) == ["done 0"]
