"""A move that broke off and is called again as before finds what it has begun, whatever became of it since."""

import asyncio
from datetime import UTC, datetime

import pytest

from perdure import Client, ExternalEvent, OrchestrationContext, Registry, Runtime, Status, orchestration

GO = ExternalEvent[str]("go")
EARLY = datetime(2000, 1, 1, tzinfo=UTC)


@orchestration(name="wait")
async def wait(ctx: OrchestrationContext, what: str) -> str:
    return f"{what}, then {await ctx.schedule_wait(GO)}"


@orchestration(name="leaves")
async def leaves(ctx: OrchestrationContext) -> str:
    child = ctx.schedule_sub_orchestration(wait, "child", instance_id="child")
    return f"left with {(await ctx.select2(child, ctx.schedule_wait(GO)))[1]}"


REGISTRY = Registry(leaves, wait)


@pytest.fixture
def other(tmp_path) -> str:
    return f"sqlite:///{tmp_path / 'other.db'}"


async def settled(client: Client, instance_id: str) -> None:
    """It waits."""
    while "WaitStarted" not in [event.kind async for event in client.history(instance_id)]:
        await asyncio.sleep(0)


async def began_to_move(client: Client, name: str) -> None:
    """The process of a move has died when it had suspended a child, and its parent has ended since."""
    handle = await client.start_orchestration(leaves, instance_id=name, attributes={"of": name})
    await settled(client, "child")
    await client.suspend("child", "moving to another store")
    await client.raise_event(name, GO, "nothing")
    assert await handle.result() == "left with nothing"
    assert (await client.get_status("child")).status is Status.SUSPENDED


@pytest.mark.parametrize(
    "filters",
    [
        {"status": "running"},
        {"status": ["pending", "running"], "name": "leaves"},
        {"status": "running", "root": "order"},
        {"updated_before": EARLY},
    ],
    ids=["status", "status and name", "status and root", "span"],
)
async def test_a_move_that_broke_off_goes_on_with_who_has_ended_above_what_it_suspended(database, other, filters):
    async with Runtime(database, REGISTRY) as here, Client(other) as there:
        await began_to_move(here.client, "order")
        moved = await here.client.move_instances(there, **filters)
        assert (moved.trees, moved.instances, moved.skipped) == (1, 2, 0)
        assert (await here.client.get_status("child")).status is Status.MOVED
        assert (await there.get_status("child")).status is Status.RUNNING
        assert (await there.get_status("order")).status is Status.COMPLETED


@pytest.mark.parametrize(
    "filters",
    [
        {"status": "running", "name": "wait"},
        {"status": "running", "attributes": {"of": "another"}},
        {"status": "running", "root": "another"},
    ],
    ids=["name", "attributes", "root"],
)
async def test_a_move_of_others_leaves_it_where_it_is(database, other, filters):
    async with Runtime(database, REGISTRY) as here, Client(other) as there:
        await began_to_move(here.client, "order")
        assert (await here.client.move_instances(there, **filters)).trees == 0
        assert (await here.client.get_status("child")).status is Status.SUSPENDED


async def test_a_child_whose_root_was_replaced_moves_by_itself(database, other):
    async with Runtime(database, REGISTRY) as here, Client(other) as there:
        await began_to_move(here.client, "order")
        await here.client.start_orchestration(wait, "x", instance_id="order", on_conflict="terminate_and_restart")
        await settled(here.client, "order")
        moved = await here.client.move_instances(there, status="failed")
        assert (moved.trees, moved.instances) == (1, 1)
        assert (await there.get_status("child")).status is Status.RUNNING
        assert (await here.client.get_status("order")).status is Status.RUNNING


async def test_what_has_moved_is_counted_once_when_it_is_asked_for_by_when_it_changed(database, other):
    async with Client(database) as here, Client(other) as there:
        await here.start_orchestration("wait", "x", instance_id="order")
        assert (await here.move_instances(there)).trees == 1
        assert (await here.move_instances(there, updated_after=EARLY)).skipped == 1
        assert (await here.move_instances(there, updated_before=EARLY)).skipped == 1
