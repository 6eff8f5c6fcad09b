"""How large an instance is: its history and its KV store, while it runs and after the end."""

import asyncio

import pytest

from perdure import (
    Client,
    ExternalEvent,
    InstanceNotFoundError,
    Key,
    OrchestrationContext,
    Registry,
    Runtime,
    SyncClient,
    orchestration,
)

GO = ExternalEvent[int]("go")
NAME = Key[str]("name")
NOTE = Key[str]("é")


@orchestration(name="grow")
async def grow(ctx: OrchestrationContext, rounds: int) -> None:
    ctx.kv.set(NAME, "Ada")
    ctx.kv.set(NOTE, "x")
    await ctx.schedule_wait(GO)
    ctx.kv.clear(NOTE)
    if rounds > 1:
        ctx.continue_as_new(rounds - 1)


REGISTRY = Registry(grow)
ONE = len(b'name"Ada"')
BOTH = ONE + len('é"x"'.encode())


async def waiting(client: Client, rounds: int = 1, executions: int = 1):
    handle = await client.start_orchestration(grow, rounds, instance_id="a")
    for number in range(executions):
        while (await client.get_sizes("a")).executions <= number:
            await asyncio.sleep(0)
        if number + 1 < executions:
            await client.raise_event("a", GO, number)
    return handle


async def test_a_running_one_and_one_that_has_ended(url):
    async with Runtime(url, Registry(grow)) as runtime:
        client = runtime.client
        handle = await waiting(client)

        running = await client.get_sizes("a")
        await client.raise_event("a", GO, 1)
        await handle.result()
        ended = await client.get_sizes("a")
        [execution] = await client.list_executions("a")

        assert (running.events, running.executions, running.kv_keys, running.kv_bytes) == (4, 1, 2, BOTH)
        assert (ended.events, ended.executions, ended.kv_keys, ended.kv_bytes) == (7, 1, 1, ONE)
        assert 0 < running.history_bytes < ended.history_bytes == ended.all_history_bytes == execution.size_bytes


async def test_all_executions_count_and_pruned_ones_do_not(url):
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        await waiting(client, rounds=3, executions=3)

        before = await client.get_sizes("a")
        await client.prune("a", keep=1)
        after = await client.get_sizes("a")

        assert (before.executions, before.events, before.all_events) == (3, 4, 18)
        assert (after.executions, after.events, after.all_events) == (1, 4, 4)
        assert after.all_history_bytes == after.history_bytes == before.history_bytes < before.all_history_bytes


async def test_one_that_has_not_begun_has_nothing_and_nobody_has_no_size(database):
    async with Client(database) as client:
        await client.start_orchestration(grow, 1, instance_id="a")
        sizes = await client.get_sizes("a")
        assert (sizes.executions, sizes.events, sizes.history_bytes, sizes.kv_keys, sizes.kv_bytes) == (0, 0, 0, 0, 0)
        with pytest.raises(InstanceNotFoundError):
            await client.get_sizes("nobody")


def test_a_program_without_an_event_loop_does_the_same(database):
    async def begin() -> None:
        async with Client(database) as client:
            await client.start_orchestration(grow, 1, instance_id="a")

    asyncio.run(begin())
    with SyncClient(database) as client:
        assert client.get_sizes("a").instance_id == "a"
