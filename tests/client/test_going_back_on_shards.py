"""Who goes back on a shard goes on by the clock of that shard, however far ahead those of others are."""

from itertools import count

import pytest

from perdure import OrchestrationContext, Registry, orchestration
from perdure._client.client import EngineClient
from perdure._client.gateway import ThreadGateway
from perdure._client.shards import ShardedGateway
from perdure._ports import SystemEntropy
from perdure._work import Shard
from perdure.storage.memory import MemoryStorage
from perdure.testing import ManualClock
from tests.runtime.engines import make_engine, run

AHEAD_US = 3_600_000_000


@orchestration(name="order")
async def order(ctx: OrchestrationContext) -> None:
    await ctx.schedule_wait("go")
    raise RuntimeError("it broke")


def on(number, name="order"):
    """An id on this shard of two."""
    return next(f"{name}-{n}" for n in count() if Shard(number=0, count=2).of(f"{name}-{n}") == number)


class Shop:
    """Two shards, the clock of the second of which is an hour ahead, and a worker on the first."""

    def __init__(self):
        clocks = [ManualClock(), ManualClock()]
        clocks[1].advance(AHEAD_US)
        self.clock = clocks[0]
        self.stores = [MemoryStorage(clock) for clock in clocks]
        gateways = [
            ThreadGateway(store, clock, SystemEntropy()) for store, clock in zip(self.stores, clocks, strict=True)
        ]
        self.gateway = ShardedGateway(gateways, self.stores)
        self.client = EngineClient(self.gateway)
        self.engine = make_engine(Registry(order), self.stores[0].connect(), self.clock)

    async def has_waited(self):
        """The order on the first shard has begun, and waits."""
        await self.client.start_orchestration(order, instance_id=on(0))
        self._work()

    async def has_failed(self):
        """It has failed after that."""
        await self.has_waited()
        await self.client.raise_event(on(0), "go")
        self._work()

    def _work(self):
        # It looks what others have left only from time to time.
        self.clock.advance(1_000_000)
        run(self.engine)

    def due(self, instance_id):
        """When what it is told, and it itself, falls due."""
        [image] = self.stores[0].images([instance_id])
        return [image.ready_at, *(each.due_at for each in image.messages)]


@pytest.fixture
async def shop():
    shop = Shop()
    yield shop
    await shop.gateway.close()


async def test_who_is_reset_begins_at_once(shop):
    await shop.has_waited()
    await shop.client.reset(on(0), to="start", grace=0)
    assert max(shop.due(on(0))) <= shop.clock.now_us()


async def test_who_is_rewound_goes_on_at_once(shop):
    await shop.has_failed()
    await shop.client.rewind(on(0))
    assert max(shop.due(on(0))) <= shop.clock.now_us()


async def test_a_fork_begins_at_once(shop):
    await shop.has_waited()
    await shop.client.fork(on(0), on(0, "fork"), from_event=0)
    assert max(shop.due(on(0, "fork"))) <= shop.clock.now_us()
