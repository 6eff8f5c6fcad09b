"""What kills its workers is found out, and held; what only died along goes on."""

import asyncio
import signal
from pathlib import Path

import pytest
from msgspec import Raw

from perdure import (
    Client,
    ExternalEvent,
    OrchestrationContext,
    OrchestrationTerminatedError,
    Registry,
    Runtime,
    Status,
    UsageError,
    orchestration,
)
from perdure._runtime.hands import DELIVERIES_MAX
from perdure._work import Batch, Claim, Hold, Raised, Resume, Terminate, Try, Turn, unsealed
from perdure.storage.memory import MemoryStorage
from perdure.testing import ManualClock
from tests.runtime import poison_program
from tests.runtime.engines import deliver, make_engine, run, start
from tests.runtime.poison_program import GO, innocent, killer, ordering, waiting

PROGRAM = Path(poison_program.__file__)
SECOND = 1_000_000
DEATHS_MAX = 12


@orchestration(name="order")
async def order(ctx: OrchestrationContext) -> str:
    return await ctx.schedule_wait(ExternalEvent[str]("go"))


REGISTRY = Registry(order)


async def work_until(spawn, url: str, done, *, then: signal.Signals = signal.SIGTERM) -> int:
    """Start a worker after each that died, until something is so, and end the last one; how many died before it."""
    for died in range(DEATHS_MAX):
        worker = await spawn(url, script=PROGRAM)
        ended = asyncio.create_task(worker.end())
        while not ended.done():
            if await done():
                worker.send(then)
                await ended
                return died
            await asyncio.wait([ended], timeout=0.05)
    raise AssertionError(f"{DEATHS_MAX} workers died, and it was still not so")


async def test_an_instance_whose_turn_kills_is_held_and_its_neighbours_go_on(database, spawn):
    async with Client(database) as client:
        await client.start_orchestration(killer, instance_id="killer")
        neighbours = [await client.start_orchestration(waiting, instance_id=f"n-{number}") for number in range(20)]

        async def all_wait() -> bool:
            counts = await client.count_instances(status="running")
            return sum(each.count for each in counts) == 1 + len(neighbours)

        assert await work_until(spawn, database, all_wait, then=signal.SIGKILL) == 0
        for name in ["killer", *(each.instance_id for each in neighbours)]:
            await client.raise_event(name, GO, "on")

        async def is_held() -> bool:
            return (await client.get_status("killer")).status is Status.HELD

        died = await work_until(spawn, database, is_held)

        # The worker that the test itself has killed before counts, too.
        assert died + 1 == 4
        why = (await client.get_status("killer")).held_because
        assert why is not None
        assert why.startswith("perdure.errors.PoisonedError: 4 workers died while they ran a turn")
        async with Runtime(database, poison_program.registry, max_deliveries=4):
            assert [await each.result() for each in neighbours] == ["on"] * 20
            await client.discard("killer")
            with pytest.raises(OrchestrationTerminatedError):
                await client.get_handle("killer").result()


async def test_an_activity_that_kills_is_held_and_others_go_on(database, spawn):
    async with Client(database) as client:
        await client.start_orchestration(ordering, instance_id="ordering")
        others = [await client.start_orchestration(innocent, number) for number in range(5)]

        async def is_held() -> bool:
            return bool(await client.list_held_activities())

        died = await work_until(spawn, database, is_held)

        [held] = await client.list_held_activities()
        assert (held.instance_id, held.name) == ("ordering", "deadly")
        assert "4 workers died while they ran the activity deadly" in held.held_because
        assert died == 4
        assert (await client.get_status("ordering")).status is Status.RUNNING
        async with Runtime(database, poison_program.registry, max_deliveries=4):
            assert [await each.result() for each in others] == list(range(5))


def dying(storage: MemoryStorage, clock: ManualClock, times: int) -> None:
    """Workers take what there is, and die."""
    for _ in range(times):
        worker = storage.register(name="w", orchestrations=["order@1.0.0"], activities=[], lease_us=SECOND).worker
        storage.commit(Batch(token=b"t", items=(), worker=worker, claim=Claim(instances_max=9, tasks_max=9)))
        clock.advance(SECOND)


def suspicious(times: int = 2) -> tuple[MemoryStorage, ManualClock]:
    """A store with an instance that was there when workers died."""
    clock = ManualClock()
    storage = MemoryStorage(clock)
    start(storage, "order", "order")
    dying(storage, clock, times)
    return storage, clock


def test_a_suspect_that_does_its_turn_is_one_no_more():
    storage, clock = suspicious()
    engine = make_engine(REGISTRY, storage, clock)
    run(engine)
    record = storage.get("order")
    assert record is not None
    assert (record.status, record.deliveries, record.last_event) == (Status.RUNNING, 1, 2)


class Recording(MemoryStorage):
    """A store that keeps what was committed."""

    def __init__(self, clock):
        super().__init__(clock)
        self.batches = []

    def commit(self, batch, /):
        self.batches.append([type(item) for item in batch.items])
        return super().commit(batch)


def test_a_suspect_is_counted_in_a_commit_before_its_turn():
    clock = ManualClock()
    storage = Recording(clock)
    start(storage, "order", "order")
    dying(storage, clock, 2)
    make_engine(REGISTRY, storage, clock)
    kinds = [kinds for kinds in storage.batches if Try in kinds or Turn in kinds]
    assert kinds == [[Try], [Turn]]


def test_what_is_held_as_poisoned_is_held_again_by_the_next_worker_and_tried_on_request():
    storage, clock = suspicious()
    worker = storage.register(name="w", orchestrations=["order@1.0.0"], activities=[]).worker
    storage.commit(Batch(token=b"t", items=(), worker=worker, claim=Claim(instances_max=9, tasks_max=9)))
    tries = [Try(incarnation=1)] * DELIVERIES_MAX
    storage.commit(Batch(token=b"t", items=(*tries, Hold(incarnation=1, reason="poisoned")), worker=worker))
    storage.unregister(worker)
    clock.advance(1)
    engine = make_engine(REGISTRY, storage, clock)
    run(engine)
    record = storage.get("order")
    assert record is not None
    assert (record.status, record.last_event) == (Status.HELD, 0)
    assert "workers died while they ran a turn, at last while it was tried alone" in (record.held_because or "")
    storage.commit(Batch(token=b"t", items=(Resume(id="order"),)))
    clock.advance(SECOND)
    run(engine)
    record = storage.get("order")
    assert record is not None
    assert (record.status, record.deliveries) == (Status.RUNNING, 1)


def test_a_poisoned_instance_can_be_terminated_without_running_it():
    storage, clock = suspicious()
    deliver(storage, "order", Terminate(reason="enough"), control=True)
    engine = make_engine(REGISTRY, storage, clock)
    run(engine)
    record = storage.get("order")
    assert record is not None
    assert record.status is Status.TERMINATED


def test_a_message_for_a_suspect_that_waits_comes_once():
    storage, clock = suspicious()
    deliver(storage, "order", Raised(name="go", data=Raw(b'"on"')))
    engine = make_engine(REGISTRY, storage, clock)
    run(engine)
    run(engine)
    record = storage.get("order")
    assert record is not None
    assert (record.status, unsealed(record.output or b"", "a result")) == (Status.COMPLETED, b'"on"')


@pytest.mark.parametrize("deaths", [0, 3])
def test_a_limit_of_deaths_that_could_not_tell_the_killer_is_refused(deaths):
    with pytest.raises(UsageError, match=f"max_deliveries is {deaths}"):
        Runtime("memory://", REGISTRY, max_deliveries=deaths)
