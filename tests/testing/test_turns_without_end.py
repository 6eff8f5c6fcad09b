"""An orchestration that never yields fails its test with its stack; it does not hang it."""

import threading
from contextlib import asynccontextmanager

import pytest

from perdure import HeldError, OrchestrationContext, Registry, activity, orchestration
from perdure.testing import Environment


@orchestration
async def spins(ctx: OrchestrationContext) -> None:
    number = 0
    while True:
        number += 1


@orchestration
async def quick(ctx: OrchestrationContext) -> str:
    return "done"


async def test_it_is_interrupted_and_the_error_shows_where_it_was():
    async with Environment(Registry(spins, quick), turn_limit=0.1) as env:
        with pytest.raises(HeldError, match=r"(?s)TurnLimitError.*within 0.1 s.*test_turns_without_end.py.*in spins"):
            await env.run(spins)
        assert await env.run(quick) == "done"


async def test_the_watching_ends_with_the_environment():
    threads = set(threading.enumerate())
    async with Environment(Registry(quick)) as env:
        assert await env.run(quick) == "done"
    assert [thread.name for thread in threading.enumerate() if thread not in threads] == []


async def test_an_environment_that_does_not_open_leaves_nothing_behind():
    @asynccontextmanager
    async def lifespan():
        raise ConnectionError("no pool")
        yield

    @activity
    async def act() -> None: ...

    threads = set(threading.enumerate())
    with pytest.raises(ConnectionError):
        await Environment(Registry(act, lifespan=lifespan)).__aenter__()
    assert [thread.name for thread in threading.enumerate() if thread not in threads] == []
