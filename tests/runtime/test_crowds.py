"""More instances with messages than get their turn at once: the store does not hand them out in every round."""

from collections import Counter

from msgspec import Raw

from perdure import ExternalEvent, OrchestrationContext, Registry, Status, orchestration
from perdure._runtime.hands import CROWD, CROWDED_US, SAFETY_CLAIM_US
from perdure._runtime.live import Arrival
from perdure._work import Query, Raised
from perdure.storage.memory import MemoryStorage
from perdure.testing import ManualClock
from tests.runtime.engines import make_engine, run, start

GO = ExternalEvent[str]("go")
INSTANCES = 1_500
BUSY = 3 * CROWD
READING_US = 1_000


class SlowClock(ManualClock):
    """Time passes with every look at it, so that a round is over after a part of the turns."""

    def monotonic_us(self) -> int:
        self.advance(READING_US)
        return super().monotonic_us()


class Recording(MemoryStorage):
    """A store that keeps count of what it hands out."""

    def __init__(self, clock):
        super().__init__(clock)
        self.handed_out: Counter[str] = Counter()

    def commit(self, batch, /):
        committed = super().commit(batch)
        if committed.work is not None:
            self.handed_out.update(each.record.id for each in committed.work.instances)
        return committed


@orchestration(name="order")
async def order(ctx: OrchestrationContext) -> None:
    return None


@orchestration(name="reading")
async def reading(ctx: OrchestrationContext) -> None:
    while True:
        await ctx.schedule_wait(GO)


def test_a_crowd_is_handed_out_once_or_twice():
    clock = SlowClock()
    storage = Recording(clock)
    for number in range(INSTANCES):
        start(storage, f"i-{number}", "order", number=number + 1)

    engine = make_engine(Registry(order), storage, clock)
    while sum(each.count for each in storage.count(Query(statuses=(Status.COMPLETED,)))) < INSTANCES:
        run(engine)

    assert set(storage.handed_out) == {f"i-{number}" for number in range(INSTANCES)}
    assert storage.handed_out.total() < 2 * INSTANCES


def test_who_comes_later_is_asked_for_soon_however_busy_the_crowd_keeps_itself():
    clock = SlowClock()
    storage = Recording(clock)
    for number in range(BUSY):
        start(storage, f"i-{number}", "reading", number=number + 1)
    engine = make_engine(Registry(reading), storage, clock, cached_max=2 * BUSY)
    while engine.orchestrations.queue:
        run(engine)
    start(storage, "late", "reading", number=BUSY + 1)
    asked_at = clock.now_us()

    while not storage.handed_out["late"]:
        for number in range(BUSY):
            live = engine.orchestrations.by_id(f"i-{number}")
            engine.orchestrations.deliver(live, Arrival(Raised(name="go", data=Raw(b'"on"'))))
            engine.orchestrations.deliver(live, Arrival(Raised(name="go", data=Raw(b'"on"'))))
        engine.run_once()

    assert clock.now_us() - asked_at < SAFETY_CLAIM_US + 2 * CROWDED_US
