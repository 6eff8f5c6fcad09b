"""Deleting and pruning in bulk: what matches goes, what is open stays, and nothing else is touched."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from perdure import (
    ActivityContext,
    ExternalEvent,
    InstanceNotFoundError,
    OrchestrationContext,
    Registry,
    Runtime,
    Status,
    SyncClient,
    UsageError,
    activity,
    orchestration,
)

GO = ExternalEvent[str]("go")


@orchestration(name="quick")
async def quick(ctx: OrchestrationContext, number: int) -> int:
    if number < 0:
        raise ValueError("negative")
    return number


@orchestration(name="wait")
async def wait(ctx: OrchestrationContext) -> str:
    return await ctx.schedule_wait(GO)


@orchestration(name="parent")
async def parent(ctx: OrchestrationContext) -> int:
    return await ctx.schedule_sub_orchestration(quick, 1)


@orchestration(name="leaver")
async def leaver(ctx: OrchestrationContext) -> None:
    ctx.schedule_sub_orchestration(wait, instance_id="left-behind", on_close="abandon")


@orchestration(name="rounds")
async def rounds(ctx: OrchestrationContext, left: int) -> str:
    if left:
        ctx.continue_as_new(left - 1)
    return await ctx.schedule_wait(GO)


REGISTRY = Registry(quick, wait, parent, leaver, rounds)


async def ids(runtime: Runtime, **filters) -> set[str]:
    return {each.instance_id for each in (await runtime.client.list_instances(**filters)).items}


async def finish(runtime: Runtime, *starts) -> None:
    for orchestration_, instance_id, *inputs in starts:
        handle = await runtime.client.start_orchestration(orchestration_, *inputs, instance_id=instance_id)
        await asyncio.gather(handle.result(), return_exceptions=True)


async def until_round(runtime: Runtime, instance_id: str, execution: int) -> None:
    async for status in runtime.client.get_handle(instance_id).watch():
        if status.execution_id == execution and status.version is not None:
            return


async def test_whole_trees_go_that_match_and_are_closed(url):
    async with Runtime(url, REGISTRY) as runtime:
        await finish(runtime, (quick, "a", 1), (quick, "failed", -1), (parent, "family"), (leaver, "leaver"))
        await runtime.client.start_orchestration(wait, instance_id="open")

        deletion = await runtime.client.delete_instances(status=["completed", "running", "pending"])

        assert (deletion.roots, deletion.instances, deletion.skipped) == (2, 3, 1)
        assert await ids(runtime) == {"failed", "leaver", "left-behind", "open"}
        assert await ids(runtime, name="quick") == {"failed"}


async def test_force_takes_open_ones_too(url):
    async with Runtime(url, REGISTRY) as runtime:
        await runtime.client.start_orchestration(wait, instance_id="open")
        await finish(runtime, (leaver, "leaver"), (quick, "kept", 1))
        nothing = await runtime.client.delete_instances(status="running")
        deletion = await runtime.client.delete_instances(force=True, name="wait")
        rest = await runtime.client.delete_instances(force=True, name="leaver")

        assert (nothing.roots, deletion.roots, rest.instances) == (0, 1, 2)
        assert await ids(runtime) == {"kept"}


async def test_more_than_a_page_goes(url, monkeypatch):
    monkeypatch.setattr("perdure._client.management.PAGE_MAX", 3)
    monkeypatch.setattr("perdure._client.management.ITEMS_AT_ONCE_MAX", 2)
    async with Runtime(url, REGISTRY) as runtime:
        for handle in await runtime.client.start_many(quick, [(f"i-{number}", number) for number in range(10)]):
            await handle.result()
        assert (await runtime.client.delete_instances(roots_only=True)).roots == 10
        assert await ids(runtime, limit=3) == set()


async def test_time_decides_what_is_old(url):
    async with Runtime(url, REGISTRY) as runtime:
        await finish(runtime, (quick, "a", 1))
        hour_ago = datetime.now(UTC) - timedelta(hours=1)
        assert (await runtime.client.delete_instances(updated_before=hour_ago)).roots == 0
        assert (await runtime.client.delete_instances(updated_after=hour_ago)).roots == 1


async def test_past_executions_go_while_the_current_one_runs_on(url):
    async with Runtime(url, REGISTRY) as runtime:
        handle = await runtime.client.start_orchestration(rounds, 5, instance_id="r")
        await until_round(runtime, "r", 6)

        assert await runtime.client.prune("r", keep=2) == 4
        assert [each.execution_id for each in await runtime.client.list_executions("r")] == [5, 6]
        assert await runtime.client.prune("r", before=datetime.now(UTC) + timedelta(hours=1)) == 1
        assert [event async for event in runtime.client.history("r", execution_id=1)] == []
        await runtime.client.raise_event("r", GO, "on")
        assert await handle.result() == "on"


@activity(name="tidy")
async def tidy(ctx: ActivityContext) -> int:
    return await ctx.client.prune(ctx.instance_id, keep=1)


@orchestration(name="tidier")
async def tidier(ctx: OrchestrationContext, left: int) -> list[int]:
    pruned = await ctx.schedule_activity(tidy)
    if left:
        ctx.continue_as_new(left - 1)
    return [left, pruned]


async def test_an_activity_prunes_the_instance_that_asks_for_it(url):
    async with Runtime(url, Registry(tidy, tidier)) as runtime:
        handle = await runtime.client.start_orchestration(tidier, 3, instance_id="t")
        assert await handle.result() == [0, 1]
        assert [each.execution_id for each in await runtime.client.list_executions("t")] == [4]


async def test_past_executions_of_all_that_match_go(url):
    async with Runtime(url, REGISTRY) as runtime:
        for name in ("r", "s"):
            await runtime.client.start_orchestration(rounds, 3, instance_id=name)
            await until_round(runtime, name, 4)
        await finish(runtime, (quick, "q", 1))

        assert await runtime.client.prune_instances(keep=2, status=Status.RUNNING) == 4
        assert await runtime.client.prune_instances(keep=1) == 2


async def test_what_means_nothing_is_refused(url):
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        with pytest.raises(UsageError, match="delete everything"):
            await client.delete_instances()
        with pytest.raises(UsageError, match="there is no filter 'nme'"):
            await client.delete_instances(nme="x")
        with pytest.raises(UsageError, match="say what to prune"):
            await client.prune("r")
        with pytest.raises(UsageError, match="keep is 0"):
            await client.prune_instances(keep=0)
        with pytest.raises(InstanceNotFoundError):
            await client.prune("nobody", keep=1)


async def test_the_synchronous_client_does_the_same(database):
    async with Runtime(database, REGISTRY) as runtime:
        await finish(runtime, (quick, "a", 1))
        await runtime.client.start_orchestration(rounds, 2, instance_id="r")
        await until_round(runtime, "r", 3)

        def clean():
            with SyncClient(database) as client:
                return (
                    client.delete_instances(name="quick").roots,
                    client.prune("r", keep=2),
                    client.prune_instances(keep=1),
                )

        assert await asyncio.to_thread(clean) == (1, 1, 1)
