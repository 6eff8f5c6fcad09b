"""A test that waits for what can't come is told why: at once for missing code, by a warning for everything else."""

import asyncio
import logging

import pytest

from perdure import HeldError, OrchestrationContext, Registry, activity, orchestration
from perdure.testing import Environment, environment


@activity
async def forgotten() -> str: ...


@orchestration
async def asks(ctx: OrchestrationContext) -> str:
    return await ctx.schedule_activity(forgotten)


@orchestration
async def bears(ctx: OrchestrationContext) -> str:
    return await ctx.schedule_sub_orchestration("shop::orchestration::no-such", returns=str)


@orchestration
async def waits(ctx: OrchestrationContext) -> str:
    return await ctx.schedule_wait("approval", str)


@pytest.mark.parametrize(
    ("program", "registered", "missing"),
    [
        (asks, [asks], "activity 'tests::activity::forgotten'"),
        (bears, [bears], "orchestration 'shop::orchestration::no-such'"),
        (waits, [asks], "orchestration 'tests::orchestration::waits'"),
    ],
)
async def test_what_the_registry_lacks_is_named(program, registered, missing):
    async with Environment(Registry(*registered)) as env:
        with pytest.raises(HeldError, match=f"no live worker has {missing}"):
            await env.run(program)


async def test_one_that_lacks_its_code_keeps_no_other_from_ending():
    async with Environment(Registry(asks, waits)) as env:
        lost = await env.client.start_orchestration(asks)
        handle = await env.client.start_orchestration(waits)
        waiting = asyncio.create_task(handle.result())
        with pytest.raises(HeldError):
            await lost.result()
        await handle.raise_event("approval", "yes")
        assert await waiting == "yes"


class Heard(logging.Handler):
    """Something was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.event = asyncio.Event()

    def emit(self, _: logging.LogRecord) -> None:
        self.event.set()


@pytest.fixture
def heard():
    handler = Heard()
    logging.getLogger("perdure.testing").addHandler(handler)
    yield handler.event
    logging.getLogger("perdure.testing").removeHandler(handler)


async def test_what_only_the_test_itself_can_bring_is_told_after_a_while(caplog, monkeypatch, heard):
    monkeypatch.setattr(environment, "STANDSTILL_S", 0.01)
    async with Environment(Registry(waits)) as env:
        handle = await env.client.start_orchestration(waits, instance_id="i")
        begun = env.now
        waiting = asyncio.create_task(handle.result())
        await heard.wait()
        await handle.raise_event("approval", "yes")
        assert await waiting == "yes"
        assert env.now == begun
    line = waits.fn.__code__.co_firstlineno + 2
    assert "nothing is due, and instance 'i' (tests::orchestration::waits) waits for <external event app" in caplog.text
    assert f"asked for at tests/testing/test_what_never_comes.py:{line}, to be awaited>" in caplog.text
