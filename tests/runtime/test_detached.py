"""Detached orchestrations: started without waiting, alive on their own."""

import logging

import pytest

from perdure import ExternalEvent, OrchestrationContext, Registry, Runtime, Status, activity, orchestration
from perdure.testing import Environment

GO = ExternalEvent[int]("go")


@activity(name="note")
async def note(text: str) -> str:
    return text


@orchestration(name="actor", version="1.0.0")
async def actor(ctx: OrchestrationContext, name: str) -> str:
    return f"{name} 1 as {ctx.instance_id}"


@orchestration(name="actor", version="2.0.0")
async def actor_2(ctx: OrchestrationContext, name: str) -> str:
    return f"{name} 2 as {ctx.instance_id}"


@orchestration(name="waiting")
async def waiting(ctx: OrchestrationContext) -> int:
    return await ctx.schedule_wait(GO)


async def test_the_starter_ends_without_waiting_and_the_started_goes_on(url):
    @orchestration
    async def starter(ctx: OrchestrationContext) -> str:
        return ctx.schedule_orchestration(waiting, instance_id="detached")

    async with Runtime(url, Registry(starter, waiting)) as runtime:
        handle = await runtime.client.start_orchestration(starter)
        assert await handle.result() == "detached"
        other = runtime.client.get_handle("detached", waiting)
        await other.raise_event(GO, 7)
        assert await other.result() == 7


async def test_it_has_the_id_and_version_that_it_is_given_or_derived_ones():
    @orchestration
    async def starter(ctx: OrchestrationContext) -> list[str]:
        return [
            ctx.schedule_orchestration(actor, "a", instance_id="actor-a"),
            ctx.schedule_orchestration(actor, "b", instance_id="actor-b", version="1.0.0"),
            ctx.schedule_orchestration("actor", "c"),
        ]

    async with Environment(Registry(starter, actor, actor_2)) as env:
        handle = await env.client.start_orchestration(starter, instance_id="s")
        ids = await handle.result()
        results = [await env.client.get_handle(each, actor).result() for each in ids]
    assert ids[:2] == ["actor-a", "actor-b"]
    assert ids[2].startswith("s~")
    assert results == ["a 2 as actor-a", "b 1 as actor-b", f"c 2 as {ids[2]}"]


async def test_its_end_and_its_starters_end_do_not_touch_each_other():
    @orchestration
    async def starter(ctx: OrchestrationContext) -> str:
        ctx.schedule_orchestration(waiting, instance_id="detached")
        await ctx.schedule_wait("never")
        return ""

    async with Environment(Registry(starter, waiting)) as env:
        handle = await env.client.start_orchestration(starter)
        await env.advance(1)
        await handle.terminate()
        await env.advance(1)
        assert (await env.client.get_status("detached")).status is Status.RUNNING


async def test_a_start_followed_by_other_work_is_not_repeated_by_replay(database):
    @orchestration(name="starter")
    async def starter(ctx: OrchestrationContext) -> str:
        ctx.schedule_orchestration(actor, "a", instance_id="actor-a")
        await ctx.schedule_wait(GO)
        return await ctx.schedule_activity(note, "done")

    async with Runtime(database, Registry(starter, actor, note)) as runtime:
        await runtime.client.start_orchestration(starter, instance_id="s")
        assert await runtime.client.get_handle("actor-a", actor).result() == "a 1 as actor-a"
    async with Runtime(database, Registry(starter, actor, note)) as runtime:
        handle = runtime.client.get_handle("s", starter)
        await handle.raise_event(GO, 1)
        assert await handle.result() == "done"
        assert len((await runtime.client.list_instances(name="actor")).items) == 1


async def test_a_start_right_before_continue_as_new_still_happens():
    @orchestration(name="loop")
    async def loop(ctx: OrchestrationContext, left: int) -> int:
        ctx.schedule_orchestration(actor, f"number {left}", instance_id=f"actor-{left}")
        if left:
            ctx.continue_as_new(left - 1)
        return ctx.execution_id

    async with Environment(Registry(loop, actor)) as env:
        assert await env.run(loop, 2) == 3
        for left in (2, 1, 0):
            assert await env.client.get_handle(f"actor-{left}", actor).result() == f"number {left} 1 as actor-{left}"


async def test_a_taken_id_leaves_the_other_alone_and_is_reported(caplog: pytest.LogCaptureFixture):
    @orchestration
    async def starter(ctx: OrchestrationContext) -> str:
        return ctx.schedule_orchestration(actor, "a", instance_id="taken")

    async with Environment(Registry(starter, actor, waiting)) as env:
        other = await env.client.start_orchestration(waiting, instance_id="taken")
        with caplog.at_level(logging.WARNING, logger="perdure.runtime"):
            assert await env.run(starter) == "taken"
        assert "'taken'" in caplog.text
        await other.raise_event(GO, 3)
        assert await other.result() == 3
