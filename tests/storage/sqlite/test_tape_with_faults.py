"""The differential tape on a disk that fails: whatever a call meets, SQLite holds what the reference says it may."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path

import apsw
import pytest

from perdure._work import Turn
from perdure.storage.memory import MemoryStorage
from perdure.storage.sqlite import SqliteStorage
from perdure.testing.storage_suite.tape import DifferenceError, check
from perdure.testing.storage_suite.tape.steps import Fault
from tests.folders import in_memory
from tests.storage.sqlite.failing_disk import Disk

ITEMS = (
    "Delete", "Deliver", "Hold", "InstanceRelease", "StartInstance", "TaskBeat", "TaskDone", "TaskRelease",
    "TaskRetry", "Turn",
)  # fmt: skip
CALLS = ("Commit", "Heartbeat", "Reap", "Register", "Unregister")
NEVER_REFUSED = {"Reap", "Register", "Unregister"}
CELLS = {
    (name, outcome)
    for name in (*ITEMS, *CALLS)
    for outcome in ("applied", "refused", "failed", "unknown")
    if outcome != "refused" or name not in NEVER_REFUSED
}
SOONEST = (368, 276, 150, 316, 372, 66)
"""Seeds by which everything happens soonest; when tapes are written otherwise, others follow until it has."""

TAPES_MIN, TAPES_MAX = 12, 400


class FailingDisk:
    """Faults by which the disk below SQLite fails."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    @contextmanager
    def inject(self, fault: Fault) -> Iterator[None]:
        """Writes find no space, or syncs find no disk."""
        if fault is Fault.FAILED:
            self._disk.write_error = apsw.FullError("no space")
        else:
            self._disk.sync_error = apsw.IOError("the disk is gone")
        try:
            yield
        finally:
            self._disk.write_error = self._disk.sync_error = None


@pytest.fixture
def faults() -> Iterator[FailingDisk]:
    disk = Disk()
    yield FailingDisk(disk)
    disk.unregister()


def test_every_call_and_every_item_meets_every_outcome(faults: FailingDisk):
    met: Counter[tuple[str, str]] = Counter()
    names = count()
    with in_memory() as folder:

        def make(clock, entropy):
            return SqliteStorage(Path(folder) / f"{next(names)}.db", clock=clock, entropy=entropy)

        for played, seed in enumerate(chain(SOONEST, range(TAPES_MAX)), 1):
            check(make, seeds=[seed], faults=faults, met=met)
            if played >= TAPES_MIN and set(met) >= CELLS:
                break
    assert sorted(CELLS - set(met)) == [], f"after {TAPES_MAX} tapes these have not happened"


class Forgetful(MemoryStorage):
    """A store that does not know a commit whose answer was lost, or knows one that failed."""

    def applied(self, worker, token, /):
        return not super().applied(worker, token)


class HalfHearted(MemoryStorage):
    """A store that drops a commit in which there is a turn, and says nothing."""

    def commit(self, batch, /):
        committed = super().commit(batch)
        if any(isinstance(item, Turn) for item in batch.items):
            self.unregister(batch.worker or 0)
        return committed


class NoFaults:
    """Answers are lost, and that is all."""

    @contextmanager
    def inject(self, _fault: Fault) -> Iterator[None]:
        yield


@pytest.mark.parametrize("wrong", [Forgetful, HalfHearted])
def test_a_store_that_is_wrong_about_lost_answers_is_found_out(wrong):
    with pytest.raises(DifferenceError):
        check(wrong, seeds=range(60), faults=NoFaults())
