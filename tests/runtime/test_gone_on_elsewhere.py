"""Another worker goes on with an instance, and gives it back: what the first one remembers of it is of no use."""

from msgspec import Raw

from perdure import ExternalEvent, OrchestrationContext, Registry, Status, orchestration
from perdure._work import Batch, Raised, Resume, Suspend
from perdure.storage.memory import MemoryStorage
from perdure.testing import ManualClock
from tests.runtime.engines import deliver, make_engine, run, start

GO = ExternalEvent[str]("go")
MINUTE = 60_000_000


@orchestration(name="order")
async def order(ctx: OrchestrationContext, round_: int = 1) -> str:
    if round_ == 1:
        await ctx.schedule_wait(GO)
        ctx.continue_as_new(2)
    await ctx.schedule_timer(60)
    return "shipped"


def test_a_timer_of_an_execution_that_this_worker_has_not_seen_is_not_passed_over():
    # given an instance that waits in the memory of one worker, which is not told that it is set aside
    clock = ManualClock()
    storage = MemoryStorage(clock)
    start(storage, "order-1", "order")
    first = make_engine(Registry(order), storage, clock)
    assert first.worker == storage.get("order-1").owner
    storage.commit(Batch(token=b"t", items=(Suspend(id="order-1", reason="a look at it"), Resume(id="order-1"))))

    # when another one takes it into its next execution, where it waits for a timer, and leaves
    deliver(storage, "order-1", Raised(name="go", data=Raw(b'"on"')))
    second = make_engine(Registry(order), storage, clock, seed=2)
    run(second)
    assert (storage.get("order-1").execution, storage.get("order-1").last_event) == (2, 2)
    storage.unregister(second.worker)
    clock.advance(2 * MINUTE)
    run(first)

    # then the first one goes on from there
    assert storage.get("order-1").status is Status.COMPLETED
