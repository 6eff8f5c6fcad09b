"""The storage contract, run on every backend of the project."""

from perdure.storage.memory import MemoryStorage
from perdure.testing.storage_suite import StorageSuite


class TestMemoryStorage(StorageSuite):
    def make(self, clock):
        return MemoryStorage(clock)

    def connect(self, storage):
        return storage.connect()
