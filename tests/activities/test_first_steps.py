"""Activities take their first step as soon as they have a slot: in a task of their own, and not too many in a row."""

import asyncio
import contextvars
import sys
from itertools import pairwise

import pytest

from perdure import ActivityContext, Registry, activity
from perdure._context import ActivityServices
from perdure._runtime.activities import Activities
from perdure._runtime.attempts import key_of
from perdure._runtime.inbox import Ended, GoesBack
from perdure._work import ClaimedTask, sealed
from perdure.testing import ManualClock, SeededEntropy

WHOSE = contextvars.ContextVar("WHOSE", default="nobody's")


def _task(event, definition):
    return ClaimedTask(
        incarnation=1, instance_id="order", orchestration_name="pay", orchestration_version="1.0.0", execution=1,
        event=event, name=definition.name, input=sealed(b"[]"), scheduled_at=0,
    )  # fmt: skip


class Worker:
    """A few slots, and what the engine is told of them."""

    def __init__(self, *definitions, slots=2):
        self.told = asyncio.Queue()
        self.activities = Activities(
            registry=Registry(*definitions),
            clock=ManualClock(),
            entropy=SeededEntropy(1),
            slots=slots,
            threads=1,
            put=lambda entries: [self.told.put_nowait(entry) for entry in entries],
            services=lambda _: ActivityServices(client=None),
        )

    async def results(self, count):
        entries = [await self.told.get() for _ in range(count)]
        assert [type(entry) for entry in entries] == [Ended] * count
        return [bytes(entry.outcome.result) for entry in entries]


@pytest.fixture(params=["asyncio's own tasks", "a task factory of the program's"], autouse=True)
async def makers(request):
    loop = asyncio.get_running_loop()
    if "factory" in request.param:
        loop.set_task_factory(lambda loop, steps, **options: asyncio.Task(steps, loop=loop, **options))
    yield
    loop.set_task_factory(None)


async def test_what_is_over_with_its_first_step_is_told_at_once():
    # given
    @activity
    async def quick() -> int:
        return 1

    worker = Worker(quick)
    are_begun_at_once = sys.version_info >= (3, 12) and asyncio.get_running_loop().get_task_factory() is None

    # when
    worker.activities.accept([_task(event, quick) for event in (2, 4)])

    # then
    assert worker.told.qsize() == (2 if are_begun_at_once else 0)
    assert await worker.results(2) == [b"1", b"1"]


async def test_what_is_over_with_its_first_step_leaves_the_loop_nothing_to_do():
    # given
    @activity
    async def quick() -> int:
        return 1

    worker, loop, rounds = Worker(quick), asyncio.get_running_loop(), []
    are_begun_at_once = sys.version_info >= (3, 12) and loop.get_task_factory() is None
    call_soon, loop.call_soon = (
        loop.call_soon,
        lambda *call, **context: rounds.append(call) or call_soon(*call, **context),
    )
    # when
    try:
        worker.activities.accept([_task(2, quick)])
    finally:
        del loop.call_soon
    # then
    assert bool(rounds) is not are_begun_at_once
    assert await worker.results(1) == [b"1"]


async def test_each_runs_in_a_task_of_its_own_and_may_use_time_limits_in_its_first_step():
    # given
    tasks = []

    @activity
    async def note() -> str:
        async with asyncio.timeout(60):
            task = asyncio.current_task()
            tasks.append(task)
            return task.get_name()

    worker = Worker(note)
    # when two run
    worker.activities.accept([_task(2, note), _task(3, note)])
    # then each had a task that bears its name, and whoever asks outside has another
    assert await worker.results(2) == [f'"{note.name}"'.encode()] * 2
    assert len({*tasks, asyncio.current_task()}) == 3
    await worker.activities.close(0)


async def test_what_one_sets_in_its_context_no_other_sees():
    @activity
    async def claim(ctx: ActivityContext) -> list[str]:
        before = WHOSE.get()
        WHOSE.set(ctx.idempotency_key)
        await asyncio.sleep(0)
        return [before, "its own" if WHOSE.get() == ctx.idempotency_key else "another's"]

    worker = Worker(claim, slots=1)
    worker.activities.accept([_task(2, claim), _task(3, claim)])
    assert await worker.results(2) == [b'["nobody\'s","its own"]'] * 2
    assert WHOSE.get() == "nobody's"
    await worker.activities.close(0)


async def test_many_more_than_there_are_slots_all_end_and_let_the_loop_go_on_meanwhile():
    # given one slot, many activities that are over with their first step, and a task that counts rounds of the loop
    begun = 0
    seen = []

    @activity
    async def step() -> None:
        nonlocal begun
        begun += 1

    async def look() -> None:
        while begun < 2_000:
            seen.append(begun)
            await asyncio.sleep(0)

    worker = Worker(step)
    looking = asyncio.create_task(look())
    # when
    worker.activities.accept([_task(event, step) for event in range(2, 2_002)])
    # then no more began between two looks than there are slots, and all ended
    await worker.results(2_000)
    await looking
    assert max(after - before for before, after in pairwise(seen)) <= 2 * 2
    await worker.activities.close(0)


async def test_no_more_than_there_are_slots_are_under_way():
    # given
    go_on = asyncio.Event()
    under_way = []

    @activity
    async def wait() -> None:
        under_way.append(None)
        await go_on.wait()

    worker = Worker(wait)
    # when
    worker.activities.accept([_task(event, wait) for event in range(2, 7)])
    for _ in range(10):
        await asyncio.sleep(0)
    # then
    assert len(under_way) == 2
    assert worker.activities.under_way == 5
    go_on.set()
    await worker.results(5)
    assert worker.activities.under_way == 0
    await worker.activities.close(0)


async def test_one_that_waits_after_its_first_step_can_be_cancelled():
    # given
    reached = asyncio.Event()

    @activity
    async def wait() -> None:
        reached.set()
        await asyncio.Event().wait()

    worker = Worker(wait)
    worker.activities.accept([_task(2, wait)])
    await reached.wait()
    # when
    worker.activities.cancel([key_of(_task(2, wait))])
    # then
    assert isinstance(await worker.told.get(), GoesBack)
    await worker.activities.close(0)


async def test_one_that_raises_in_its_first_step_leaves_its_slot_to_the_next():
    @activity
    async def fail() -> None:
        raise SystemExit(2)

    worker = Worker(fail, slots=1)
    worker.activities.accept([_task(event, fail) for event in range(2, 5)])
    entries = [await worker.told.get() for _ in range(3)]
    assert {entry.outcome.error.type for entry in entries} == {"builtins.SystemExit"}
    await worker.activities.close(0)


async def test_one_in_its_first_step_does_not_take_itself_for_cancelled():
    @activity
    async def look(ctx: ActivityContext) -> bool:
        return ctx.cancelled

    worker = Worker(look)
    worker.activities.accept([_task(2, look)])
    assert await worker.results(1) == [b"false"]
    await worker.activities.close(0)
