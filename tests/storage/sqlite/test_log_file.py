"""The write-ahead log's file is longer than the log, which nobody notices but the file system."""

import shutil

import apsw
import pytest

from perdure.storage.sqlite import SqliteStorage
from perdure.testing._clock import ManualClock
from perdure.testing.storage_suite.world import World
from tests.storage.sqlite.failing_disk import Disk, File

COMMITS = 20


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.db"


@pytest.fixture
def world(path):
    clock = ManualClock()
    storage = SqliteStorage(path, clock=clock)
    yield World(storage, clock, lambda: storage)
    storage.close()


def size_of_log(path):
    return path.with_name("store.db-wal").stat().st_size


def ids_in(path):
    storage = SqliteStorage(path, clock=ManualClock())
    try:
        return {f"order {number}" for number in range(COMMITS) if storage.get(f"order {number}")}
    finally:
        storage.close()


def test_most_small_commits_leave_the_file_as_long_as_it_was(world, path):
    sizes = set()
    for number in range(COMMITS):
        world.start(f"order {number}")
        sizes.add(size_of_log(path))
    assert len(sizes) < COMMITS / 4


def test_what_was_written_ahead_hides_nothing_and_adds_nothing_after_a_crash(world, path, tmp_path):
    for number in range(COMMITS):
        world.start(f"order {number}")
    left = tmp_path / "left"
    left.mkdir()
    for name in ("store.db", "store.db-wal"):
        shutil.copy(path.with_name(name), left / name)
    assert ids_in(left / "store.db") == {f"order {number}" for number in range(COMMITS)}


def test_the_file_is_written_ahead_only_as_far_as_the_log_gets(path, monkeypatch):
    monkeypatch.setattr("perdure.storage.sqlite.files.CHECKPOINT_PAGES", 100)
    clock = ManualClock()
    storage = SqliteStorage(path, clock=clock)
    world = World(storage, clock, lambda: storage)
    for number in range(100):
        world.start(f"order {number}")
    assert size_of_log(path) < 600_000
    storage.close()


class NoRoomAhead(Disk):
    """A disk with no space for what is written ahead."""

    def xOpen(  # noqa: N802 - SQLite's name for it
        self, name, flags
    ):
        return _FileWithoutRoom(self, name, flags)


class _FileWithoutRoom(File):
    def xWrite(  # noqa: N802 - SQLite's name for it
        self, data, offset
    ):
        if not any(data):
            raise apsw.FullError("no space")
        super().xWrite(data, offset)


def test_a_disk_without_space_for_it_still_takes_the_commit(path):
    disk = NoRoomAhead()
    try:
        clock = ManualClock()
        storage = SqliteStorage(path, clock=clock)
        world = World(storage, clock, lambda: storage)
        sizes = set()
        for number in range(COMMITS):
            world.start(f"order {number}")
            sizes.add(size_of_log(path))
        # Each commit brings what it needs, and nothing was written ahead of it.
        assert len(sizes) == COMMITS
        storage.close()
        assert len(ids_in(path)) == COMMITS
    finally:
        disk.unregister()
