"""What a person has suspended stays so when it moves to another store, and its activities do as after any suspend."""

import asyncio

import pytest

from perdure import (
    ActivityContext,
    Client,
    ExternalEvent,
    OrchestrationContext,
    Registry,
    Runtime,
    Status,
    activity,
    orchestration,
)
from perdure import _work as work
from perdure._client import EngineClient
from perdure._client.gateway import ThreadGateway
from perdure._ports import SystemClock, SystemEntropy
from perdure.errors import StorageUnavailableError
from perdure.storage.memory import MemoryStorage

GO = ExternalEvent[str]("go")

charged: list[str] = []
gates: list[asyncio.Event] = []


@activity(name="charge")
async def charge(ctx: ActivityContext, what: str) -> None:
    charged.append(what)
    if what == "slow" and len(charged) == 1:
        await gates[0].wait()


@orchestration(name="order")
async def order(ctx: OrchestrationContext, what: str) -> str:
    await ctx.schedule_activity(charge, what)
    return await ctx.schedule_wait(GO)


@orchestration(name="parent")
async def parent(ctx: OrchestrationContext) -> None:
    await asyncio.gather(*(ctx.schedule_sub_orchestration(order, f"child {number}") for number in range(3)))


REGISTRY = Registry(charge, order, parent)


@pytest.fixture(autouse=True)
def _fresh():
    charged.clear()
    gates[:] = [asyncio.Event()]


@pytest.fixture
def other(tmp_path) -> str:
    return f"sqlite:///{tmp_path / 'other.db'}"


async def have_charged(count: int) -> None:
    while len(charged) < count:
        await asyncio.sleep(0)


async def how(client: Client, instance_id: str) -> tuple[Status, str | None]:
    status = await client.get_status(instance_id)
    return status.status, status.held_because


@pytest.mark.parametrize("reason", ["audit", ""])
async def test_it_stays_suspended_for_the_reason_that_was_given(database, other, reason):
    async with Runtime(database, REGISTRY) as here, Client(other) as there:
        await here.client.start_orchestration(order, "one", instance_id="order")
        await have_charged(1)
        await here.client.suspend("order", reason)

        await here.client.move_instances(there, instance_ids=["order"])

        assert await how(there, "order") == (Status.SUSPENDED, reason)


async def test_its_activities_go_on_there_and_it_does_not(database, other):
    async with Runtime(database, REGISTRY) as here, Client(other) as there:
        await here.client.start_orchestration(order, "slow", instance_id="order")
        await have_charged(1)
        await here.client.suspend("order", "audit")
        await here.client.move_instances(there, instance_ids=["order"], grace=0)
        assert await there.list_held_activities() == []
        gates[0].set()

    async with Runtime(other, REGISTRY) as runtime:
        await have_charged(2)
        assert await how(runtime.client, "order") == (Status.SUSPENDED, "audit")
        await runtime.client.resume("order")
        await runtime.client.raise_event("order", GO, "done")
        assert await runtime.client.get_handle("order").result() == "done"


async def test_a_move_by_status_that_broke_off_finds_what_a_person_has_suspended_since(database, other):
    async with Runtime(database, REGISTRY) as here, Client(other) as there:
        client = here.client
        await client.start_orchestration(order, "one", instance_id="suspended before")
        await client.start_orchestration(parent, instance_id="parent")
        await have_charged(4)
        # What a move does up to the moment at which its process dies.
        for each in (await client.list_instances(root="parent")).items:
            await client.suspend(each.instance_id, "moving to another store")
        for instance_id in ("suspended before", "parent"):
            await client.suspend(instance_id, "audit")

        moved = await client.move_instances(there, status=["running"])

        assert (moved.trees, moved.instances) == (1, 4)
        reasons = {each.instance_id: each.held_because for each in (await there.list_instances()).items}
        assert reasons.pop("parent") == "audit"
        assert [*reasons.values()] == [None] * 3
        assert await how(client, "suspended before") == (Status.SUSPENDED, "audit")


class Away(MemoryStorage):
    """Takes nothing in."""

    def commit(self, batch, /):
        if any(isinstance(each, work.Put) for each in batch.items):
            raise StorageUnavailableError("away")
        return super().commit(batch)


async def test_a_move_by_status_that_broke_off_finds_whose_activity_alone_waits_for_it(database, other):
    gateway = ThreadGateway(Away(), SystemClock(), SystemEntropy())
    async with Runtime(database, REGISTRY) as here, Client(other) as there:
        await here.client.start_orchestration(order, "slow", instance_id="order")
        await have_charged(1)
        with pytest.raises(StorageUnavailableError):
            await here.client.move_instances(EngineClient(gateway), status="running", grace=0)
        await here.client.suspend("order", "audit")

        moved = await here.client.move_instances(there, status="running")

        assert moved.trees == 1
        assert await how(there, "order") == (Status.SUSPENDED, "audit")
        assert await there.list_held_activities() == []
        gates[0].set()
    await gateway.close()
