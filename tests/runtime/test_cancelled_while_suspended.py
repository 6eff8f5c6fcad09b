"""A cancel and a suspend of one instance mean the same whichever comes first: it takes no turn until it is resumed."""

import asyncio

import pytest
from msgspec import Raw

from perdure import ExternalEvent, OrchestrationContext, Registry, Status, activity, orchestration
from perdure._runtime.hands import SAFETY_CLAIM_US
from perdure._runtime.inbox import Ended
from perdure._types import INSTANT_US_MAX
from perdure._work import ActivityOutcome, Batch, Cancel, Raised, Resume, Suspend, Terminate
from perdure.storage.base import MESSAGES_MAX
from perdure.storage.memory import MemoryStorage
from perdure.testing import ManualClock
from tests.runtime.engines import NoHands, deliver, make_engine, run, start
from tests.runtime.faulty import UNAVAILABLE, FaultyStorage

GO = ExternalEvent[str]("go")
CANCEL = Cancel(reason="not needed")

ran: list[str] = []


@activity(name="pack")
async def pack() -> str:
    return "packed"


@orchestration(name="order")
async def order(ctx: OrchestrationContext) -> str:
    ran.append("begun")
    try:
        return await ctx.schedule_wait(GO)
    except asyncio.CancelledError:
        ran.append("cleared up")
        raise


@orchestration(name="packed")
async def packed(ctx: OrchestrationContext) -> str:
    return await ctx.schedule_activity(pack)


@orchestration(name="rounds")
async def rounds(ctx: OrchestrationContext) -> None:
    if ctx.execution_id == 1:
        await ctx.schedule_wait(GO)
        ctx.continue_as_new()
    ran.append("second execution")
    await ctx.schedule_wait(GO)


@orchestration(name="many")
async def many(ctx: OrchestrationContext) -> None:
    while True:
        await ctx.schedule_wait(GO)


@orchestration(name="order")
async def changed(ctx: OrchestrationContext) -> None:
    await ctx.schedule_timer(60)


REGISTRY = Registry(order, packed, rounds, many, pack)


@pytest.fixture(autouse=True)
def nothing_ran():
    ran.clear()


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def storage(clock):
    return MemoryStorage(clock)


def say(storage, item):
    [outcome] = storage.commit(Batch(token=bytes(16), items=(item,))).outcomes
    return outcome


def set_aside(storage):
    say(storage, Suspend(id="a", reason="audit"))


def cancel(storage):
    deliver(storage, "a", CANCEL, control=True)


ORDERS = pytest.mark.parametrize("steps", [(set_aside, cancel), (cancel, set_aside)], ids=["suspended", "cancelled"])


@ORDERS
@pytest.mark.parametrize("start_at", [None, INSTANT_US_MAX], ids=["now", "later"])
@pytest.mark.parametrize("code", [REGISTRY, Registry(pack)], ids=["code", "no code"])
def test_before_it_has_begun_it_ends_and_never_runs(storage, clock, steps, start_at, code):
    start(storage, "a", "order", start_at)
    for step in steps:
        step(storage)
    run(make_engine(code, storage, clock))
    assert (storage.get("a").status, ran) == (Status.CANCELLED, [])


@ORDERS
@pytest.mark.parametrize("code", [REGISTRY, Registry(pack)], ids=["code", "no code"])
def test_when_it_has_begun_it_hears_of_it_as_soon_as_it_is_resumed(storage, clock, steps, code):
    start(storage, "a", "order")
    make_engine(REGISTRY, storage, clock, seed=1).finish()
    for step in steps:
        step(storage)
    run(make_engine(code, storage, clock, seed=2))
    record = storage.get("a")
    assert (record.status, record.held_because, record.owner) == (Status.SUSPENDED, "audit", None)
    assert ran == ["begun"]

    say(storage, Resume(id="a"))
    run(make_engine(REGISTRY, storage, clock, seed=3))
    assert storage.get("a").status is Status.CANCELLED
    assert ran[-1] == "cleared up"


