"""Versions side by side: who runs what, policies, aliases, and workers that only have some of them."""

import asyncio

import pytest

from perdure import ExternalEvent, OrchestrationContext, Registry, Runtime, Status, UsageError, activity, orchestration
from perdure.testing import Environment

GO = ExternalEvent[str]("go")


@activity(name="note")
async def note(text: str) -> str:
    return text


@orchestration(name="ship", version="1.0.0")
async def ship_1(ctx: OrchestrationContext) -> str:
    await ctx.schedule_wait(GO)
    return await ctx.schedule_activity(note, f"1 as {ctx.version}")


@orchestration(name="ship", version="1.2.0")
async def ship_12(ctx: OrchestrationContext) -> str:
    first = await ctx.schedule_activity(note, f"1.2 as {ctx.version}")
    await ctx.schedule_wait(GO)
    return first


@orchestration(name="ship", version="1.10.0-rc.1")
async def ship_110(ctx: OrchestrationContext) -> str:
    return f"1.10 as {ctx.version}"


async def test_the_latest_is_chosen_by_semver_and_not_by_text():
    async with Environment(Registry(ship_110, ship_1, ship_12, note)) as env:
        handle = await env.client.start_orchestration(ship_1)
        assert await handle.result() == "1.10 as 1.10.0-rc.1"


async def test_an_exact_version_is_run_when_it_is_asked_for():
    async with Environment(Registry(ship_1, ship_12, ship_110, note)) as env:
        one = await env.client.start_orchestration(ship_110, version="1.0.0")
        two = await env.client.start_orchestration("ship", returns=str, version="1.2.0")
        for handle in (one, two):
            await handle.raise_event(GO, "")
        assert [await one.result(), await two.result()] == ["1 as 1.0.0", "1.2 as 1.2.0"]
        assert (await one.status()).version == "1.0.0"


async def test_a_policy_pins_the_version_of_new_executions():
    async with Environment(Registry(ship_1, ship_12, note, version_policy={"ship": "1.0.0"})) as env:
        handle = await env.client.start_orchestration(ship_12)
        await handle.raise_event(GO, "")
        assert await handle.result() == "1 as 1.0.0"


async def test_a_version_that_is_none_is_refused():
    async with Environment(Registry(ship_1, note)) as env:
        with pytest.raises(UsageError, match="1.x"):
            await env.client.start_orchestration(ship_1, version="1.x")


async def test_an_execution_keeps_the_version_that_it_started_with(database):
    async with Runtime(database, Registry(ship_1, note)) as runtime:
        handle = await runtime.client.start_orchestration(ship_1, instance_id="old")
        async for status in handle.watch():
            if status.version == "1.0.0":
                break
    async with Runtime(database, Registry(ship_1, ship_12, note)) as runtime:
        old = runtime.client.get_handle("old", ship_1)
        new = await runtime.client.start_orchestration(ship_1, instance_id="new")
        for handle in (old, new):
            await handle.raise_event(GO, "")
        assert [await old.result(), await new.result()] == ["1 as 1.0.0", "1.2 as 1.2.0"]


async def test_a_former_name_finds_the_orchestration(database):
    @orchestration(name="shop::ship", version="1.0.0", aliases=("ship",))
    async def renamed(ctx: OrchestrationContext) -> str:
        await ctx.schedule_wait(GO)
        return await ctx.schedule_activity(note, f"1 as {ctx.version}")

    async with Runtime(database, Registry(ship_1, note)) as runtime:
        handle = await runtime.client.start_orchestration(ship_1, instance_id="old")
        async for status in handle.watch():
            if status.status is Status.RUNNING:
                break
    async with Runtime(database, Registry(renamed, note)) as runtime:
        old = runtime.client.get_handle("old", renamed)
        new = await runtime.client.start_orchestration("ship", returns=str)
        for handle in (old, new):
            await handle.raise_event(GO, "")
        assert [await old.result(), await new.result()] == ["1 as 1.0.0", "1 as 1.0.0"]


async def test_two_workers_on_one_file_each_run_the_versions_they_have(database):
    @orchestration(name="which", version="1.0.0")
    async def which_1(ctx: OrchestrationContext) -> str:
        return "one"

    @orchestration(name="which", version="2.0.0")
    async def which_2(ctx: OrchestrationContext) -> str:
        return "two"

    async with Runtime(database, Registry(which_1)) as first, Runtime(database, Registry(which_2)) as second:
        handles = [
            await runtime.client.start_orchestration("which", returns=str, version=version)
            for runtime in (first, second)
            for version in ("1.0.0", "2.0.0")
        ]
        assert await asyncio.gather(*(handle.result() for handle in handles)) == ["one", "two", "one", "two"]
