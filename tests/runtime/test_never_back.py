"""An endless instance never goes back to an older version by itself: that code may not read its state."""

import pytest

from perdure import ExternalEvent, OrchestrationContext, Registry, Status, orchestration
from perdure.storage.memory import MemoryStorage
from perdure.testing import ManualClock, SeededEntropy
from tests.runtime.engines import make_engine, run, start

NEVER = ExternalEvent[None]("never")


@orchestration(name="endless", version="1.0.0")
async def endless_1(ctx: OrchestrationContext) -> None:
    await ctx.schedule_wait(NEVER)


@orchestration(name="endless", version="2.0.0")
async def endless_2(ctx: OrchestrationContext) -> None:
    if ctx.execution_id == 1:
        ctx.continue_as_new()
    await ctx.schedule_wait(NEVER)


@orchestration(name="endless", version="2.0.0")
async def endless_back(ctx: OrchestrationContext) -> None:
    ctx.continue_as_new(version="1.0.0")


class Shop:
    """A store on which a worker of release 2 has left between an execution and the next."""

    def __init__(self, left_by: Registry) -> None:
        self.clock = ManualClock()
        self.storage = MemoryStorage(self.clock, SeededEntropy(7))
        engine = make_engine(left_by, self.storage, self.clock)
        start(self.storage, "i", "endless")
        while self.record.execution == 1:
            # It looks for what others have left from time to time.
            self.clock.advance(100_000)
            engine.run_once()
        assert self.record.last_event == 0
        self.storage.unregister(engine.worker)

    @property
    def record(self):
        record = self.storage.get("i")
        assert record is not None
        return record

    def comes(self, registry: Registry) -> None:
        """A worker comes, and does what there is to do."""
        run(make_engine(registry, self.storage, self.clock, seed=2))


def test_what_only_an_older_worker_could_go_on_with_is_held_until_a_newer_one_comes():
    shop = Shop(Registry(endless_2))
    shop.comes(Registry(endless_1))
    assert shop.record.status is Status.HELD
    assert "no orchestration named 'endless' in version 2.0.0 or later is registered here" in shop.record.held_because
    shop.clock.advance(1)
    shop.comes(Registry(endless_1, endless_2))
    assert (shop.record.status, shop.record.version) == (Status.RUNNING, "2.0.0")


@pytest.mark.parametrize(
    ("left_by", "registry"),
    [
        (Registry(endless_2), Registry(endless_1, endless_2, version_policy={"endless": "1.0.0"})),
        (Registry(endless_back), Registry(endless_1)),
    ],
    ids=["a policy", "the code itself"],
)
def test_it_goes_back_where_somebody_says_so(left_by, registry):
    shop = Shop(left_by)
    shop.comes(registry)
    assert (shop.record.status, shop.record.version) == (Status.RUNNING, "1.0.0")
