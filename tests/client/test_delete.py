"""Deleting: a closed instance goes with all below it, and nothing else."""

import asyncio

import pytest

from perdure import (
    ExternalEvent,
    InstanceNotFoundError,
    InstanceOpenError,
    OrchestrationContext,
    Registry,
    Runtime,
    UsageError,
    orchestration,
)

GO = ExternalEvent[str]("go")


@orchestration(name="child")
async def child(ctx: OrchestrationContext) -> str:
    return await ctx.schedule_wait(GO)


@orchestration(name="parent")
async def parent(ctx: OrchestrationContext) -> str:
    return await ctx.schedule_sub_orchestration(child, instance_id="child")


@orchestration(name="quick")
async def quick(ctx: OrchestrationContext) -> str:
    return "done"


@orchestration(name="leaver")
async def leaver(ctx: OrchestrationContext) -> None:
    ctx.schedule_sub_orchestration(child, on_close="abandon")


REGISTRY = Registry(parent, child, quick, leaver)


async def family(runtime: Runtime) -> None:
    """A parent with a child that runs."""
    await runtime.client.start_orchestration(parent, instance_id="parent")
    async for status in runtime.client.get_handle("parent").watch():
        if status.version is not None:
            break


async def test_a_closed_family_goes_as_a_whole(url):
    async with Runtime(url, REGISTRY) as runtime:
        await family(runtime)
        other = await runtime.client.start_orchestration(quick, instance_id="other")
        await other.result()
        await runtime.client.raise_event("child", GO, "on")
        assert await runtime.client.get_handle("parent", parent).result() == "on"
        with pytest.raises(UsageError, match="child"):
            await runtime.client.delete("child")
        assert await runtime.client.delete("parent") == 2
        for gone in ("parent", "child"):
            with pytest.raises(InstanceNotFoundError):
                await runtime.client.get_status(gone)
            with pytest.raises(InstanceNotFoundError):
                await runtime.client.get_handle(gone).result()
        assert await other.result() == "done"
        assert [each.instance_id for each in (await runtime.client.list_instances()).items] == ["other"]


async def test_an_open_one_needs_force(url):
    async with Runtime(url, REGISTRY) as runtime:
        await family(runtime)
        with pytest.raises(InstanceOpenError, match="has not ended \\(running\\).*force=True"):
            await runtime.client.delete("parent")
        assert await runtime.client.delete("parent", force=True) == 2
        with pytest.raises(InstanceNotFoundError):
            await runtime.client.raise_event("child", GO, "too late")


async def test_an_open_descendant_is_said_to_be_what_is_in_the_way(url):
    async with Runtime(url, REGISTRY) as runtime:
        await family(runtime)
        await runtime.client.start_orchestration(leaver, instance_id="leaver")
        await runtime.client.get_handle("leaver").result()
        with pytest.raises(InstanceOpenError, match="a descendant is open"):
            await runtime.client.delete("leaver")


async def test_an_unknown_one_is_an_error(url):
    async with Runtime(url, REGISTRY) as runtime:
        with pytest.raises(InstanceNotFoundError):
            await runtime.client.delete("nobody")


async def test_the_id_is_free_again_and_the_new_instance_is_another(url):
    async with Runtime(url, REGISTRY) as runtime:
        for _ in range(3):
            handle = await runtime.client.start_orchestration(quick, instance_id="i")
            assert await handle.result() == "done"
            assert await runtime.client.delete("i") == 1


async def test_whoever_waits_for_a_deleted_instance_is_told(url):
    async with Runtime(url, REGISTRY) as runtime:
        await family(runtime)
        waiting = asyncio.create_task(runtime.client.get_handle("parent").result(timeout=20))
        await runtime.client.get_status("parent")
        assert await runtime.client.delete("parent", force=True) == 2
        with pytest.raises(InstanceNotFoundError):
            await waiting
