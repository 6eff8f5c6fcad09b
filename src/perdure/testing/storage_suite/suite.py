"""What the topics of the suite share: how a test comes by its world."""

from perdure.testing._clock import ManualClock
from perdure.testing.storage_suite.world import StorageUnderTest, World


class Topic:
    """Some tests of the contract. A backend's own test class says how to make a store, and inherits the tests."""

    _world: World | None = None

    def make(self, clock: ManualClock) -> StorageUnderTest:
        """An empty store that reads this clock."""
        raise NotImplementedError(f"{type(self).__name__}.make(clock) must return an empty store that reads the clock")

    def connect(self, storage: StorageUnderTest) -> StorageUnderTest:
        """Another handle on the same store, as another process would have; the same one if that is how it is used."""
        return storage

    @property
    def world(self) -> World:
        """The world of this test, made when it is first asked for."""
        if self._world is None:
            clock = ManualClock()
            storage = self.make(clock)
            self._handles = [storage]
            self._world = World(storage, clock, self._connect)
        return self._world

    def teardown_method(self) -> None:
        """Close what the test has opened."""
        if self._world is not None:
            for handle in self._handles:
                handle.close()

    def _connect(self) -> StorageUnderTest:
        handle = self.connect(self.world.storage)
        self._handles.append(handle)
        return handle
