"""Transactions that a SQLite store lends to activities: they land with the end of their task, or not at all."""

import pytest

from perdure._work import APPLIED, Refusal, Refused, TaskDone
from perdure.errors import StorageError
from perdure.storage.sqlite import SqliteStorage
from perdure.testing._clock import ManualClock
from perdure.testing.storage_suite.world import World, task

EVENT = 2


@pytest.fixture
async def world(tmp_path):
    clock = ManualClock()
    storage = SqliteStorage(tmp_path / "store.db", clock=clock)
    tables = storage.lend(1_000_000)
    await tables.open()
    tables.execute("CREATE TABLE bookings (place INTEGER)")
    tables.commit()
    yield World(storage, clock, lambda: storage)
    storage.close()


@pytest.fixture
def owner(world):
    owner = world.worker("owner", activities=("book",))
    owner.own("order")
    owner.run("order", tasks=(task(EVENT, name="book", local=True),))
    return owner


async def _land(world, owner):
    loan = world.storage.loan(is_async=True)
    await loan.open()
    loan.connection.execute("INSERT INTO bookings VALUES (1)")
    done = TaskDone(incarnation=world.storage.get("order").incarnation, execution=1, event=EVENT, body=b"outcome")
    outcome = await loan.land(done, owner.number)
    await loan.drop()
    return outcome


async def _booked(world):
    lent = world.storage.lend(1_000_000)
    await lent.open()
    rows = lent.execute("SELECT place FROM bookings")
    lent.roll_back()
    return len(rows)


async def test_the_end_of_an_owned_task_lands_with_what_was_written(world, owner):
    assert await _land(world, owner) == APPLIED
    assert await _booked(world) == 1
    assert world.storage.depths().messages == 1
    assert world.storage.depths().tasks == ()


async def test_a_task_that_has_ended_does_not_end_again(world, owner):
    await _land(world, owner)
    assert await _land(world, owner) == Refused(reason=Refusal.NOT_OWNER)
    assert await _booked(world) == 1


async def test_a_worker_that_was_buried_leaves_nothing(world, owner):
    world.storage.unregister(owner.number)
    assert await _land(world, owner) == Refused(reason=Refusal.FENCED)
    assert await _booked(world) == 0
    assert world.storage.depths().messages == 0


async def test_a_store_that_is_closed_lends_none(world):
    world.storage.close()
    with pytest.raises(StorageError, match="closed"):
        world.storage.loan(is_async=True)
