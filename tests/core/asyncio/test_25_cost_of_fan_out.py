"""A fan-out costs each element the same, however many there are: counted in callbacks, not in time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from perdure import OrchestrationContext, orchestration
from perdure._core.loop import OrchestrationLoop
from tests.core.harness import Conversation

Program = Callable[[OrchestrationContext, int], Awaitable[object]]


async def gathers(ctx: OrchestrationContext, size: int) -> None:
    await asyncio.gather(*(ctx.schedule_activity("a") for _ in range(size)))


async def gathers_coroutines(ctx: OrchestrationContext, size: int) -> None:
    await asyncio.gather(*(_act(ctx) for _ in range(size)))


async def groups(ctx: OrchestrationContext, size: int) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(size):
            group.create_task(_act(ctx))


async def takes_as_completed(ctx: OrchestrationContext, size: int) -> None:
    for done in asyncio.as_completed([ctx.schedule_activity("a") for _ in range(size)]):
        await done


async def _act(ctx: OrchestrationContext) -> None:
    await ctx.schedule_activity("a")


def callbacks(program: Program, size: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many callbacks it takes to ask for `size` activities and to deliver them."""
    counted = [0]
    call_soon = OrchestrationLoop.call_soon

    def counting(self: OrchestrationLoop, *args: Any, **options: Any) -> Any:
        counted[0] += 1
        return call_soon(self, *args, **options)

    @orchestration
    async def fanning_out(ctx: OrchestrationContext, size: int) -> None:
        await program(ctx, size)

    with monkeypatch.context() as patched:
        patched.setattr(OrchestrationLoop, "call_soon", counting)
        talk = Conversation(fanning_out, always_replay=False)
        for event in talk.start(size):
            talk.complete(event.id)
    assert talk.execution.ending is not None
    return counted[0]


@pytest.mark.parametrize("program", [gathers, gathers_coroutines, groups, takes_as_completed])
def test_callbacks_grow_with_the_number_of_elements_and_no_faster(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    few, many = callbacks(program, 20, monkeypatch), callbacks(program, 200, monkeypatch)

    assert many <= 10 * few
    assert few <= 4 * 20 + 5


def test_one_turn_takes_two_callbacks_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    async def chains(ctx: OrchestrationContext, size: int) -> None:
        for _ in range(size):
            await ctx.schedule_activity("a")

    @orchestration
    async def chain(ctx: OrchestrationContext) -> None:
        await chains(ctx, 11)

    counted: list[object] = []
    call_soon = OrchestrationLoop.call_soon
    monkeypatch.setattr(
        OrchestrationLoop, "call_soon", lambda *args, **options: counted.append(1) or call_soon(*args, **options)
    )
    talk = Conversation(chain, always_replay=False)
    (event,) = talk.start()
    for _ in range(10):
        (event,) = talk.complete(event.id)

    assert len(counted) == 11