@ORDERS
@pytest.mark.parametrize("code", [REGISTRY, Registry(pack)], ids=["code", "no code"])
def test_between_two_executions_it_has_begun(storage, clock, steps, code):
    # given an instance whose second execution has not begun
    start(storage, "a", "rounds")
    faulty = FaultyStorage(storage, {})
    engine = make_engine(REGISTRY, faulty, clock, seed=1)
    deliver(storage, "a", Raised(name="go", data=Raw(b'""')))
    clock.advance(SAFETY_CLAIM_US)
    while storage.get("a").execution == 1:
        engine.run_once()
    assert storage.get("a").last_event == 0
    # when it is suspended and cancelled
    for step in steps:
        step(storage)
    run(make_engine(code, storage, clock, seed=2))
    # then it waits until it is resumed
    assert storage.get("a").status is Status.SUSPENDED
    say(storage, Resume(id="a"))
    run(make_engine(REGISTRY, storage, clock, seed=3))
    assert storage.get("a").status is Status.CANCELLED


@pytest.mark.parametrize("code", [REGISTRY, Registry(pack)], ids=["code", "no code"])
@pytest.mark.parametrize("end", [CANCEL, Terminate()], ids=["cancel", "terminate"])
def test_it_takes_no_turn_for_what_waits_before_the_end(storage, clock, code, end):
    # given a suspended instance with more messages than a claim brings, and a cancel behind them
    start(storage, "a", "many")
    make_engine(REGISTRY, storage, clock, seed=1).finish()
    set_aside(storage)
    for _ in range(MESSAGES_MAX + 1):
        deliver(storage, "a", Raised(name="go", data=Raw(b'""')))
    deliver(storage, "a", end, control=True)
    before = storage.get("a").last_event
    # when a worker comes
    run(make_engine(code, storage, clock, seed=2))
    # then it takes no turn, until it is resumed if it may clear up
    record = storage.get("a")
    if end is not CANCEL:
        assert (record.status, record.last_event) == (Status.TERMINATED, before + 1)
        return
    assert (record.status, record.held_because, record.last_event) == (Status.SUSPENDED, "audit", before)
    assert len(storage.rows.by_id["a"].messages) == MESSAGES_MAX + 2
    say(storage, Resume(id="a"))
    run(make_engine(REGISTRY, storage, clock, seed=3))
    assert storage.get("a").status is Status.CANCELLED


def test_one_that_is_held_meanwhile_is_tried_once_more_and_then_left_alone(storage, clock):
    # given an instance that has begun, with a cancel from the time when it was suspended
    start(storage, "a", "order")
    make_engine(REGISTRY, storage, clock, seed=1).finish()
    set_aside(storage)
    cancel(storage)
    say(storage, Resume(id="a"))
    # when a worker holds it, whose code is another
    engine = make_engine(Registry(changed), storage, clock, seed=2)
    run(engine)
    run(engine)
    assert storage.get("a").status is Status.HELD
    # then that worker has nothing more to do with it
    commits = engine.commits
    run(engine)
    assert engine.commits == commits
    # and the cancel waits for one with the right code
    run(make_engine(REGISTRY, storage, clock, seed=3))
    assert storage.get("a").status is Status.CANCELLED


class Hands(NoHands):
    def __init__(self):
        self.tasks = []

    def start(self, tasks):
        self.tasks += tasks


class Inbox:
    """Brings what is there now at the beginning of a round, and the rest when the engine waits in the middle of one."""

    def __init__(self):
        self.now = []
        self.later = []

    def take(self, wait_us):
        if wait_us:
            entries, self.later = self.later, []
        else:
            entries, self.now = self.now, []
        return entries


@pytest.mark.parametrize("is_early", [True, False], ids=["with the cancel", "behind it"])
def test_what_an_activity_brings_meanwhile_is_kept(storage, clock, is_early):
    # given a suspended instance, whose activity runs where its cancel comes to
    faulty, hands, inbox = FaultyStorage(storage, {}), Hands(), Inbox()
    start(storage, "a", "packed")
    engine = make_engine(REGISTRY, faulty, clock, inbox=inbox, hands=hands)
    (task,) = hands.tasks
    ended = Ended(task, ActivityOutcome(execution=1, source=task.event, result=Raw(b'"packed"')))
    set_aside(storage)
    cancel(storage)
    clock.advance(SAFETY_CLAIM_US)
    engine.run_once()
    assert storage.get("a").owner is not None
    # when the activity ends before the cancel is put off, or while the store is away
    if is_early:
        inbox.now = [ended]
    else:
        faulty.plan["commit", faulty.calls["commit"] + 1] = UNAVAILABLE
        inbox.later = [ended]
    run(engine)
    # then its outcome waits with the cancel
    row = storage.rows.by_id["a"]
    assert (row.record.status, row.record.owner, dict(row.tasks)) == (Status.SUSPENDED, None, {})
    assert len(row.messages) == 2
