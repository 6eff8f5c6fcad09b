"""What has come into a worker's memory and is not committed yet counts once, and is not lost."""

import pytest
from msgspec import Raw

from perdure import (
    ExternalEvent,
    OrchestrationContext,
    Registry,
    Status,
    StorageUnavailableError,
    UsageError,
    activity,
    orchestration,
)
from perdure._client.requests import Request
from perdure._events import EventRaised, decode_events
from perdure._runtime.inbox import Ended
from perdure._work import APPLIED, ActivityOutcome, Deliver, Raised, Refusal, Refused, decode_message, sealed
from perdure.storage.base import UNKNOWN_GRACE_US
from perdure.storage.memory import MemoryStorage
from perdure.testing import ManualClock
from tests.runtime.engines import ClientOf, NoHands, deliver, make_engine, run, start

GO = ExternalEvent[str]("go")


@orchestration(name="order")
async def order(ctx: OrchestrationContext) -> list[str]:
    return [await ctx.schedule_wait(GO), await ctx.schedule_wait(GO), await ctx.schedule_wait(GO)]


@activity(name="work")
async def work() -> str:
    return "done"


@orchestration(name="busy")
async def busy(ctx: OrchestrationContext) -> None:
    first, second = ctx.schedule_activity(work), ctx.schedule_activity("nobody-has-this", returns=str)
    await first
    await second


class AwayForNow(MemoryStorage):
    """A store that can't read histories while it is told so, and refuses a commit behind what is to happen first."""

    away = False
    first = None

    def commit(self, batch, /):
        if self.first is not None:
            happens, self.first = self.first, None
            happens()
            raise StorageUnavailableError("not now")
        return super().commit(batch)

    def history(self, incarnation, execution, /):
        if self.away:
            raise StorageUnavailableError("not now")
        return super().history(incarnation, execution)


class Hands(NoHands):
    """Hands that only remember what they were to start."""

    def __init__(self):
        self.tasks = []

    def start(self, tasks):
        self.tasks += tasks


def send(storage: MemoryStorage, instance_id: str, data: str) -> None:
    deliver(storage, instance_id, Raised(name="go", data=Raw(f'"{data}"'.encode())))


def raised(storage: MemoryStorage, instance_id: str) -> list[bytes]:
    record = storage.get(instance_id)
    rows = storage.history(record.incarnation, record.execution)
    events = [event for row in rows for event in decode_events(row.data)]
    return [bytes(event.data) for event in events if isinstance(event, EventRaised)]


@pytest.fixture
def clock():
    return ManualClock()


def test_a_message_that_can_t_be_read_is_told_to_who_sent_it_and_stops_nobody(clock):
    client = ClientOf()
    storage = MemoryStorage(clock)
    start(storage, "order", "order")
    engine = make_engine(Registry(order), storage, clock, inbox=client.inbox)
    answers = []
    body = sealed(b'{"m":"cancel","reason":5}')
    client.inbox.put([Request(Deliver(to_id="order", body=body), answers.append)])

    run(engine)
    client.raise_event("order", "go", "on")
    run(engine)

    [answer] = answers
    assert isinstance(answer, UsageError)
    assert raised(storage, "order") == [b'"on"']


def test_what_is_for_an_earlier_instance_of_the_id_does_not_reach_the_one_in_memory(clock):
    client = ClientOf()
    storage = MemoryStorage(clock)
    start(storage, "order", "order", number=2)
    engine = make_engine(Registry(order), storage, clock, inbox=client.inbox)

    answers = {number: client.raise_event("order", "go", f"to {number}", incarnation=number) for number in (1, 2)}
    run(engine)

    assert answers == {1: [Refused(reason=Refusal.NOT_FOUND)], 2: [APPLIED]}
    assert raised(storage, "order") == [b'"to 2"']


@pytest.fixture
def storage(clock):
    storage = AwayForNow(clock)
    for number in (1, 2):
        start(storage, f"order-{number}", "order", number=number)
    make_engine(Registry(order), storage, clock).finish()
    return storage


def test_a_message_that_is_handed_out_again_while_it_waits_counts_once(clock, storage):
    others = storage.connect()
    engine = make_engine(Registry(order), storage, clock, seed=2)
    storage.away = True
    for data in ("a", "b", "c"):
        send(others, "order-1", data)
        clock.advance(100_000)
        run(engine)
    storage.away = False
    run(engine)
    assert raised(storage, "order-1") == [b'"a"', b'"b"', b'"c"']
    assert storage.get("order-1").status is Status.COMPLETED


def test_a_full_cache_keeps_what_has_messages(clock, storage):
    client, others = ClientOf(), storage.connect()
    engine = make_engine(Registry(order), storage, clock, seed=2, inbox=client.inbox, cached_max=1)
    send(others, "order-1", "from elsewhere")
    clock.advance(100_000)
    run(engine)
    send(others, "order-2", "from elsewhere")
    clock.advance(100_000)
    answers = []
    # While the commit that brings the second one waits for the store, the first one gets another message.
    storage.first = lambda: answers.append(client.raise_event("order-1", "go", "from here"))
    run(engine)
    assert answers == [[APPLIED]]
    assert raised(storage, "order-1") == [b'"from elsewhere"', b'"from here"']


def test_what_an_activity_brings_to_a_turn_that_is_refused_is_sent_on(clock):
    storage, client, hands = MemoryStorage(clock), ClientOf(), Hands()
    start(storage, "busy", "busy")
    engine = make_engine(Registry(busy, work), storage, clock, inbox=client.inbox, hands=hands)
    [task] = hands.tasks
    # The other activity is nobody's: looking after others holds the instance, and it is no longer this worker's.
    clock.advance(UNKNOWN_GRACE_US)
    storage.heartbeat(engine.worker)
    run(engine)
    assert storage.get("busy").status is Status.HELD
    outcome = ActivityOutcome(execution=1, source=task.event, result=Raw(b'"done"'))
    client.inbox.put([Ended(task, outcome)])
    run(engine)
    row = storage.rows.by_id["busy"]
    assert [type(decode_message(each.body)) for each in row.messages.values()] == [ActivityOutcome]
    assert (1, task.event) not in row.tasks
