"""Several processes and threads on one file: nobody hears that it is locked, and nobody sees half of anything."""

import threading

import apsw
import pytest

from perdure._work import StartInstance
from perdure.errors import StorageBusyError, StorageUnavailableError
from perdure.storage.sqlite import SqliteStorage
from perdure.testing._clock import ManualClock
from perdure.testing.storage_suite.world import World
from tests.storage.sqlite.processes import Program

STARTING = """
import sys
from perdure._work import Batch, NewInstance, StartInstance
from perdure.storage.sqlite import SqliteStorage
storage = SqliteStorage(sys.argv[1])
first = int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for number in range(first, first + 150):
    new = NewInstance(id=f"i{number}", incarnation=number, name="order", start=b"{}")
    storage.commit(Batch(token=b"t", items=(StartInstance(new=new),)))
print("done", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.db"


@pytest.fixture
def world(path):
    clock = ManualClock()
    storage = SqliteStorage(path, clock=clock)
    yield World(storage, clock, lambda: storage)
    storage.close()


def test_processes_that_write_at_once_wait_for_each_other(path):
    storage = SqliteStorage(path)
    programs = [Program(STARTING, path, 1 + 1000 * number) for number in range(3)]
    try:
        assert [program.hear() for program in programs] == ["ready"] * 3
        for program in programs:
            program.say()
        worker = storage.register(name="w", orchestrations=[], activities=[]).worker
        for _ in range(150):
            assert storage.heartbeat(worker) is True
        assert [program.hear() for program in programs] == ["done"] * 3
    finally:
        for program in programs:
            program.__exit__()
    wanted = [f"i{1 + 1000 * program + number}" for program in range(3) for number in range(150)]
    assert len(storage.get_many(wanted)) == 450
    storage.close()


def test_a_process_sees_that_another_has_committed(world, path):
    assert world.storage.changed() is False
    with Program(STARTING, path, 1) as other:
        other.hear()
        other.say()
        assert other.hear() == "done"
    assert (world.storage.changed(), world.storage.changed()) == (True, False)


def test_a_store_sees_the_commits_of_another_handle_in_its_process_and_not_its_own(world, path):
    other = SqliteStorage(path, clock=world.clock)
    theirs = World(other, world.clock, lambda: other)
    assert (world.storage.changed(), other.changed()) == (False, False)
    world.start("mine")
    assert (world.storage.changed(), other.changed()) == (False, True)
    theirs.start("theirs", incarnation=77)
    assert (world.storage.changed(), other.changed()) == (True, False)
    other.close()


def test_a_claim_that_finds_nothing_writes_nothing(world, path):
    watcher = SqliteStorage(path)
    worker = world.worker()
    worker.own("order")
    worker.run("order", timers=((2, world.clock.now_us() + 3_600_000_000),))
    watcher.changed()
    log = path.with_name("store.db-wal")
    before = log.stat().st_size
    for _ in range(10):
        worker.claim()
        worker.storage.reap(worker.number)
    assert (watcher.changed(), log.stat().st_size) == (False, before)
    watcher.close()


def test_a_file_that_stays_locked_is_a_busy_store_and_nothing_was_applied(path):
    clock = ManualClock()
    storage = SqliteStorage(path, clock=clock, busy_timeout_s=0.02)
    world = World(storage, clock, lambda: storage)
    hog = apsw.Connection(str(path))
    hog.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageBusyError, match="busy_timeout") as caught:
        world.start("order")
    assert isinstance(caught.value, StorageUnavailableError)
    assert storage.get("order") is None
    hog.execute("ROLLBACK")
    world.start("order", incarnation=9)
    assert storage.get("order") is not None
    hog.close()
    storage.close()


def test_a_reader_sees_a_batch_whole_or_not_at_all(world):
    stop = threading.Event()
    seen: set[int] = set()

    def look():
        while not stop.is_set():
            seen.add(len(world.storage.get_many([f"i{number}" for number in range(40)])) % 4)

    reader = threading.Thread(target=look)
    reader.start()
    for batch in range(10):
        news = [world.new(f"i{4 * batch + number}") for number in range(4)]
        world.client(*(StartInstance(new=new) for new in news))
    stop.set()
    reader.join()
    assert seen == {0}
