"""Whom somebody waits for is looked up now and then, should news have been missed: not all of them in each second."""

from perdure import ExternalEvent, OrchestrationContext, Registry, orchestration
from perdure._client.requests import Watch
from perdure._runtime.hands import SAFETY_CLAIM_US
from perdure._runtime.watches import WATCHED_LOOKED_AT_MAX
from perdure._work import Batch, Cancel, Delete, encode_message
from perdure.errors import InstanceNotFoundError, StorageUnavailableError
from perdure.storage.memory import MemoryStorage
from perdure.testing import ManualClock
from tests.runtime.engines import ClientOf, make_engine, replace, run, start

GO = ExternalEvent[str]("go")
INSTANCES = 250


class Silent(MemoryStorage):
    """A store that never says that others have written, and remembers whom it was asked for."""

    def __init__(self, clock):
        super().__init__(clock)
        self.looked_up: list[str] = []
        self.read: list[str] = []
        self.is_away = False

    def changed(self):
        return False

    def get_many(self, ids, /):
        self.looked_up += ids
        self.read += ids
        return super().get_many(ids)

    def still_open(self, ids, /):
        self.looked_up += ids
        if self.is_away:
            raise StorageUnavailableError("away, as planned")
        return {id_: each.incarnation for id_, each in super().get_many(ids).items() if not each.status.is_closed}


@orchestration(name="order")
async def order(ctx: OrchestrationContext) -> str:
    return await ctx.schedule_wait(GO)


class Waiting:
    """A worker with many instances in its memory, and a client that waits for the end of each."""

    def __init__(self, cached_max: int):
        self.clock = ManualClock()
        self.storage = Silent(self.clock)
        for number in range(INSTANCES):
            start(self.storage, f"order-{number}", "order", number=number + 1)
        client = ClientOf()
        self.engine = make_engine(Registry(order), self.storage, self.clock, inbox=client.inbox, cached_max=cached_max)
        self.news = {}
        client.inbox.put([self.watch(f"order-{number}", number + 1) for number in range(INSTANCES)])
        run(self.engine)
        self.storage.looked_up.clear()

    def watch(self, instance_id: str, incarnation: int) -> Watch:
        def hear(news):
            self.news[instance_id] = news

        return Watch(instance_id, incarnation, until_closed=True, resolve=hear, wanted=lambda: True)

    def next_second(self) -> list[str]:
        """Whom the worker looks up in it."""
        self.clock.advance(SAFETY_CLAIM_US)
        self.storage.looked_up.clear()
        self.engine.run_once()
        return [*self.storage.looked_up]


def test_of_those_in_memory_a_few_each_time_and_in_the_end_all():
    waiting = Waiting(cached_max=INSTANCES)

    rounds = [waiting.next_second() for _ in range(3)]

    assert all(len(looked_up) <= WATCHED_LOOKED_AT_MAX for looked_up in rounds)
    assert len({each for looked_up in rounds for each in looked_up}) == INSTANCES


def test_those_that_are_not_in_memory_each_time():
    waiting = Waiting(cached_max=10)

    assert len(waiting.next_second()) >= INSTANCES - 10


def test_what_has_become_of_one_is_told_although_nobody_has_said_that_anything_has():
    # given somebody who waits for an instance in memory
    waiting = Waiting(cached_max=INSTANCES)
    # when another process puts another in its place, unheard
    replace(waiting.storage, "order-249", "order", number=1_000, cancel=encode_message(Cancel()))
    # then that is found out within a few seconds
    for _ in range(3):
        waiting.next_second()
    assert isinstance(waiting.news["order-249"], InstanceNotFoundError)


def test_only_of_those_that_are_not_open_the_records_are_read():
    waiting = Waiting(cached_max=10)
    waiting.storage.commit(Batch(token=bytes(16), items=(Delete(id="order-7", force=True),)))
    waiting.storage.read.clear()

    waiting.next_second()

    assert waiting.storage.read == ["order-7"]
    assert isinstance(waiting.news["order-7"], InstanceNotFoundError)


def test_a_look_that_failed_is_made_up_for():
    waiting = Waiting(cached_max=10)
    replace(waiting.storage, "order-5", "order", number=1_000, cancel=encode_message(Cancel()))

    waiting.storage.is_away = True
    waiting.next_second()
    assert waiting.news == {}

    waiting.storage.is_away = False
    waiting.next_second()
    assert isinstance(waiting.news["order-5"], InstanceNotFoundError)


def test_nobody_is_looked_up_where_nobody_waits():
    waiting = Waiting(cached_max=INSTANCES)
    for number in range(INSTANCES):
        waiting.engine.give_up(f"order-{number}", TimeoutError())

    assert waiting.next_second() == []
