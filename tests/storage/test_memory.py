"""What the reference storage promises beyond the contract."""

import threading

from perdure._work import Batch, NewInstance, Query, StartInstance
from perdure.storage.memory import MemoryStorage
from perdure.testing._clock import ManualClock


class Stuttering:
    """Entropy that repeats itself, and is nothing at first."""

    def __init__(self):
        self._tokens = [bytes(16), b"\x02" * 16, b"\x02" * 16, b"\x04" * 16]

    def token(self):
        return self._tokens.pop(0)

    def fraction(self):
        return 0.5


def _start(number):
    new = NewInstance(id=f"order-{number}", incarnation=number, name="order", start=b"{}")
    return Batch(token=b"sixteen bytes ok", items=(StartInstance(new=new),))


def test_it_needs_no_arguments():
    storage = MemoryStorage()
    worker = storage.register(name="worker", orchestrations=[], activities=[])
    assert storage.heartbeat(worker.worker)
    assert storage.now() >= worker.started_at


def test_workers_get_different_numbers_even_when_chance_repeats_itself():
    storage = MemoryStorage(ManualClock(), Stuttering())
    numbers = [storage.register(name=name, orchestrations=[], activities=[]).worker for name in ("a", "b")]
    assert len(set(numbers)) == 2
    assert 0 not in numbers


def test_handles_share_one_memory_which_outlives_them():
    storage = MemoryStorage(ManualClock())
    other = storage.connect()
    other.commit(_start(1))
    other.close()
    assert storage.get("order-1") is not None


def test_threads_may_share_one_handle():
    storage = MemoryStorage(ManualClock())

    def start(numbers):
        for number in numbers:
            storage.commit(_start(number))

    threads = [threading.Thread(target=start, args=(range(first, 401, 4),)) for first in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records, _ = storage.find(Query(limit=1_000))
    assert [each.incarnation for each in records] == list(range(400, 0, -1))
