"""A cancel of what has not begun needs no code: a worker that lacks it may end the instance, and never holds it."""

from perdure import Registry, orchestration
from perdure._types import Status
from perdure._work import Cancel
from perdure.storage.memory import MemoryStorage
from perdure.testing import ManualClock
from tests.runtime.engines import deliver, make_engine, start


@orchestration(name="other")
async def other(_) -> None: ...


def test_by_a_worker_that_has_other_code():
    # given an instance that waits for a worker with its code, and is to be cancelled
    clock = ManualClock()
    storage = MemoryStorage(clock)
    start(storage, "order-1", "order")
    deliver(storage, "order-1", Cancel(reason="not needed"), control=True)
    # when a worker comes that has other code
    make_engine(Registry(other), storage, clock)
    # then it has ended
    assert storage.get("order-1").status is Status.CANCELLED
