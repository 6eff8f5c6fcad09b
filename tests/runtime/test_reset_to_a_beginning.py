"""Whoever goes back to the beginning of an execution is told its start first, wherever clocks are set to meanwhile."""

from msgspec import Raw

from perdure import ExternalEvent, OrchestrationContext, Registry, Status, orchestration
from perdure._client.rewinding import events_of, put_back
from perdure._work import Batch, Raised
from perdure.storage.memory import MemoryStorage
from perdure.testing import ManualClock
from tests.runtime.engines import deliver, make_engine, run, start

GO = ExternalEvent[str]("go")
SECOND_US = 1_000_000


@orchestration(name="order")
async def order(ctx: OrchestrationContext) -> str:
    if ctx.execution_id == 1:
        ctx.continue_as_new()
    return await ctx.schedule_wait(GO)


def test_an_event_that_is_sent_by_a_clock_that_was_set_back_comes_behind_it():
    # given an instance that goes back to the beginning of its second execution
    clock = ManualClock()
    storage = MemoryStorage(clock)
    start(storage, "a", "order")
    make_engine(Registry(order), storage, clock, seed=1).finish()
    clock.advance(60 * SECOND_US)
    tree = storage.images(["a"])
    events, _ = events_of(tree[0])
    item = put_back(tree[0], events, 0, tree, storage.now())
    storage.commit(Batch(token=bytes(16), items=(item,)))
    # when the clock is set back, and an event is sent
    clock.set(clock.now_us() - 30 * SECOND_US)
    storage = storage.connect(clock)
    deliver(storage, "a", Raised(name="go", data=Raw(b'"on"')))
    engine = make_engine(Registry(order), storage, clock, seed=2)
    # then it waits for its start, and goes on
    assert storage.get("a").status is Status.RUNNING
    clock.advance(60 * SECOND_US)
    run(engine)
    assert storage.get("a").status is Status.COMPLETED
