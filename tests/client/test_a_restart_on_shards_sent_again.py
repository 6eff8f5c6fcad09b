"""A restart on a sharded store whose answer was lost: the children of who was replaced are told, and only these."""

import asyncio
from itertools import count

import pytest

from perdure import OrchestrationContext, OutcomeUnknownError, orchestration
from perdure._client.client import EngineClient
from perdure._client.gateway import ThreadGateway
from perdure._client.shards import ShardedGateway
from perdure._events import Parent
from perdure._ports import SystemClock, SystemEntropy
from perdure._types import slot_of
from perdure._work import Batch, Cancel, NewInstance, Shard, StartInstance, decode_message, with_slot
from perdure.storage.memory import MemoryStorage


@orchestration(name="order")
async def order(ctx: OrchestrationContext) -> None:
    await ctx.schedule_wait("never")


def on(number):
    """An id on this shard of two."""
    return next(f"order-{n}" for n in count() if Shard(number=0, count=2).of(f"order-{n}") == number)


class LosesAnswers(MemoryStorage):
    """What it answers to its next commits with items is lost; what comes after each is done before anybody asks."""

    def __init__(self):
        super().__init__()
        self.after = []

    def commit(self, batch, /):
        committed = super().commit(batch)
        if batch.items and self.after:
            self.after.pop(0)()
            raise OutcomeUnknownError("the connection broke behind the commit")
        return committed


class Shop:
    """Two shards; an order on the first, with a child on the second."""

    def __init__(self):
        self.stores = [LosesAnswers(), LosesAnswers()]
        self.gateway = ShardedGateway(
            [ThreadGateway(store, SystemClock(), SystemEntropy()) for store in self.stores], self.stores
        )
        self.client = EngineClient(self.gateway)

    def add_child(self, name):
        """The order, whoever it is now, has a child on the other shard."""
        record = self.stores[0].get(on(0))
        parent = Parent(instance_id=record.id, incarnation=record.incarnation, execution=1, event=2)
        incarnation = with_slot(self.gateway.draw_incarnation(name), slot_of(name))
        new = NewInstance(id=name, incarnation=incarnation, name="order", start=b"", root=record.id, parent=parent)
        MemoryStorage.commit(self.stores[1], Batch(token=bytes(16), items=(StartInstance(new=new),)))

    def is_told(self, name):
        """Whether a child was told to cancel."""
        bodies = [message.body for message in self.stores[1].rows.by_id[name].messages.values() if message.body]
        return any(isinstance(decode_message(body), Cancel) for body in bodies)


@pytest.fixture
async def shop():
    shop = Shop()
    await shop.client.start_orchestration(order, instance_id=on(0))
    yield shop
    await shop.gateway.close()


async def test_the_children_of_who_was_replaced_hear_of_it(shop):
    shop.add_child(on(1))
    shop.stores[0].after = [lambda: None]
    await shop.client.start_orchestration(order, instance_id=on(0), on_conflict="terminate_and_restart")
    assert shop.is_told(on(1))


async def test_its_own_children_go_on(shop):
    # given a restart that lands, has a child, and is sent again as nobody can look just then
    shop.stores[0].after = [lambda: shop.add_child(on(1))]
    looks = iter([True, False])

    async def read(function, *arguments):
        if function == shop.gateway.inspector.get and not next(looks, True):
            raise OutcomeUnknownError("away")
        return await asyncio.to_thread(function, *arguments)

    shop.gateway.read = read
    # when
    await shop.client.start_orchestration(order, instance_id=on(0), on_conflict="terminate_and_restart")
    # then
    assert not shop.is_told(on(1))


async def test_who_got_the_id_of_a_child_meanwhile_hears_nothing(shop):
    # given that somebody starts anew what was a child, between the look for children and their cancels
    shop.add_child(on(1))
    came = []

    async def read(function, *arguments):
        found = await asyncio.to_thread(function, *arguments)
        if isinstance(found, list) and not came:
            [child] = found
            came.append(child.id)
            await shop.client.start_orchestration(order, instance_id=on(1), on_conflict="terminate_and_restart")
        return found

    shop.gateway.read = read
    # when
    await shop.client.start_orchestration(order, instance_id=on(0), on_conflict="terminate_and_restart")
    # then
    assert came == [on(1)]
    assert not shop.is_told(on(1))
