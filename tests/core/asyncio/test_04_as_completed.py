"""`asyncio.as_completed` over bare coroutines has no order; over tasks and durable futures it works."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import pytest

from perdure import OrchestrationContext, orchestration
from perdure.errors import ForbiddenCallError
from tests.core.harness import Conversation, kinds

Made = Callable[[Iterable[Coroutine[Any, Any, Any]]], Iterable[Any]]


async def step(ctx: OrchestrationContext, name: str) -> object:
    return await ctx.schedule_activity(name)


@pytest.mark.parametrize("made", [list, tuple, set, frozenset, dict.fromkeys])
def test_bare_coroutines_are_refused_with_the_cure(made: Made) -> None:
    @orchestration
    async def racing(ctx: OrchestrationContext) -> None:
        for done in asyncio.as_completed(made([step(ctx, name) for name in "abc"])):
            await done

    with pytest.raises(ForbiddenCallError, match="wrap each in asyncio.create_task"):
        Conversation(racing).start()


def test_an_iterator_of_bare_coroutines_is_refused() -> None:
    @orchestration
    async def racing(ctx: OrchestrationContext) -> None:
        for done in asyncio.as_completed(map(step, [ctx], "a")):
            await done

    with pytest.raises(ForbiddenCallError, match="as_completed over bare coroutines"):
        Conversation(racing).start()


def test_one_bare_coroutine_among_tasks_is_refused() -> None:
    @orchestration
    async def racing(ctx: OrchestrationContext) -> None:
        for done in asyncio.as_completed([asyncio.create_task(step(ctx, "a")), step(ctx, "b")]):
            await done

    with pytest.raises(ForbiddenCallError, match="as_completed over bare coroutines"):
        Conversation(racing).start()


def test_tasks_and_durable_futures_pass() -> None:
    @orchestration
    async def racing(ctx: OrchestrationContext) -> list[object]:
        asked = [asyncio.create_task(step(ctx, "a")), ctx.schedule_activity("b"), asyncio.gather(step(ctx, "c"))]
        return [await done for done in asyncio.as_completed(asked)]

    talk = Conversation(racing)
    b, a, c = talk.start()
    assert kinds([b, a, c]) == ["act b", "act a", "act c"]

    talk.complete(a.id, 1)
    talk.complete(c.id, 3)

    assert kinds(talk.complete(b.id, 2)) == ["done [1,[3],2]"]


def test_gather_of_bare_coroutines_passes() -> None:
    @orchestration
    async def gathering(ctx: OrchestrationContext) -> None:
        await asyncio.gather(*(step(ctx, name) for name in "ab"))

    assert kinds(Conversation(gathering).start()) == ["act a", "act b"]
