"""What the tests of SQLite share."""

import pytest

from perdure.storage.sqlite import SqliteStorage
from perdure.testing._clock import ManualClock
from perdure.testing.storage_suite.world import World


@pytest.fixture
def world(tmp_path):
    """A new store, on a clock that stands still."""
    clock = ManualClock()
    storage = SqliteStorage(tmp_path / "store.db", clock=clock)
    yield World(storage, clock, lambda: storage)
    storage.close()
