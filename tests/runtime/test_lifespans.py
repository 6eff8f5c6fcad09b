"""What a registry's lifespan yields reaches its activities, and is closed when the worker stops."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from perdure import (
    ActivityContext,
    ActivityError,
    OrchestrationContext,
    Registry,
    Runtime,
    UsageError,
    activity,
    orchestration,
)
from perdure.testing import Environment


@dataclass
class Pool:
    name: str
    log: list[str] = field(default_factory=list)


def lifespan_of(pool: Pool):
    @asynccontextmanager
    async def lifespan() -> AsyncIterator[Pool]:
        pool.log.append("open")
        yield pool
        pool.log.append("closed")

    return lifespan


@activity(name="charge")
async def charge(ctx: ActivityContext) -> str:
    pool = ctx.state(Pool)
    pool.log.append("charge")
    return pool.name


@activity(name="ship")
def ship(ctx: ActivityContext) -> str:
    return ctx.state(Pool).name


@orchestration(name="sell")
async def sell(ctx: OrchestrationContext) -> list[str]:
    return [await ctx.schedule_activity(charge), await ctx.schedule_activity(ship)]


async def test_activities_get_what_their_registrys_lifespan_yielded(url):
    bank, depot = Pool("bank"), Pool("depot")
    registry = Registry(Registry(charge, lifespan=lifespan_of(bank)), Registry(ship, lifespan=lifespan_of(depot)), sell)
    async with Runtime(url, registry) as runtime:
        handle = await runtime.client.start_orchestration(sell)
        assert await handle.result() == ["bank", "depot"]
        assert bank.log == ["open", "charge"]
    assert bank.log == ["open", "charge", "closed"]
    assert depot.log == ["open", "closed"]


async def test_a_runtime_that_opens_again_enters_them_again(database):
    bank = Pool("bank")
    runtime = Runtime(database, Registry(charge, ship, sell, lifespan=lifespan_of(bank)))
    for _ in range(2):
        async with runtime:
            await (await runtime.client.start_orchestration(sell)).result()
    assert bank.log == ["open", "charge", "closed"] * 2


async def test_the_environment_enters_them_too():
    bank = Pool("bank")
    async with Environment(Registry(charge, ship, sell, lifespan=lifespan_of(bank))) as env:
        assert await env.run(sell) == ["bank", "bank"]
    assert bank.log == ["open", "charge", "closed"]


@pytest.mark.parametrize("failure", [ConnectionError, SystemExit, KeyboardInterrupt])
async def test_a_lifespan_that_fails_keeps_the_runtime_from_opening_and_closes_the_others(database, failure):
    bank = Pool("bank")

    @asynccontextmanager
    async def broken() -> AsyncIterator[Pool]:
        raise failure("no bank today")
        yield Pool("never")

    registry = Registry(Registry(charge, lifespan=lifespan_of(bank)), Registry(ship, lifespan=broken), sell)
    runtime = Runtime(database, registry)
    with pytest.raises(failure, match="no bank today"):
        async with runtime:
            raise AssertionError
    assert bank.log == ["open", "closed"]
    with pytest.raises(UsageError, match="not open"):
        _ = runtime.client


@pytest.mark.parametrize("failure", [ConnectionError, SystemExit, KeyboardInterrupt])
async def test_a_lifespan_that_fails_at_the_end_is_heard_and_the_store_is_closed_all_the_same(database, failure):
    @asynccontextmanager
    async def clumsy() -> AsyncIterator[Pool]:
        yield Pool("bank")
        raise failure("the pool would not close")

    runtime = Runtime(database, Registry(charge, ship, sell, lifespan=clumsy))
    for _ in range(2):
        with pytest.raises(failure, match="would not close"):
            async with runtime:
                await (await runtime.client.start_orchestration(sell)).result()


async def test_an_activity_without_a_lifespan_is_told_so():
    @orchestration
    async def look(ctx: OrchestrationContext) -> str:
        try:
            return await ctx.schedule_activity(charge)
        except ActivityError as error:
            return f"{error.caused_by(UsageError)}: {error.error.message}"

    async with Environment(Registry(charge, look)) as env:
        assert "True: " in (told := await env.run(look))
        assert "charge has no state" in told
