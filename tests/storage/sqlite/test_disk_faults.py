"""A disk that fails: what a call says then is true, and work goes on when the disk is well again."""

import apsw
import pytest

from perdure._work import Batch, StartInstance
from perdure.errors import OutcomeUnknownError, StorageFullError, StorageUnavailableError
from perdure.storage.sqlite import SqliteStorage
from perdure.testing._clock import ManualClock
from perdure.testing.storage_suite.world import World
from tests.storage.sqlite.failing_disk import Disk


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
