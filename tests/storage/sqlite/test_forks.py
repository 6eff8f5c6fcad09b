"""A store that was opened before a fork: the child may not use it, and does its parent no harm."""

import pytest

from perdure.storage.sqlite import SqliteStorage
from perdure.testing._clock import ManualClock
from perdure.testing.storage_suite.world import World
from tests.storage.sqlite.processes import Program, in_fork


@pytest.fixture
def storage(tmp_path):
    storage = SqliteStorage(tmp_path / "store.db")
    yield storage
    storage.close()


@pytest.mark.parametrize(
    "use",
    [
        lambda storage: storage.workers(),
        lambda storage: storage.register(name="w", orchestrations=[], activities=[]),
        lambda storage: storage.changed(),
        lambda storage: storage.heartbeat(1),
    ],
)
def test_a_child_may_not_use_the_inherited_store(storage, use):
    answer = in_fork(lambda: use(storage))
    assert answer.startswith("ForkedError: ")
    assert "open a new store there" in answer


def test_a_child_may_open_the_file_anew(storage):
    worker = storage.register(name="w", orchestrations=[], activities=[])

    def open_anew():
        own = SqliteStorage(storage.path)
        mine = own.register(name="child", orchestrations=[], activities=[])
        reaped = own.reap(mine.worker)
        own.unregister(mine.worker)
        own.close()
        return reaped.buried

    assert in_fork(open_anew) == "0"
    assert storage.heartbeat(worker.worker) is True


def test_closing_the_inherited_store_in_the_child_does_nothing(storage):
    in_fork(storage.close)
    assert storage.workers() == []


LEAVING = """
import os, sys
from perdure.storage.sqlite import SqliteStorage
storage = SqliteStorage(sys.argv[1])
worker = storage.register(name="w", orchestrations=[], activities=[])
child = os.fork()
if child == 0:
    sys.exit(0)
os.waitpid(child, 0)
print(worker.worker, storage.heartbeat(worker.worker), flush=True)
sys.stdin.readline()
"""


def test_a_child_that_leaves_takes_neither_the_lock_nor_the_log_of_its_parent(tmp_path):
    path = tmp_path / "store.db"
    with Program(LEAVING, path) as parent:
        number, alive = parent.hear().split()
        assert alive == "True"
        clock = ManualClock()
        storage = SqliteStorage(path, clock=clock)
        worker = World(storage, clock, lambda: storage).worker()
        assert storage.reap(worker.number).buried == 0
        assert int(number) in [row.worker for row in storage.workers()]
        storage.close()
