"""Workers whose clocks differ take turns at one instance, and its history tells of a time that never goes back."""

from msgspec import Raw

from perdure import OrchestrationContext, Registry, orchestration
from perdure._core.history import check, read_rows
from perdure._types import Status
from perdure._work import Raised, Terminate
from perdure.storage.memory import MemoryStorage
from perdure.testing import ManualClock
from tests.runtime.engines import deliver, make_engine, run, start

HOUR_US = 3_600_000_000


@orchestration(name="order")
async def order(ctx: OrchestrationContext) -> None:
    await ctx.schedule_wait("paid")
    await ctx.schedule_wait("sent")


def test_terminated_by_a_worker_whose_clock_is_behind():
    # given an instance that one worker began, and another went on with whose clock is an hour behind
    ahead, behind = ManualClock(), ManualClock()
    ahead.advance(HOUR_US)
    registry, storage = Registry(order), MemoryStorage(ahead)
    slow = storage.connect(behind)
    start(slow, "order-1", "order")
    make_engine(registry, storage, ahead).finish()
    deliver(slow, "order-1", Raised(name="paid", data=Raw(b"1")))
    make_engine(registry, slow, behind, seed=2).finish()
    # when a third one, of the same clock, ends it
    third = storage.connect(behind)
    deliver(third, "order-1", Terminate(), control=True)
    run(make_engine(registry, third, behind, seed=3))
    # then its history keeps its own rules
    record = storage.get("order-1")
    assert record.status is Status.TERMINATED
    check(read_rows(storage.history(record.incarnation, 1)), 1)


@orchestration(name="endless")
async def endless(ctx: OrchestrationContext) -> None:
    await ctx.schedule_wait("go on")
    ctx.continue_as_new()


def test_begun_anew_by_a_worker_whose_clock_is_behind():
    # given an instance that one worker began whose clock is an hour ahead of the others'
    ahead, behind = ManualClock(), ManualClock()
    ahead.advance(HOUR_US)
    registry, storage = Registry(endless), MemoryStorage(ahead)
    start(storage.connect(behind), "order-1", "endless")
    make_engine(registry, storage, ahead).finish()
    # and another one that ends its first execution, and no more
    second = storage.connect(behind)
    deliver(second, "order-1", Raised(name="go on", data=Raw(b"1")))
    engine = make_engine(registry, second, behind, seed=2)
    while storage.get("order-1").execution == 1:
        behind.advance(100_000)
        engine.run_once()
    assert storage.get("order-1").last_event == 0
    second.unregister(engine.worker)
    # when a third one begins the next
    run(make_engine(registry, storage.connect(behind), behind, seed=3))
    # then it begins no earlier than the first has ended
    record = storage.get("order-1")
    first, next_ = (storage.history(record.incarnation, number) for number in (1, 2))
    [started, *_] = read_rows(next_)
    assert started.at == first[-1].at > behind.now_us()
