"""What goes wrong among workers is counted by those that see it."""

import asyncio

from perdure import OrchestrationContext, Registry, Runtime, activity, orchestration
from perdure._runtime.hands import DELIVERIES_MAX
from perdure._work import Batch, Claim, Hold, Try
from perdure.storage.base import LEASE_US, UNKNOWN_GRACE_US
from perdure.storage.memory import MemoryStorage
from perdure.storage.sqlite import SqliteStorage
from tests.runtime.engines import make_engine, run, start


@orchestration(name="order", version="1.0.0")
async def order(ctx: OrchestrationContext) -> None:
    return None


REGISTRY = Registry(order)


def test_what_workers_died_with_is_counted_by_who_sets_it_aside(clock):
    storage = MemoryStorage(clock)
    start(storage, "order", "order")
    worker = storage.register(name="w", orchestrations=["order@1.0.0"], activities=[]).worker
    storage.commit(Batch(token=b"t", items=(), worker=worker, claim=Claim(instances_max=9, tasks_max=9)))
    tries = [Try(incarnation=1)] * DELIVERIES_MAX
    storage.commit(Batch(token=b"t", items=(*tries, Hold(incarnation=1, reason="poisoned")), worker=worker))
    storage.unregister(worker)
    clock.advance(1)

    engine = make_engine(REGISTRY, storage, clock)
    run(engine)

    assert engine.suspects.poisoned == 1


def test_dead_workers_and_missing_code_are_counted_by_who_finds_them(clock):
    storage = MemoryStorage(clock)
    storage.register(name="dead", orchestrations=[], activities=[])
    start(storage, "lost", "nobody-has-this")
    engine = make_engine(REGISTRY, storage, clock)
    clock.advance(LEASE_US // 2)
    storage.heartbeat(engine.worker)
    clock.advance(max(LEASE_US // 2, UNKNOWN_GRACE_US))

    run(engine)

    assert (engine.tally.takeovers, engine.tally.without_code) == (1, 1)


async def test_a_lost_place_and_an_outcome_that_came_too_late_are_counted(tmp_path):
    waiting: asyncio.Queue[asyncio.Future[str]] = asyncio.Queue()

    @activity(name="enter")
    async def enter() -> str:
        passed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        await waiting.put(passed)
        return await passed

    @orchestration(name="pass")
    async def pass_through(ctx: OrchestrationContext) -> str:
        return await ctx.schedule_activity(enter)

    async with Runtime(tmp_path / "shop.db", Registry(enter, pass_through)) as runtime:
        handle = await runtime.client.start_orchestration(pass_through)
        zombie = await waiting.get()
        others = SqliteStorage(tmp_path / "shop.db")
        others.unregister(runtime._engine.worker)  # noqa: SLF001 - what others do who think that it is dead
        others.close()
        (await waiting.get()).set_result("the second")
        assert await handle.result() == "the second"

        zombie.set_result("the first")
        while not runtime.metrics().lost_outcomes:
            await asyncio.sleep(0)
        metrics = runtime.metrics()

    assert (metrics.lost_places, metrics.lost_outcomes) == (1, 1)
    [told] = metrics.orchestrations
    assert (told.started, told.completed) == (1, 1)
