"""An activity that is given up before its first line has run frees its slot, like any other."""

import asyncio

import pytest

from perdure import Registry, activity
from perdure._context import ActivityServices
from perdure._runtime.activities import Activities
from perdure._runtime.attempts import key_of
from perdure._runtime.inbox import GoesBack
from perdure._work import ClaimedTask, TaskRelease
from perdure.testing import ManualClock, SeededEntropy


@activity(name="charge")
async def charge() -> None:
    raise AssertionError("it was given up before it began")


@pytest.fixture(autouse=True)
async def later_first_steps():
    # asyncio's own tasks take theirs at once where they can; those that a program makes wait for the next round.
    loop = asyncio.get_running_loop()
    loop.set_task_factory(lambda loop, steps, **options: asyncio.Task(steps, loop=loop, **options))
    yield
    loop.set_task_factory(None)


def _task(event: int) -> ClaimedTask:
    return ClaimedTask(
        incarnation=1, instance_id="order", orchestration_name="pay", orchestration_version="1.0.0", execution=1,
        event=event, name="charge", input=b"[]", scheduled_at=0,
    )  # fmt: skip


class Worker:
    """One slot, and what the engine is told of it."""

    def __init__(self) -> None:
        self.told: asyncio.Queue = asyncio.Queue()
        self.activities = Activities(
            registry=Registry(charge),
            clock=ManualClock(),
            entropy=SeededEntropy(1),
            slots=1,
            threads=1,
            put=lambda entries: [self.told.put_nowait(entry) for entry in entries],
            services=lambda _: ActivityServices(client=None),
        )


async def test_the_slot_is_free_again_and_the_engine_is_told():
    # given one that was handed over and one that waits for its slot
    worker = Worker()
    worker.activities.accept([_task(2), _task(3)])
    # when both are given up in the same round of the event loop
    worker.activities.cancel([key_of(_task(2)), key_of(_task(3))])
    # then both come back
    back = [await worker.told.get(), await worker.told.get()]
    assert [(type(entry), type(entry.item), entry.task.event) for entry in back] == [
        (GoesBack, TaskRelease, 2),
        (GoesBack, TaskRelease, 3),
    ]
    await worker.activities.close(0)


async def test_a_shutdown_without_grace_hands_it_back():
    # given one that was handed over just now
    worker = Worker()
    worker.activities.accept([_task(2)])
    # when the worker shuts down at once
    await worker.activities.close(0)
    # then it comes back
    entry = worker.told.get_nowait()
    assert isinstance(entry.item, TaskRelease)
