"""anyio works in orchestrations: task groups, cancel scopes, sleeping."""

import math

import anyio

from perdure import OrchestrationContext, orchestration
from perdure._core.loop import INSTANT_US_MAX
from tests.core.harness import START_US, Conversation, kinds


def test_a_task_group_runs_its_children() -> None:
    @orchestration
    async def grouping(ctx: OrchestrationContext) -> list[str]:
        done: list[str] = []

        async def child(name: str) -> None:
            done.append(await ctx.schedule_activity(name))

        async with anyio.create_task_group() as group:
            for name in "ab":
                group.start_soon(child, name)
        return done

    talk = Conversation(grouping)
    assert kinds(talk.start()) == ["act a", "act b"]
    talk.complete(3, "B")

    assert kinds(talk.complete(2, "A")) == ['done ["B","A"]']


def test_a_scope_that_is_cancelled_gives_up_its_activities() -> None:
    @orchestration
    async def racing(ctx: OrchestrationContext) -> str:
        async def winner() -> None:
            await ctx.schedule_activity("a")
            group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(winner)
            for name in "bc":
                group.start_soon(waiting, ctx, name)
        return "over"

    async def waiting(ctx: OrchestrationContext, name: str) -> None:
        await ctx.schedule_activity(name)

    talk = Conversation(racing, always_replay=False)
    talk.start()

    assert kinds(talk.complete(2)) == ["act! 3", "act! 4", 'done "over"']


def test_move_on_after_is_a_durable_timer() -> None:
    @orchestration
    async def hurrying(ctx: OrchestrationContext) -> str:
        with anyio.move_on_after(5):
            return await ctx.schedule_activity("slow")
        return "late"

    talk = Conversation(hurrying)
    assert kinds(talk.start()) == ["tim", "act slow"]

    assert kinds(talk.fire(2)) == ["act! 3", 'done "late"']


def test_sleep_is_a_durable_timer() -> None:
    @orchestration
    async def sleeping(ctx: OrchestrationContext) -> None:
        await anyio.sleep(2)

    talk = Conversation(sleeping)
    (timer,) = talk.start()

    assert timer.fire_at == START_US + 2_000_000
    assert kinds(talk.fire(timer.id)) == ["done null"]


def test_sleeping_for_ever_ends_with_the_calendar() -> None:
    @orchestration
    async def sleeping(ctx: OrchestrationContext) -> None:
        await anyio.sleep(math.inf)

    (timer,) = Conversation(sleeping).start()

    assert timer.fire_at == INSTANT_US_MAX


def test_it_finds_asyncios_current_task() -> None:
    @orchestration
    async def asking(ctx: OrchestrationContext) -> str:
        return anyio.get_current_task().name

    assert kinds(Conversation(asking).start()) == ['done "root"']
