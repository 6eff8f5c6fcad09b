"""The storage contract on SQLite, as two processes would use it: with a handle each."""

from itertools import count

import pytest

from perdure.storage.sqlite import SqliteStorage
from perdure.testing.storage_suite import StorageSuite
from perdure.testing.storage_suite.tape import check


class TestSqliteStorage(StorageSuite):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self._path = tmp_path / "store.db"

    def make(self, clock):
        self._clock = clock
        return SqliteStorage(self._path, clock=clock)

    def connect(self, _storage):
        return SqliteStorage(self._path, clock=self._clock)


@pytest.fixture
def everything_in_bulk(monkeypatch):
    """Small batches take the way of large ones too, which else only the tapes would go."""
    monkeypatch.setattr("perdure.storage.sqlite.single.ITEMS_MAX", 0)


@pytest.mark.usefixtures("everything_in_bulk")
class TestSqliteStorageInBulk(TestSqliteStorage):
    pass


@pytest.mark.usefixtures("everything_in_bulk")
def test_random_calls_in_bulk_have_the_answers_of_the_reference(tmp_path):
    names = count()

    def make(clock, entropy):
        return SqliteStorage(tmp_path / f"{next(names)}.db", clock=clock, entropy=entropy, durability="normal")

    check(make, seeds=range(1000, 1008))
