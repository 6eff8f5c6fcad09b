"""An engine that has nothing to do waits; it doesn't go round and round."""

from perdure import Registry, orchestration
from perdure._runtime.hands import POLL_FAST_US, POLL_US, SAFETY_CLAIM_US
from perdure.storage.memory import MemoryStorage
from perdure.testing import ManualClock
from tests.runtime.engines import make_engine, run, start

LEAST_US = 1_000


@orchestration(name="order")
async def order(_) -> None: ...


def test_one_that_takes_no_new_work_any_more_waits_for_its_activities_to_end():
    # given a worker that shuts down, while an activity of its own still runs, and something that will fall due
    clock = ManualClock()
    storage = MemoryStorage(clock)
    start(storage, "order-1", "order", clock.now_us() + 1_000_000)
    engine = make_engine(Registry(order), storage, clock)
    engine.draining = True
    # when it has, and the worker would like to claim, as it does once a second
    clock.advance(1_500_000)
    engine.run_once()
    # then it waits all the same
    assert engine.delay() >= LEAST_US


def test_one_whose_clock_was_set_back_just_before_something_falls_due_does_not_spin():
    # given a start that falls due in a moment
    clock = ManualClock()
    storage = MemoryStorage(clock)
    start(storage, "order-1", "order", clock.now_us() + 1_000_010)
    engine = make_engine(Registry(order), storage, clock)
    # when the store's time stands still, microseconds before that, until the clock has caught up
    clock.advance(1_000_000)
    engine.run_once()
    clock.set(clock.now_us() - 3_600_000_000)
    # then the engine looks now and then
    assert engine.delay() >= LEAST_US


def test_one_that_asks_for_work_in_vain_does_not_look_more_often_for_that():
    # given a worker that has had nothing to do for a while
    clock = ManualClock()
    storage = MemoryStorage(clock)
    engine = make_engine(Registry(order), storage, clock)
    clock.advance(SAFETY_CLAIM_US)
    # when it asks for work, as it does once a second
    commits = engine.commits
    run(engine)
    assert engine.commits > commits
    # then it looks for others' writes as seldom as before
    assert engine.delay() == POLL_US


def test_one_that_was_given_work_looks_often_for_more():
    # given a worker that has had nothing to do for a while
    clock = ManualClock()
    storage = MemoryStorage(clock)
    engine = make_engine(Registry(order), storage, clock)
    clock.advance(SAFETY_CLAIM_US)
    # when another process starts an instance
    start(storage, "order-1", "order")
    run(engine)
    # then it looks often for what follows
    assert engine.delay() == POLL_FAST_US
