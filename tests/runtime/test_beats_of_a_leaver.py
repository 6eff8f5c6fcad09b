"""The heartbeat says when others have taken over the worker's work, but not that the worker itself has left."""

import asyncio

from perdure._runtime.heartbeat import Heartbeat
from perdure._runtime.watchdog import LoopWatch, TurnWatch
from perdure.storage.base import LEASE_US
from perdure.storage.memory import MemoryStorage
from perdure.testing import ManualClock

NOBODY = 4711


async def _beat(*, leaving):
    clock = ManualClock()
    heartbeat = Heartbeat(
        storage=MemoryStorage(clock),
        clock=clock,
        worker=lambda: NOBODY,
        turns=TurnWatch(clock, None),
        loop=LoopWatch(asyncio.get_running_loop(), clock),
    )
    if leaving:
        heartbeat.leave()
    clock.advance(LEASE_US)
    heartbeat.run_once()


async def test_a_beat_that_the_store_does_not_take_is_told(caplog):
    await _beat(leaving=False)

    assert "others have taken over its work" in caplog.text


async def test_a_beat_that_comes_after_the_worker_has_left_is_nobodys_loss(caplog):
    await _beat(leaving=True)

    assert not caplog.text
