"""A cancel of what has not begun needs no code: a worker that lacks it may end the instance, and never holds it."""

import pytest
from msgspec import Raw

from perdure import ExternalEvent, OrchestrationContext, Registry, orchestration
from perdure._runtime.hands import SAFETY_CLAIM_US
from perdure._types import Status
from perdure._work import Cancel, Raised
from perdure.storage.base import MESSAGES_MAX
from perdure.storage.memory import MemoryStorage
from perdure.testing import ManualClock
from tests.runtime.engines import deliver, make_engine, run, start

GO = ExternalEvent[str]("go")


@orchestration(name="other")
async def other(_) -> None: ...


@orchestration(name="rounds")
async def rounds(ctx: OrchestrationContext) -> None:
    await ctx.schedule_wait(GO)
    ctx.continue_as_new()


@pytest.mark.parametrize("waiting", [0, MESSAGES_MAX], ids=["nothing else", "more than a claim brings"])
def test_by_a_worker_that_has_other_code(waiting):
    # given an instance that waits for a worker with its code, and is to be cancelled
    clock = ManualClock()
    storage = MemoryStorage(clock)
    start(storage, "order-1", "order")
    for _ in range(waiting):
        deliver(storage, "order-1", Raised(name="go", data=Raw(b'""')))
    deliver(storage, "order-1", Cancel(reason="not needed"), control=True)
    # when a worker comes that has other code
    make_engine(Registry(other), storage, clock)
    # then it has ended
    assert storage.get("order-1").status is Status.CANCELLED


def test_between_two_executions_it_waits_for_its_code():
    # given an instance whose second execution has not begun, and which is to be cancelled
    clock = ManualClock()
    storage = MemoryStorage(clock)
    start(storage, "order-1", "rounds")
    engine = make_engine(Registry(rounds), storage, clock, seed=1)
    deliver(storage, "order-1", Raised(name="go", data=Raw(b'""')))
    clock.advance(SAFETY_CLAIM_US)
    while storage.get("order-1").execution == 1:
        engine.run_once()
    assert storage.get("order-1").last_event == 0
    storage.unregister(engine.worker)
    deliver(storage, "order-1", Cancel(reason="not needed"), control=True)
    # when a worker looks at it that has other code
    run(make_engine(Registry(other), storage, clock, seed=2))
    # then it hears of the cancel where it can clear up
    assert storage.get("order-1").status is Status.RUNNING
    clock.advance(SAFETY_CLAIM_US)
    run(make_engine(Registry(rounds), storage, clock, seed=3))
    assert storage.get("order-1").status is Status.CANCELLED
