"""A worker whose process is gone is taken over at once, by its lock; a living one keeps its work."""

from pathlib import Path

from perdure.storage.sqlite import SqliteStorage
from perdure.testing._clock import ManualClock
from perdure.testing.storage_suite.world import CHARGE, ORDER, ids, task
from tests.storage.sqlite.processes import Program, in_fork

OWNING = f"""
import sys
from perdure._work import Batch, Claim
from perdure.storage.sqlite import SqliteStorage
from perdure.testing._clock import ManualClock
storage = SqliteStorage(sys.argv[1], clock=ManualClock())
worker = storage.register(name="w", orchestrations=["{ORDER}"], activities=["{CHARGE}"]).worker
claim = Claim(instances_max=10, tasks_max=10)
work = storage.commit(Batch(token=b"t", items=(), worker=worker, claim=claim)).work
print(worker, *(each.record.id for each in work.instances), *(each.name for each in work.tasks), flush=True)
sys.stdin.readline()
if sys.argv[2] == "unregister":
    storage.unregister(worker)
else:
    storage.close()
print("left", flush=True)
sys.stdin.readline()
"""


def locks(world):
    return sorted(path.name for path in Path(f"{world.storage.path}.locks").glob("*"))


def test_a_killed_process_loses_its_work_at_the_next_reap(world):
    mine = world.worker()
    world.start("order")
    with Program(OWNING, world.storage.path, "close") as other:
        number, *owned = other.hear().split()
        assert owned == ["order"]
        assert (mine.storage.reap(mine.number).buried, ids(mine.claim())) == (0, [])
        assert locks(world) == sorted([number, str(mine.number)])
        other.kill()
        assert mine.storage.reap(mine.number).buried == 1
    assert ids(mine.claim()) == ["order"]
    assert locks(world) == [str(mine.number)]


def test_a_killed_process_is_taken_over_by_one_that_registers(world):
    world.start("order")
    with Program(OWNING, world.storage.path, "close") as other:
        assert other.hear()
        other.kill()
        assert ids(world.worker().claim()) == ["order"]


def test_a_task_of_a_killed_process_counts_a_delivery(world):
    mine = world.worker()
    mine.own("order")
    mine.run("order", tasks=(task(2),))
    with Program(OWNING, world.storage.path, "close") as other:
        assert other.hear().split()[1:] == [CHARGE]
        other.kill()
        mine.storage.reap(mine.number)
    assert [each.deliveries for each in mine.claim().tasks] == [2]


def test_a_store_that_is_closed_with_its_worker_still_registered_counts_as_dead(world):
    mine = world.worker()
    world.start("order")
    with Program(OWNING, world.storage.path, "close") as other:
        assert other.hear()
        other.say()
        assert other.hear() == "left"
        assert mine.storage.reap(mine.number).buried == 1
    assert ids(mine.claim()) == ["order"]


def test_a_worker_that_unregisters_leaves_no_lock(world):
    mine = world.worker()
    world.start("order")
    with Program(OWNING, world.storage.path, "unregister") as other:
        assert other.hear()
        other.say()
        assert other.hear() == "left"
        assert locks(world) == [str(mine.number)]
        assert mine.storage.reap(mine.number).buried == 0
    assert ids(mine.claim()) == ["order"]


def test_the_last_worker_that_unregisters_leaves_no_folder(world):
    mine = world.worker()
    mine.storage.unregister(mine.number)
    assert not Path(f"{world.storage.path}.locks").exists()


def test_two_workers_of_one_process_do_not_take_each_other_for_dead(world):
    mine = world.worker()
    second = SqliteStorage(world.storage.path, clock=world.clock)
    theirs = second.register(name="w", orchestrations=[], activities=[]).worker
    assert (mine.storage.reap(mine.number).buried, second.reap(theirs).buried) == (0, 0)
    # Nor has testing them dropped their locks: another process still finds both alive.
    assert in_fork(lambda: _reap_anew(world.storage.path)) == "0"
    second.close()


def _reap_anew(path):
    storage = SqliteStorage(path, clock=ManualClock())
    reaped = storage.reap(storage.register(name="w", orchestrations=[], activities=[]).worker)
    alive = len(storage.workers())
    return reaped.buried if alive == 3 else f"{alive} workers"
