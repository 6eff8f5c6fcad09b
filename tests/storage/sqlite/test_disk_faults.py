"""A disk that fails: what a call says then is true, and work goes on when the disk is well again."""

import apsw
import pytest
from msgspec.structs import replace

from perdure._types import Status
from perdure._work import APPLIED, Batch, InstanceChange, StartInstance
from perdure.errors import OutcomeUnknownError, StorageFullError, StorageUnavailableError
from perdure.storage.sqlite import SqliteStorage
from perdure.testing._clock import ManualClock
from perdure.testing.storage_suite.world import World, task
from tests.storage.sqlite.failing_disk import Disk

LARGER_THAN_THE_CACHE = 40_000_000
"""So that it is written into the log before the commit."""


@pytest.fixture
def disk():
    disk = Disk()
    yield disk
    disk.unregister()


@pytest.fixture
def world(disk, tmp_path):
    clock = ManualClock()
    storage = SqliteStorage(tmp_path / "store.db", clock=clock)
    yield World(storage, clock, lambda: storage)
    storage.close()


def test_a_full_disk_refuses_the_commit_and_keeps_what_was_acknowledged(world, disk):
    world.start("before")
    disk.write_error = apsw.FullError("no space")
    with pytest.raises(StorageFullError, match="no space left"):
        world.start("refused")
    assert world.storage.get("before") is not None
    assert world.storage.get("refused") is None


def test_work_goes_on_when_there_is_space_again(world, disk):
    disk.write_error = apsw.FullError("no space")
    with pytest.raises(StorageUnavailableError):
        world.start("refused")
    disk.write_error = None
    world.start("after")
    assert world.storage.get("after") is not None


def test_a_commit_that_breaks_off_while_it_reaches_the_disk_is_unknown_and_can_be_asked_for(world, disk):
    worker = world.worker()
    batch = Batch(token=b"unknown", items=(StartInstance(new=world.new("order")),), worker=worker.number)
    disk.sync_error = apsw.IOError("the disk is gone")
    with pytest.raises(OutcomeUnknownError, match=r"applied\(\)"):
        world.storage.commit(batch)
    disk.sync_error = None
    assert world.storage.applied(worker.number, batch.token) is (world.storage.get("order") is not None)
    world.storage.commit(batch)
    assert world.storage.applied(worker.number, batch.token) is True
    assert world.storage.get("order") is not None


def test_a_commit_that_breaks_off_behind_one_of_nothing_can_be_asked_for(world, disk):
    # given
    worker = world.worker()
    world.storage.commit(Batch(token=b"nothing", items=(), worker=worker.number))
    batch = Batch(token=b"unknown", items=(StartInstance(new=world.new("order")),), worker=worker.number)
    # when
    _break_off(world, disk, batch)
    # then
    landed = world.storage.get("order") is not None
    assert world.storage.applied(worker.number, batch.token) is landed
    assert world.storage.applied(worker.number, b"nothing") is not landed


def _begin(world, worker):
    return worker.first_turn(world.new("new"), tasks=(task(2, local=True),))


def _go_on(world, worker):
    return worker.turn("order", tasks=(task(3, local=True),), tasks_gone=(2,))


def _end(world, worker):
    return worker.turn("order", tasks_gone=(2,), change=InstanceChange(status=Status.COMPLETED))


@pytest.mark.parametrize("make_turn", [_begin, _go_on, _end])
def test_one_turn_whose_commit_breaks_off_can_be_asked_for(make_turn, world, disk):
    # given
    worker = world.worker()
    worker.own("order")
    worker.run("order", tasks=(task(2, local=True),))
    turn = make_turn(world, worker)
    batch = Batch(token=b"unknown", items=(turn,), worker=worker.number)
    # when
    _break_off(world, disk, batch)
    # then
    landed = turn.history in world.storage.history(turn.incarnation, 1)
    assert world.storage.applied(worker.number, batch.token) is landed
    # and it can be sent again
    if not landed:
        assert world.storage.commit(batch).outcomes == (APPLIED,)
    assert world.storage.applied(worker.number, batch.token) is True


def _break_off(world, disk, batch):
    disk.sync_error = apsw.IOError("the disk is gone")
    with pytest.raises(OutcomeUnknownError):
        world.storage.commit(batch)
    disk.sync_error = None


async def _lent(world):
    lent = world.storage.lend(5_000_000)
    await lent.open()
    return lent


@pytest.mark.parametrize("error", [apsw.FullError("no space"), apsw.IOError("the disk is gone")])
async def test_a_start_that_a_failing_disk_breaks_off_ends_the_transaction_that_it_is_part_of(world, disk, error):
    # given
    lent = await _lent(world)
    lent.execute("CREATE TABLE orders (id TEXT)")
    lent.commit()
    lent = await _lent(world)
    lent.execute("INSERT INTO orders VALUES ('before')")
    # when
    disk.write_error = error
    with pytest.raises(StorageUnavailableError) as told:
        lent.apply(StartInstance(new=replace(world.new("order"), start=bytes(LARGER_THAN_THE_CACHE))))
    disk.write_error = None
    with pytest.raises(StorageUnavailableError) as told_again:
        lent.execute("INSERT INTO orders VALUES ('behind')")
    with pytest.raises(StorageUnavailableError):
        lent.commit()
    # then
    assert told_again.value is told.value
    assert world.storage.get("order") is None
    assert (await _lent(world)).execute("SELECT id FROM orders") == []
