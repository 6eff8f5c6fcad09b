"""A standby takes over, or a backup is restored: what was acknowledged is there, or workers start over without it."""

import asyncio
import socket
from contextlib import AsyncExitStack, suppress
from functools import partial

import pytest

from perdure import Client, ExternalEvent, OrchestrationContext, Registry, Runtime, Status, activity, orchestration
from perdure._work import Refused
from perdure.errors import OutcomeUnknownError, StorageUnavailableError
from perdure.storage.postgres import PostgresStorage
from tests.storage.postgres.server import Server
from tests.storage.postgres.work import batch, register, start

GO = ExternalEvent[int]("go")
ORCHESTRATIONS, STEPS = 20, 10


@activity(name="add-one")
async def add_one(number: int) -> int:
    return number + 1


@orchestration(name="count-up")
async def count_up(ctx: OrchestrationContext, number: int) -> int:
    for _ in range(STEPS):
        number = await ctx.schedule_activity(add_one, number)
    return number


@orchestration(name="count-up-after")
async def count_up_after(ctx: OrchestrationContext) -> int:
    number = await ctx.schedule_wait(GO)
    return await ctx.schedule_sub_orchestration(count_up, number)


registry = Registry(add_one, count_up, count_up_after)


@pytest.fixture
def primary():
    primary = Server()
    yield primary
    primary.remove()


@pytest.fixture
def standby(primary):
    standby = Server(of=primary)
    yield standby
    standby.remove()


def both(primary, standby):
    """Where a store is that is on whichever of the two takes writes."""
    return f"postgresql://perdure@127.0.0.1:{primary.port},127.0.0.1:{standby.port}/postgres"


async def start_when_possible(client):
    while True:
        with suppress(StorageUnavailableError, OutcomeUnknownError):
            return await client.start_orchestration(count_up, 0)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def until_running(handle):
    while (await handle.status()).status is not Status.RUNNING:
        await asyncio.sleep(0)


def take_over(primary, standby):
    primary.stop()
    standby.promote()


async def test_with_synchronous_replication_nothing_is_lost_under_load(primary, standby):
    primary.replicate_synchronously()
    url = both(primary, standby)
    async with Runtime(url, registry), Client(url) as client:
        handles = [await client.start_orchestration(count_up, 0) for _ in range(ORCHESTRATIONS)]
        await asyncio.to_thread(take_over, primary, standby)
        assert await asyncio.gather(*(each.result(timeout=60) for each in handles)) == [STEPS] * ORCHESTRATIONS


def test_with_synchronous_replication_every_acknowledged_commit_is_on_the_standby(primary, standby):
    primary.replicate_synchronously()
    storage = PostgresStorage(both(primary, standby))
    worker = register(storage)
    names = [f"order-{number}" for number in range(50)]
    for name in names:
        storage.commit(batch(start(name), worker=worker))
    take_over(primary, standby)
    assert sorted(storage.get_many(names)) == sorted(names)
    assert storage.heartbeat(worker)
    # It goes on in the place that it had.
    assert not isinstance(storage.commit(batch(start("next"), worker=worker, claim=True)).outcomes[0], Refused)
    storage.close()


async def test_workers_go_on_from_what_a_standby_without_the_last_commits_has(primary, standby, caplog):
    url = both(primary, standby)
    async with Runtime(url, registry) as runtime, Client(url) as client:
        handles = [await client.start_orchestration(count_up_after) for _ in range(ORCHESTRATIONS)]
        for each in handles:
            await until_running(each)
        await asyncio.to_thread(standby.catch_up_with, primary)
        await asyncio.to_thread(standby.stop_receiving)
        # These have ended, as everybody heard, and the standby knows nothing of it.
        for each in handles:
            await each.raise_event(GO, 0)
        assert await asyncio.gather(*(each.result(timeout=60) for each in handles)) == [STEPS] * ORCHESTRATIONS
        await asyncio.to_thread(take_over, primary, standby)
        assert {(await each.status()).status for each in handles} == {Status.RUNNING}
        await runtime.client.start_orchestration(count_up, 0)
        for each in handles:
            await each.raise_event(GO, 1)
        assert await asyncio.gather(*(each.result(timeout=60) for each in handles)) == [STEPS + 1] * ORCHESTRATIONS
    assert "has forgotten commits that it had acknowledged" in caplog.text


async def test_workers_go_on_from_a_backup_that_is_restored_under_them(primary, caplog):
    async with AsyncExitStack() as exits:
        storage = PostgresStorage(primary.url())
        storage.close()
        backup = Server(of=primary, follows=False)
        exits.callback(backup.remove)
        # Nothing of what follows is in it, but for the schema; and nobody speaks to it while the other is there.
        url = both(primary, backup)
        runtime = await exits.enter_async_context(Runtime(url, registry))
        handles = [await runtime.client.start_orchestration(count_up, 0) for _ in range(ORCHESTRATIONS)]
        assert await asyncio.gather(*(each.result(timeout=60) for each in handles)) == [STEPS] * ORCHESTRATIONS
        await asyncio.to_thread(primary.stop)
        handle = await start_when_possible(runtime.client)
        assert await handle.result(timeout=60) == STEPS
    assert "starts over" in caplog.text


async def test_what_runs_while_a_backup_is_made_goes_on_from_it(primary):
    async with AsyncExitStack() as exits:
        place = await asyncio.to_thread(free_port)
        url = f"postgresql://perdure@127.0.0.1:{primary.port},127.0.0.1:{place}/postgres"
        runtime = await exits.enter_async_context(Runtime(url, registry))
        handles = [await runtime.client.start_orchestration(count_up_after) for _ in range(ORCHESTRATIONS)]
        for each in handles:
            await until_running(each)
            await each.raise_event(GO, 0)
        backup = await asyncio.to_thread(partial(Server, of=primary, follows=False, port=place))
        exits.callback(backup.remove)
        await asyncio.to_thread(primary.stop)
        assert await asyncio.gather(*(each.result(timeout=60) for each in handles)) == [STEPS] * ORCHESTRATIONS
