"""An engine that has nothing to do waits; it doesn't go round and round."""

from perdure import Registry, orchestration
from perdure._ports import Incarnations
from perdure._runtime.dispatcher import Engine
from perdure._runtime.hands import Settings
from perdure._runtime.orchestrations import Orchestrations
from perdure._runtime.watchdog import TurnWatch
from perdure._work import Batch, NewInstance, Start, StartInstance, encode_message
from perdure.storage.memory import MemoryStorage
from perdure.testing import ManualClock, SeededEntropy

LEAST_US = 1_000


@orchestration(name="order")
async def order(_) -> None: ...


class _NoInbox:
    def put(self, entries):
        raise AssertionError(entries)

    def take(self, _wait_us):
        return []


class _NoHands:
    def start(self, tasks):
        raise AssertionError(tasks)

    def cancel(self, keys):
        raise AssertionError(keys)

    def flush(self): ...


def _engine(clock: ManualClock, storage: MemoryStorage) -> Engine:
    registry, entropy = Registry(order), SeededEntropy(1)
    engine = Engine(
        storage=storage,
        registry=registry,
        clock=clock,
        entropy=entropy,
        inbox=_NoInbox(),
        hands=_NoHands(),
        settings=Settings(slots=1, worker_name="test"),
        make_orchestrations=lambda take_slot: Orchestrations(
            storage=storage,
            registry=registry,
            clock=clock,
            entropy=entropy,
            incarnations=Incarnations(clock, entropy),
            cached_max=10,
            watch=TurnWatch(clock, None),
            take_slot=take_slot,
        ),
    )
    engine.register()
    for _ in range(3):
        engine.run_once()
    return engine


def _start_soon(clock: ManualClock, storage: MemoryStorage, due_in_us: int) -> None:
    start = encode_message(Start(input=b"[]"))
    new = NewInstance(id="order-1", incarnation=1, name="order", start=start, start_at=clock.now_us() + due_in_us)
    storage.commit(Batch(token=bytes(16), items=(StartInstance(new=new),)))


def test_one_that_takes_no_new_work_any_more_waits_for_its_activities_to_end():
    # given a worker that shuts down, while an activity of its own still runs, and something that will fall due
    clock = ManualClock()
    storage = MemoryStorage(clock)
    _start_soon(clock, storage, 1_000_000)
    engine = _engine(clock, storage)
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
    _start_soon(clock, storage, 1_000_010)
    engine = _engine(clock, storage)
    # when the store's time stands still, microseconds before that, until the clock has caught up
    clock.advance(1_000_000)
    engine.run_once()
    clock.set(clock.now_us() - 3_600_000_000)
    # then the engine looks now and then
    assert engine.delay() >= LEAST_US
