"""A cancel that was meant for an instance whose start is not due, and comes when it has begun elsewhere."""

import pytest
from msgspec import Raw

from perdure import ExternalEvent, OrchestrationContext, Registry, Status, orchestration
from perdure._work import Cancel, Raised, decode_message
from perdure.storage.memory import MemoryStorage
from perdure.testing import ManualClock
from tests.runtime.engines import deliver, make_engine, run, start

GO = ExternalEvent[str]("go")


@orchestration(name="order")
async def order(ctx: OrchestrationContext) -> str:
    return await ctx.schedule_wait(GO)


@orchestration(name="order", version="2.0.0")
async def other_version(ctx: OrchestrationContext) -> str:
    return await ctx.schedule_wait(GO)


@orchestration(name="another")
async def another(ctx: OrchestrationContext) -> None:
    return None


@pytest.mark.parametrize("code", [another, other_version], ids=["another name", "another version"])
def test_a_worker_without_the_code_sends_it_on_to_one_that_has_it(code):
    clock = ManualClock()
    storage = MemoryStorage(clock)
    start(storage, "order", "order")
    first = make_engine(Registry(order), storage, clock, seed=1)
    first.finish()
    assert storage.get("order").status is Status.RUNNING

    deliver(storage, "order", Cancel(reason="too late"), control=True)
    stranger = make_engine(Registry(code), storage, clock, seed=2)
    run(stranger)
    record = storage.get("order")
    assert (record.status, record.held_because, record.owner) == (Status.RUNNING, None, None)

    run(make_engine(Registry(order), storage, clock, seed=3))
    assert storage.get("order").status is Status.CANCELLED


def test_events_that_come_along_are_kept():
    clock = ManualClock()
    storage = MemoryStorage(clock)
    start(storage, "order", "order")
    make_engine(Registry(order), storage, clock, seed=1).finish()
    deliver(storage, "order", Cancel(reason="too late"), control=True)
    deliver(storage, "order", Raised(name="go", data=Raw(b'"gone"')))
    run(make_engine(Registry(another), storage, clock, seed=2))
    waiting = storage.rows.by_id["order"].messages.values()
    assert {type(decode_message(each.body)) for each in waiting} == {Cancel, Raised}
    assert not any(each.control for each in waiting)
