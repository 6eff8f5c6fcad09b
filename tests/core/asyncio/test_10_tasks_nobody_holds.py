"""The loop holds every unfinished task: one that waits for a future that only it knows survives a collection."""

import asyncio
import gc
import sys

import pytest

from perdure import OrchestrationContext, orchestration
from tests.core.harness import Conversation, kinds


def test_a_task_that_waits_for_a_lost_future_survives() -> None:
    ended: list[str] = []

    async def lonely() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append("lonely")

    @orchestration
    async def forgetful(ctx: OrchestrationContext) -> None:
        asyncio.create_task(lonely())  # noqa: RUF006 - that nobody holds it is the point
        await ctx.schedule_activity("a")
        await ctx.schedule_activity("b")

    talk = Conversation(forgetful, always_replay=False)
    talk.start()
    gc.collect()
    talk.complete(2)

    assert ended == []
    assert len(talk.execution.unfinished()) == 2


def test_tasks_that_ended_are_let_go_of() -> None:
    held: list[int] = []

    @orchestration
    async def busy(ctx: OrchestrationContext) -> None:
        waiting = [asyncio.create_task(_wait(ctx)) for _ in range(3)]
        for _ in range(1_000):
            await asyncio.create_task(asyncio.sleep(0))
        held.append(len(asyncio.get_running_loop()._held()))  # noqa: SLF001 - what it holds is what is tested
        await asyncio.wait(waiting)

    talk = Conversation(busy, always_replay=False)
    talk.start()

    assert held[0] < 100
    assert len(talk.execution.unfinished()) == 4


def test_a_failed_task_is_held_until_somebody_looks() -> None:
    @orchestration
    async def failing(ctx: OrchestrationContext) -> None:
        asyncio.create_task(_fail())  # noqa: RUF006 - nobody looks
        for _ in range(200):
            await asyncio.create_task(asyncio.sleep(0))

    talk = Conversation(failing, always_replay=False)

    assert kinds(talk.start()) == ["done null"]
    assert len(talk.execution.warnings) == 1


async def _fail() -> None:
    raise RuntimeError("nobody looks")


async def _wait(ctx: OrchestrationContext) -> None:
    await ctx.schedule_wait("never")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
def test_an_eager_task_is_one_of_ours() -> None:
    @orchestration
    async def eager(ctx: OrchestrationContext) -> str:
        loop = asyncio.get_running_loop()
        quick = loop.create_task(asyncio.sleep(0, "quick"), eager_start=True)
        waiting = loop.create_task(_wait(ctx), eager_start=True)
        first = ctx.schedule_activity("a")
        return f"{await quick} {await first} {waiting.done()}"

    talk = Conversation(eager)

    assert kinds(talk.start()) == ["wait never", "act a"]
    assert len(talk.execution.unfinished()) == 2
    assert kinds(talk.complete(3, "A")) == ["wait! 2", 'done "quick A False"']
