"""Counting changes nothing: the store's contract holds with it, and what is stored is the same with and without."""

from perdure._runtime.measured import metrics_of
from perdure.observability.counting import CALLS, InstrumentedStorage
from perdure.storage.base import Inspector, Storage
from perdure.storage.memory import MemoryStorage
from perdure.testing import ManualClock
from perdure.testing.simulation.host import Host
from perdure.testing.simulation.lives import lived
from perdure.testing.simulation.port import StorePort
from perdure.testing.storage_suite import StorageSuite

SEEDS = (11, 12, 13)


class TestInstrumentedStorage(StorageSuite):
    def make(self, clock):
        return InstrumentedStorage(MemoryStorage(clock), clock)

    def connect(self, storage):
        return InstrumentedStorage(storage.connect(), ManualClock())


def test_every_call_of_the_contract_is_counted_but_those_that_read_nothing():
    calls = {name for protocol in (Storage, Inspector) for name in vars(protocol) if not name.startswith("_")}

    assert calls - set(CALLS) == {"close", "now", "changed"}


def test_a_simulated_world_goes_the_same_way_whether_it_is_measured_or_not(monkeypatch):
    hosts = []

    def measured(world, host, store):
        hosts.append(host)
        return ReadAllTheTime(StorePort(world, host, store), hosts)

    plain = [lived(seed).trace for seed in SEEDS]
    monkeypatch.setattr(Host, "PORT", staticmethod(measured))
    measured_too = [lived(seed).trace for seed in SEEDS]

    assert measured_too == plain
    assert any(host.engine.tally.turns for host in hosts)


class ReadAllTheTime(InstrumentedStorage):
    """A store that is measured, and whose worker is asked for its figures at every commit."""

    def __init__(self, port, hosts):
        super().__init__(port, ManualClock())
        self._hosts, self._commit = hosts, self.commit
        self.commit = self._read_and_commit

    def _read_and_commit(self, batch):
        for host in self._hosts[-1:]:
            if host.has_booted:
                metrics_of(0, host.engine, host.activities, self)
        return self._commit(batch)
