"""An id that somebody's open transaction is about to take: who would take it too waits alone, and all others go on."""

from contextlib import suppress

import psycopg
import pytest

from perdure import (
    Client,
    InstanceExistsError,
    OrchestrationContext,
    Registry,
    Runtime,
    StorageBusyError,
    orchestration,
)


@orchestration(name="greet")
async def greet(ctx: OrchestrationContext, name: str) -> str:
    return f"hello {name}"


@orchestration(name="greet-by-child")
async def greet_by_child(ctx: OrchestrationContext, instance_id: str) -> str:
    return await ctx.schedule_sub_orchestration(greet, "Bob", instance_id=instance_id)


@pytest.fixture
async def runtime(url):
    async with Runtime(url, Registry(greet, greet_by_child)) as runtime:
        yield runtime


async def start_in(client, connection, instance_id):
    return await client.start_orchestration(greet, "Ada", instance_id=instance_id, connection=connection)


async def test_a_turn_that_would_start_it_waits_and_others_go_on(runtime, server):
    async with await psycopg.AsyncConnection.connect(server.url()) as connection:
        await start_in(runtime.client, connection, "taken")
        held_up = await runtime.client.start_orchestration(greet_by_child, "taken")
        for number in range(20):
            other = await runtime.client.start_orchestration(greet_by_child, f"free-{number}")
            assert await other.result(timeout=30) == "hello Bob"
        await connection.rollback()
    assert await held_up.result(timeout=30) == "hello Bob"


@pytest.mark.parametrize("has_worker", [True, False], ids=["beside a worker", "alone"])
async def test_a_start_of_it_is_told_to_try_again_and_others_land(runtime, url, server, has_worker):
    async with Client(url) as alone, await psycopg.AsyncConnection.connect(server.url()) as connection:
        client = runtime.client if has_worker else alone
        await start_in(client, connection, "taken")
        with pytest.raises(StorageBusyError, match="a transaction that is still open is about to start 'taken'"):
            await client.start_orchestration(greet, "Bob", instance_id="taken")
        other = await client.start_orchestration(greet, "Bob", instance_id="free")
        assert await other.result(timeout=30) == "hello Bob"
        await connection.commit()
        with pytest.raises(InstanceExistsError):
            await client.start_orchestration(greet, "Bob", instance_id="taken")
        assert await client.get_handle("taken", greet).result(timeout=30) == "hello Ada"


async def test_what_is_undone_up_to_a_savepoint_is_free_again(runtime, server):
    async with await psycopg.AsyncConnection.connect(server.url()) as connection:
        await connection.execute("SELECT 1")
        with suppress(ZeroDivisionError):
            async with connection.transaction():
                await start_in(runtime.client, connection, "taken")
                raise ZeroDivisionError
        handle = await runtime.client.start_orchestration(greet, "Bob", instance_id="taken")
        assert await handle.result(timeout=30) == "hello Bob"
