"""Somebody reads a store in one transaction for long: work goes on, and that the log grows meanwhile is told."""

import apsw
import pytest

from perdure.observability.counting import InstrumentedStorage
from perdure.storage.sqlite import SqliteStorage
from perdure.testing._clock import ManualClock
from perdure.testing.storage_suite.world import World
from tests.folders import in_memory

PAGES = 20
KEPT_BYTES = 100_000
COMMITS = 150


@pytest.fixture
def path():
    with in_memory() as folder:
        yield f"{folder}/shop.db"


def test_a_long_reader_lets_the_log_grow_which_is_told_and_ends_with_it(path, monkeypatch):
    monkeypatch.setattr("perdure.storage.sqlite.files.CHECKPOINT_PAGES", PAGES)
    monkeypatch.setattr("perdure.storage.sqlite.files.WAL_KEPT_BYTES", KEPT_BYTES)
    clock = ManualClock()
    storage = InstrumentedStorage(SqliteStorage(path, clock=clock), clock)
    world = World(storage, clock, lambda: storage)
    world.start("before")
    reader = apsw.Connection(path)
    reader.execute("BEGIN; SELECT count(*) FROM instances")

    for number in range(COMMITS):
        world.start(f"order {number}")
    assert storage.get(f"order {COMMITS - 1}") is not None
    assert storage.log_bytes() > 4 * KEPT_BYTES

    reader.close()
    for number in range(PAGES):
        world.start(f"after {number}")
    assert storage.log_bytes() <= KEPT_BYTES
    storage.close()
    assert storage.log_bytes() == 0
