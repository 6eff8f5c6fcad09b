"""What somebody has let go on, while somebody else gave it up as held, is not given up."""

from contextlib import asynccontextmanager

import pytest

from perdure import Happened, NotHeldError
from perdure._client.client import EngineClient
from perdure._client.gateway import ThreadGateway
from perdure._ports import SystemClock, SystemEntropy
from perdure._work import Batch, Deliver, Resume, TaskDiscard, TaskHold
from perdure.storage.memory import MemoryStorage
from perdure.testing import ManualClock
from perdure.testing.storage_suite.world import World, about, task


class Overtaken(MemoryStorage):
    """Before it is told to give something up, this happens."""

    before = None

    def commit(self, batch, /):
        before = self.before
        if before is not None and any(isinstance(item, Deliver | TaskDiscard) for item in batch.items):
            self.before = None
            before()
        return super().commit(batch)


@pytest.fixture
def world():
    clock = ManualClock()
    storage = Overtaken(clock)
    return World(storage, clock, storage.connect)


@asynccontextmanager
async def client_of(world):
    gateway = ThreadGateway(world.storage, SystemClock(), SystemEntropy())
    try:
        yield EngineClient(gateway)
    finally:
        await gateway.close()


def resume(world, **fields):
    world.storage.commit(Batch(token=bytes(16), items=(Resume(id="order", **fields),)))


async def test_an_instance_that_goes_on_is_not_terminated(world):
    # given a held instance
    worker = world.worker()
    worker.own("order")
    worker.do(worker.hold("order"))
    # when somebody lets it go on between the look at it and its end
    world.storage.before = lambda: resume(world)
    async with client_of(world) as client:
        # then it is not ended
        with pytest.raises(NotHeldError):
            await client.discard("order")
        assert world.storage.depths().messages == 0
        # and while it is held it is
        worker.claim()
        world.deliver("order", b"news")
        worker.take("order")
        worker.do(worker.hold("order"))
        await client.discard("order")
    assert world.storage.depths().messages == 2


@pytest.mark.parametrize("how", ["discard", "resolve"])
async def test_an_activity_that_is_held_for_another_attempt_is_not_decided(world, how):
    # given a held activity
    worker = world.worker()
    worker.own("order")
    worker.run("order", tasks=(task(2),))
    worker.do(about(TaskHold, worker.take_task(2), reason="nobody knows"))

    def is_called_again():
        world.clock.advance(1)
        resume(world, event=2)
        worker.do(about(TaskHold, worker.take_task(2), reason="nobody knows"))

    async with client_of(world) as client:
        [held] = await client.list_held_activities()
        calls = {
            "discard": lambda: client.discard("order", event_id=2),
            "resolve": lambda: client.resolve(held, Happened("paid")),
        }
        # when it is called again, and held again, between the look at it and the decision
        world.storage.before = is_called_again
        # then the decision is refused
        with pytest.raises(NotHeldError):
            await calls[how]()
        assert len(await client.list_held_activities()) == 1
    assert world.storage.depths().messages == 0
