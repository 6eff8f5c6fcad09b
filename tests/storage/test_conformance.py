"""The storage contract, run on every backend of the project."""

from pathlib import Path

import pytest

from perdure.storage.memory import MemoryStorage
from perdure.storage.sqlite import SqliteStorage
from perdure.testing.storage_suite import StorageSuite


class TestMemoryStorage(StorageSuite):
    def make(self, clock):
        return MemoryStorage(clock)

    def connect(self, storage):
        return storage.connect()


class TestSqliteStorage(StorageSuite):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path):
        self.path = tmp_path / "store.db"

    def make(self, clock):
        self.clock = clock
        return SqliteStorage(self.path, clock=clock)

    def connect(self, storage):
        return SqliteStorage(storage.path, clock=self.clock)
