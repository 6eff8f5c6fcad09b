"""A worker's heartbeats wait for no commit of its own, and are no news to it."""

import threading

import pytest

from perdure._work import Batch, NewInstance, StartInstance
from perdure.storage.sqlite import SqliteStorage
from perdure.testing import ManualClock

START = Batch(token=b"t", items=(StartInstance(new=NewInstance(id="a", incarnation=1, name="order", start=b"{}")),))


class ClockWithHook(ManualClock):
    """Runs something when the store next asks for the time, which a commit does once it holds the write lock."""

    hook = staticmethod(lambda: None)

    def now_us(self) -> int:
        hook, self.hook = self.hook, ClockWithHook.hook
        hook()
        return super().now_us()


@pytest.fixture
def clock():
    return ClockWithHook()


@pytest.fixture
def storage(tmp_path, clock):
    storage = SqliteStorage(tmp_path / "store.db", clock=clock)
    yield storage
    storage.close()


def test_an_idle_worker_does_not_take_its_own_heartbeat_for_the_commit_of_another(storage, clock, tmp_path):
    worker = storage.register(name="w", orchestrations=[], activities=[]).worker
    neighbour = SqliteStorage(tmp_path / "store.db")
    neighbour.changed()
    storage.changed()

    clock.advance(1_000_000)
    assert storage.heartbeat(worker) is True

    assert storage.changed() is False
    assert neighbour.changed() is True
    neighbour.close()


def test_a_heartbeat_has_a_connection_of_its_own_while_a_commit_is_under_way(storage, clock):
    worker = storage.register(name="w", orchestrations=[], activities=[]).worker
    lives = []
    beat = threading.Thread(target=lambda: lives.append(storage.heartbeat(worker)))
    connections = len(storage.inherited())
    pause = threading.Event()

    def beat_beside_the_commit():
        beat.start()
        while len(storage.inherited()) == connections:
            pause.wait(0.001)

    clock.hook = beat_beside_the_commit
    storage.commit(START)
    beat.join()

    assert lives == [True]
