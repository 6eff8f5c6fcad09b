"""The storage contract on the reference storage: the suite and the model agree with each other."""

from perdure.storage.memory import MemoryStorage
from perdure.testing.storage_suite import StorageSuite


class TestMemoryStorage(StorageSuite):
    def make(self, clock):
        return MemoryStorage(clock)

    def connect(self, storage):
        return storage.connect()
