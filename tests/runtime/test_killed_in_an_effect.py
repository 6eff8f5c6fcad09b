"""Workers are killed (kill -9) again and again while they run what must not be run twice: nothing happens twice."""

import asyncio
import signal
from pathlib import Path

from perdure import Client, DidNotHappen, Happened, Runtime
from tests.runtime import effects_program
from tests.runtime.effects_program import COUNT, effects, work

PROGRAM = Path(effects_program.__file__)
KILLS = 2
FIRST_EVENT = 2


async def test_nothing_happens_twice_whenever_the_worker_is_killed(database, spawn, tmp_path):
    ledger = tmp_path / "ledger"
    effects_program.use(ledger)
    async with Client(database) as client:
        await client.start_orchestration(work, instance_id="i")
        for kill in range(KILLS):
            wanted = len(effects()) + 1 + kill % 3
            worker = await spawn(database, str(ledger), script=PROGRAM)
            ended = asyncio.create_task(worker.end())
            while len(effects()) < wanted and len(effects()) + len(await client.list_held_activities()) < COUNT:
                await asyncio.wait([ended], timeout=0.01)
            worker.send(signal.SIGKILL)
            await ended
    after_kills = effects()

    async with Runtime(database, effects_program.registry, max_activities=4) as runtime:
        result = asyncio.ensure_future(runtime.client.get_handle("i", work).result())
        while not result.done():
            for held in await runtime.client.list_held_activities():
                number = held.event_id - FIRST_EVENT
                await runtime.client.resolve(held, Happened(number) if number in effects() else DidNotHappen())
            await asyncio.wait([result], timeout=0.02)
        assert await result == list(range(COUNT))
    assert sorted(effects()) == list(range(COUNT))
    assert len(after_kills) < COUNT
