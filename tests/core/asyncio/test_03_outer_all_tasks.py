"""No task of an orchestration is among anybody's `asyncio.all_tasks()`."""

import asyncio

from perdure import OrchestrationContext, orchestration
from tests.core.harness import Conversation


def test_tasks_of_orchestrations_are_registered_nowhere() -> None:
    inside: list[int] = []

    @orchestration
    async def busy(ctx: OrchestrationContext) -> None:
        async with asyncio.TaskGroup() as group:
            for name in "abc":
                group.create_task(ctx.schedule_activity(name))
            inside.append(len(asyncio.all_tasks()))

    talk = Conversation(busy)
    talk.start()

    assert inside == [0, 0]
    assert len(talk.execution.unfinished()) == 4
    assert asyncio.all_tasks(talk.execution) == set()


async def test_an_outer_program_sees_only_its_own_tasks() -> None:
    @orchestration
    async def waiting(ctx: OrchestrationContext) -> None:
        await ctx.schedule_activity("a")

    before = asyncio.all_tasks()
    for _ in range(10):
        Conversation(waiting).start()

    assert asyncio.all_tasks() == before
