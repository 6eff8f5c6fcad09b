"""An activity may end while its instance is being set aside: what it brings is there for the next owner."""

from msgspec import Raw

from perdure import OrchestrationContext, Registry, Status, activity, orchestration
from perdure._runtime.hands import SAFETY_CLAIM_US
from perdure._runtime.inbox import Ended
from perdure._work import ActivityOutcome, decode_message
from perdure.storage.memory import MemoryStorage
from perdure.testing import ManualClock
from tests.runtime.engines import NoHands, deliver_bytes, make_engine, run, start
from tests.runtime.faulty import UNAVAILABLE, FaultyStorage


@activity(name="pack")
async def pack() -> str:
    return "packed"


@orchestration(name="order")
async def order(ctx: OrchestrationContext) -> str:
    return await ctx.schedule_activity(pack)


class Hands(NoHands):
    """Takes activities, and lets them run until the test ends them."""

    def __init__(self) -> None:
        self.tasks = []

    def start(self, tasks):
        self.tasks += tasks


class Inbox:
    """Brings nothing, until the engine waits in the middle of a round."""

    def __init__(self) -> None:
        self.later = []

    def take(self, wait_us):
        entries, self.later = (self.later, []) if wait_us else ([], self.later)
        return entries


def test_an_outcome_that_comes_while_the_hold_is_tried_again_is_stored():
    # given an instance whose activity runs, and a message for it that nobody can read
    clock = ManualClock()
    storage = FaultyStorage(MemoryStorage(clock), {})
    hands, inbox = Hands(), Inbox()
    start(storage, "order-1", "order")
    engine = make_engine(Registry(order, pack), storage, clock, inbox=inbox, hands=hands)
    (task,) = hands.tasks
    deliver_bytes(storage, "order-1", b"no message")
    clock.advance(SAFETY_CLAIM_US)
    engine.run_once()
    # when the store is away as the instance is set aside, and the activity ends before it is back
    storage.plan["commit", storage.calls["commit"] + 1] = UNAVAILABLE
    outcome = ActivityOutcome(execution=1, source=task.event, result=Raw(b'"packed"'))
    inbox.later = [Ended(task, outcome)]
    run(engine)
    # then the instance is held, its task is gone, and the outcome waits beside the message
    instance = storage.inner.rows.by_id["order-1"]
    assert instance.record.status is Status.HELD
    assert not instance.tasks
    assert decode_message(max(instance.messages.values(), key=lambda row: row.seq).body) == outcome
