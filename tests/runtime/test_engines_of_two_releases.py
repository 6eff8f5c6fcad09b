"""Two releases on one store: what a newer engine has begun waits for a newer one, and is not tried by an older."""

import pytest

from perdure import Client, ExternalEvent, OrchestrationContext, Registry, Runtime, Status, orchestration
from perdure import _events as ev

GO = ExternalEvent[str]("go")


@orchestration(name="wait")
async def wait(ctx: OrchestrationContext, rounds: int) -> str:
    word = await ctx.schedule_wait(GO)
    if rounds:
        ctx.continue_as_new(rounds - 1)
    return word


@orchestration(name="quick")
async def quick(ctx: OrchestrationContext) -> str:
    return "done"


REGISTRY = Registry(wait, quick)


@pytest.mark.parametrize("rounds", [0, 1])
async def test_an_older_worker_leaves_alone_what_a_newer_one_has_begun(tmp_path, monkeypatch, rounds):
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    monkeypatch.setattr(ev, "MIN_READER", 2)
    async with Runtime(url, REGISTRY) as newer:
        handle = await newer.client.start_orchestration(wait, rounds, instance_id="a")
        await handle.raise_event(GO, "first")
        if not rounds:
            assert await handle.result() == "first"
            handle = await newer.client.start_orchestration(wait, rounds, instance_id="b")
        while not (await newer.client.list_executions(handle.instance_id))[-1].events:
            pass
    monkeypatch.setattr(ev, "MIN_READER", 1)
    async with Runtime(url, REGISTRY) as older:
        await older.client.raise_event(handle.instance_id, GO, "second")
        done = await older.client.start_orchestration(quick)
        assert await done.result() == "done"
        status = await older.client.get_status(handle.instance_id)
        assert (status.status, status.held_because) == (Status.RUNNING, None)
    monkeypatch.setattr(ev, "MIN_READER", 2)
    async with Runtime(url, REGISTRY) as newer:
        assert await newer.client.get_handle(handle.instance_id).result() == "second"


async def test_what_an_older_one_has_begun_goes_on_with_a_newer(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    async with Runtime(url, REGISTRY) as older:
        handle = await older.client.start_orchestration(wait, 0, instance_id="a")
        while not (await older.client.list_executions("a"))[-1].events:
            pass
    async with Client(url) as client:
        await client.raise_event("a", GO, "on")
    monkeypatch.setattr(ev, "MIN_READER", 2)
    async with Runtime(url, REGISTRY) as newer:
        assert await newer.client.get_handle(handle.instance_id).result() == "on"
