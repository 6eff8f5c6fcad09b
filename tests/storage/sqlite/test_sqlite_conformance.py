"""The storage contract on SQLite, durable and as two processes would use it: with a handle each."""

import pytest

from perdure.storage.sqlite import SqliteStorage
from perdure.testing.storage_suite import StorageSuite


class TestSqliteStorage(StorageSuite):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self._path = tmp_path / "store.db"

    def make(self, clock):
        self._clock = clock
        return SqliteStorage(self._path, clock=clock)

    def connect(self, _storage):
        return SqliteStorage(self._path, clock=self._clock)
