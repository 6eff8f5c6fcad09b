"""A start whose answer was lost, and whose instance has been deleted when it is sent again: it does not run twice."""

from contextlib import asynccontextmanager

import pytest
from msgspec import Raw

from perdure import OrchestrationContext, OutcomeUnknownError, Registry, Status, StorageUnavailableError, orchestration
from perdure._client.client import EngineClient
from perdure._client.gateway import ThreadGateway
from perdure._client.requests import Request
from perdure._ports import SystemClock, SystemEntropy
from perdure._work import APPLIED, Batch, Delete, NewInstance, Start, StartInstance, encode_message
from perdure.storage.memory import MemoryStorage
from perdure.testing import ManualClock
from tests.runtime.engines import ClientOf, make_engine, run, start


@orchestration(name="order")
async def order(ctx: OrchestrationContext) -> None:
    await ctx.schedule_wait("never")


class LosesAnswers(MemoryStorage):
    """What it answers to so many commits with items is lost; what comes after each is done before anybody asks."""

    def __init__(self, clock=None, *, after=()):
        super().__init__(clock)
        self.after = list(after)
        self.began = []

    def commit(self, batch, /):
        before = set(self.rows.instances)
        committed = super().commit(batch)
        self.began += set(self.rows.instances) - before
        if batch.items and self.after:
            self.after.pop(0)(self)
            raise OutcomeUnknownError("the connection broke behind the commit")
        return committed


class Loses(LosesAnswers):
    """Its next commits with items are lost, and not only the answers."""

    def commit(self, batch, /):
        if batch.items and self.after:
            self.after.pop(0)(self)
            raise OutcomeUnknownError("the connection broke before the commit")
        return super().commit(batch)


def one_that_is_younger_comes_and_goes(storage):
    """Somebody whose clock is ahead starts something, and deletes it."""
    new = NewInstance(id="other", incarnation=1 << 62, name="order", start=b"", root="other")
    items = StartInstance(new=new), Delete(id="other", force=True)
    MemoryStorage.commit(storage, Batch(token=bytes(16), items=items))


def deletes(storage):
    """Somebody deletes it."""
    MemoryStorage.commit(storage, Batch(token=bytes(16), items=(Delete(id="order-1", force=True),)))


def goes_on(_storage):
    """Nothing happens."""


def deletes_the_fork(storage):
    """Somebody deletes the fork."""
    MemoryStorage.commit(storage, Batch(token=bytes(16), items=(Delete(id="fork-1", force=True),)))


def is_away(storage):
    """The store can't be reached any more."""

    def refuse(batch):
        raise StorageUnavailableError("away")

    storage.commit = refuse


@asynccontextmanager
async def client_of(storage):
    gateway = ThreadGateway(storage, SystemClock(), SystemEntropy())
    try:
        yield EngineClient(gateway)
    finally:
        await gateway.close()


@pytest.mark.parametrize("on_conflict", ["fail", "use_existing", "restart_if_closed", "terminate_and_restart"])
async def test_a_client_hears_that_nobody_knows_where_it_was_deleted(on_conflict):
    storage = LosesAnswers(after=[deletes])
    async with client_of(storage) as client:
        with pytest.raises(OutcomeUnknownError, match="deleted or replaced"):
            await client.start_orchestration(order, instance_id="order-1", on_conflict=on_conflict)
    assert (len(storage.began), storage.get("order-1")) == (1, None)


async def test_a_client_hears_so_too_where_it_never_began_and_something_younger_was_deleted():
    storage = Loses(after=[one_that_is_younger_comes_and_goes])
    async with client_of(storage) as client:
        with pytest.raises(OutcomeUnknownError, match="as young or younger was deleted or replaced: perhaps it was"):
            await client.start_orchestration(order, instance_id="order-1")
    assert (storage.began, storage.get("order-1")) == ([], None)


async def test_a_client_starts_what_never_began():
    storage = Loses(after=[goes_on])
    async with client_of(storage) as client:
        await client.start_orchestration(order, instance_id="order-1")
    assert storage.began == [storage.get("order-1").incarnation]


async def test_a_client_finds_what_it_has_started():
    storage = LosesAnswers(after=[goes_on, goes_on])
    async with client_of(storage) as client:
        handle = await client.start_orchestration(order, instance_id="order-1")
        assert (await handle.status()).status is Status.PENDING
    assert storage.began == [storage.get("order-1").incarnation]


async def test_a_client_is_not_told_that_nothing_was_started_where_the_store_is_away_then():
    storage = LosesAnswers(after=[is_away])
    async with client_of(storage) as client:
        with pytest.raises(OutcomeUnknownError, match="behind the commit"):
            await client.start_orchestration(order, instance_id="order-1")
    assert len(storage.began) == 1


@pytest.fixture
def forkable():
    """A store with an order that waits."""
    clock = ManualClock()
    storage = LosesAnswers(clock)
    start(storage, "order-1", "order")
    engine = make_engine(Registry(order), storage, clock)
    run(engine)
    engine.finish()
    storage.began.clear()
    return storage


async def test_a_fork_that_was_deleted_is_not_made_once_more(forkable):
    forkable.after = [deletes_the_fork]
    async with client_of(forkable) as client:
        with pytest.raises(OutcomeUnknownError, match="'fork-1'"):
            await client.fork("order-1", "fork-1", run=True)
    assert (len(forkable.began), forkable.get("fork-1")) == (1, None)


async def test_a_fork_that_is_there_is_found(forkable):
    forkable.after = [goes_on]
    async with client_of(forkable) as client:
        await client.fork("order-1", "fork-1", run=True)
    assert forkable.began == [forkable.get("fork-1").incarnation]


@pytest.mark.parametrize(
    ("store", "after", "lives"),
    [
        pytest.param(LosesAnswers, goes_on, True, id="landed"),
        pytest.param(LosesAnswers, deletes, False, id="deleted"),
        # It knows its own commits, whatever others have done.
        pytest.param(Loses, one_that_is_younger_comes_and_goes, True, id="lost"),
    ],
)
def test_a_worker_whose_client_started_it_begins_it_once(store, after, lives):
    # given a worker whose client starts something, of whose first turn no answer comes
    clock = ManualClock()
    storage, client, answers = store(clock), ClientOf(), []
    engine = make_engine(Registry(order), storage, clock, inbox=client.inbox)
    message = encode_message(Start(input=Raw(b"[]")))
    new = NewInstance(id="order-1", incarnation=7, name="order", start=message, root="order-1")
    client.inbox.put([Request(StartInstance(new=new), answers.append)])
    storage.after = [after]
    # when it asks again
    run(engine)
    # then it has begun once
    assert storage.began == [7]
    assert (storage.get("order-1") is not None) is lives
    [answer] = answers
    assert (answer == APPLIED) is lives
