"""Another worker goes on with an instance, and gives it back: what the first one remembers of it is of no use."""

from msgspec import Raw

from perdure import ExternalEvent, OrchestrationContext, Registry, Status, activity, orchestration
from perdure._runtime.hands import SAFETY_CLAIM_US
from perdure._runtime.inbox import Ended
from perdure._work import ActivityOutcome, Batch, Raised, Resume, Suspend
from perdure.storage.memory import MemoryStorage
from perdure.testing import ManualClock
from tests.runtime.engines import ClientOf, NoHands, deliver, make_engine, run, start

GO = ExternalEvent[str]("go")
MINUTE = 60_000_000


@orchestration(name="order")
async def order(ctx: OrchestrationContext, round_: int = 1) -> str:
    if round_ == 1:
        await ctx.schedule_wait(GO)
        ctx.continue_as_new(2)
    await ctx.schedule_timer(60)
    return "shipped"


@activity(name="pack")
async def pack() -> str:
    return "packed"


@orchestration(name="parcel")
async def parcel(ctx: OrchestrationContext, round_: int = 1) -> str:
    if round_ == 1:
        await ctx.schedule_wait(GO)
        ctx.continue_as_new(2)
    return await ctx.schedule_activity(pack)


class Hands(NoHands):
    """Takes activities, and lets them run until the test ends them."""

    def __init__(self) -> None:
        self.tasks = []

    def start(self, tasks):
        self.tasks += tasks


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


def test_an_outcome_is_not_given_to_what_a_worker_remembers_of_an_earlier_execution():
    # given an instance that waits in the memory of one worker, which is not told that it is set aside
    clock = ManualClock()
    storage = MemoryStorage(clock)
    start(storage, "parcel-1", "parcel")
    client, hands = ClientOf(), Hands()
    first = make_engine(Registry(parcel, pack), storage, clock, inbox=client.inbox, hands=hands)
    storage.commit(Batch(token=b"t", items=(Suspend(id="parcel-1", reason="a look at it"), Resume(id="parcel-1"))))

    # when another one takes it into its next execution, whose activity the first one runs
    deliver(storage, "parcel-1", Raised(name="go", data=Raw(b'"on"')))
    second = make_engine(Registry(parcel), storage, clock, seed=2)
    run(second)
    clock.advance(SAFETY_CLAIM_US)
    run(first)
    (task,) = hands.tasks
    client.inbox.put([Ended(task, ActivityOutcome(execution=2, source=task.event, result=Raw(b'"packed"')))])
    run(first)

    # then the outcome is there for the other one
    clock.advance(SAFETY_CLAIM_US)
    run(second)
    assert storage.get("parcel-1").status is Status.COMPLETED
