"""A worker beside others that had no room for all that waits asks for more as soon as it has room again."""

import asyncio

import pytest
from msgspec import Raw

from perdure import OrchestrationContext, Registry, activity, orchestration
from perdure._runtime.inbox import Ended
from perdure._work import ActivityOutcome
from perdure.storage.memory import MemoryStorage
from perdure.testing import ManualClock
from tests.runtime.engines import ClientOf, NoHands, make_engine, run, start

WIDTH = 5


@activity(name="step")
async def step() -> int:
    raise AssertionError


@activity(name="something-else")
async def something_else() -> None:
    raise AssertionError


@orchestration(name="wide")
async def wide(ctx: OrchestrationContext) -> list[int]:
    return list(await asyncio.gather(*(ctx.schedule_activity(step) for _ in range(WIDTH))))


class _Hands(NoHands):
    def __init__(self):
        self.running = []

    def start(self, tasks):
        self.running += tasks


@pytest.mark.parametrize("slots", [1, 2])
def test_what_it_had_no_slot_for_begins_when_another_activity_ends_though_nobody_else_writes(slots):
    # given: whoever is beside it has not got the activity, and is silent
    clock = ManualClock()
    storage = MemoryStorage(clock)
    make_engine(Registry(something_else), storage, clock, 1)
    start(storage, "order", "wide")
    client, hands = ClientOf(), _Hands()
    engine = make_engine(Registry(step, wide), storage, clock, 2, inbox=client.inbox, hands=hands, slots=slots)
    begun = 0

    # when
    while hands.running:
        assert len(hands.running) <= slots
        begun += 1
        task = hands.running.pop(0)
        outcome = ActivityOutcome(execution=task.execution, source=task.event, result=Raw(b"1"), attempts=1)
        client.inbox.put([Ended(task, outcome)])
        run(engine)

    # then: the clock stands still, so it has not looked without a reason
    assert begun == WIDTH
