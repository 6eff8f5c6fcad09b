"""A worker that has lost its place can't write any more; it starts over, and nothing is lost or recorded twice."""

import asyncio

import pytest

from perdure import (
    ActivityContext,
    ExternalEvent,
    OrchestrationContext,
    Registry,
    Runtime,
    activity,
    orchestration,
)
from perdure.storage.sqlite import SqliteStorage

GO = ExternalEvent[str]("go")


class Steps:
    """An activity that tells the test at which step it is."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.reached: dict[int, asyncio.Event] = {number: asyncio.Event() for number in (5, 10, 15)}

    @activity
    async def step(self, ctx: ActivityContext, number: int) -> int:
        self.keys.append(ctx.idempotency_key)
        if number in self.reached:
            self.reached[number].set()
        return number


class Gate:
    """An activity that waits for the test, each delivery of it on its own."""

    def __init__(self) -> None:
        self.waiting: asyncio.Queue[asyncio.Future[str]] = asyncio.Queue()

    @activity
    async def enter(self, _ctx: ActivityContext) -> str:
        passed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        await self.waiting.put(passed)
        return await passed


@orchestration(name="chain")
async def chain(ctx: OrchestrationContext, length: int) -> list[int]:
    return [await ctx.schedule_activity(Steps.step, number) for number in range(length)]


@orchestration(name="pass")
async def pass_through(ctx: OrchestrationContext) -> str:
    return await ctx.schedule_activity(Gate.enter)


@orchestration(name="wait")
async def wait(ctx: OrchestrationContext) -> list[str]:
    return [await ctx.schedule_wait(GO) for _ in range(3)]


def bury(runtime: Runtime, path) -> None:
    """Do to a worker what others do when they think that it is dead."""
    storage = SqliteStorage(path)
    storage.unregister(runtime._engine.worker)  # noqa: SLF001 - workers have no names in public yet
    storage.close()


async def test_a_worker_that_was_buried_starts_over_and_goes_on(tmp_path):
    steps = Steps()
    async with Runtime(tmp_path / "shop.db", Registry(steps, chain)) as runtime:
        handle = await runtime.client.start_orchestration(chain, 20, instance_id="i")
        for reached in steps.reached.values():
            await reached.wait()
            bury(runtime, tmp_path / "shop.db")
        assert await handle.result() == list(range(20))
        events = [event async for event in runtime.client.history("i")]
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    assert sum(event.kind == "ActivityCompleted" for event in events) == 20
    assert len(set(steps.keys)) == 20


async def test_events_for_a_worker_that_was_buried_are_not_lost(tmp_path):
    async with Runtime(tmp_path / "shop.db", Registry(wait)) as runtime:
        handle = await runtime.client.start_orchestration(wait)
        for word in ("one", "two", "three"):
            bury(runtime, tmp_path / "shop.db")
            await handle.raise_event(GO, word)
        assert await handle.result() == ["one", "two", "three"]


async def test_starts_at_a_worker_that_was_buried_are_not_lost(tmp_path):
    steps = Steps()
    async with Runtime(tmp_path / "shop.db", Registry(steps, chain)) as runtime:
        bury(runtime, tmp_path / "shop.db")
        handles = await runtime.client.start_many(chain, [(f"i-{n}", 3) for n in range(10)])
        assert await asyncio.gather(*(handle.result() for handle in handles)) == [[0, 1, 2]] * 10


async def test_of_an_activity_that_two_workers_ran_one_outcome_is_kept(tmp_path):
    gate = Gate()
    async with Runtime(tmp_path / "shop.db", Registry(gate, pass_through)) as runtime:
        handle = await runtime.client.start_orchestration(pass_through, instance_id="i")
        zombie = await gate.waiting.get()
        bury(runtime, tmp_path / "shop.db")
        again = await gate.waiting.get()
        again.set_result("the second")
        assert await handle.result() == "the second"
        zombie.set_result("the first")
        assert await handle.result() == "the second"
        kinds = [event.kind async for event in runtime.client.history("i")]
        assert kinds == ["Started", "ActivityScheduled", "ActivityCompleted", "Completed"]


async def test_an_activity_of_a_deleted_instance_does_not_reach_the_one_that_has_its_id_now(url):
    gate = Gate()
    async with Runtime(url, Registry(gate, pass_through)) as runtime:
        await runtime.client.start_orchestration(pass_through, instance_id="i")
        zombie = await gate.waiting.get()
        await runtime.client.delete("i", force=True)
        new = await runtime.client.start_orchestration(pass_through, instance_id="i")
        living = await gate.waiting.get()
        if not zombie.done():
            zombie.set_result("from the grave")
        living.set_result("alive")
        assert await new.result() == "alive"


@pytest.mark.parametrize("on_conflict", ["terminate_and_restart"])
async def test_an_activity_of_a_replaced_instance_does_not_reach_the_new_one(url, on_conflict):
    gate = Gate()
    async with Runtime(url, Registry(gate, pass_through)) as runtime:
        await runtime.client.start_orchestration(pass_through, instance_id="i")
        zombie = await gate.waiting.get()
        new = await runtime.client.start_orchestration(pass_through, instance_id="i", on_conflict=on_conflict)
        living = await gate.waiting.get()
        if not zombie.done():
            zombie.set_result("from the grave")
        living.set_result("alive")
        assert await new.result() == "alive"
