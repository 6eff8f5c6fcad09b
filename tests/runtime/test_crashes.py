"""A crash at every commit, before it and after it: whoever comes next on the same store goes on where it was."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from perdure import OrchestrationHandle, Registry
from perdure.storage.memory import MemoryStorage
from perdure.testing import Environment, ManualClock
from tests.runtime.test_failing_storage import EFFECTS, MAIL, RESULT, Ledger, child, detached, order

LEASE = timedelta(seconds=11)
"""After this a worker of which nothing was heard counts as dead."""


class Crash(BaseException):
    """The process is gone: nothing after this runs."""


class Mortal:
    """A storage of a process that dies at a given commit."""

    def __init__(self, inner: Any, dies_at: int | None, *, applied: bool) -> None:
        self.inner = inner
        self.dies_at = dies_at
        self.applied = applied
        self.commits = 0
        self.dead = False

    def __getattr__(self, name: str) -> Any:
        if self.dead:
            raise Crash
        return getattr(self.inner, name)

    def commit(self, batch: Any) -> Any:
        if self.dead:
            raise Crash
        self.commits += 1
        if self.commits != self.dies_at:
            return self.inner.commit(batch)
        self.dead = True
        if self.applied:
            self.inner.commit(batch)
        raise Crash


class Process(Environment):
    """An environment on a store that outlives it."""

    def __init__(self, registry: Registry, store: Any, clock: ManualClock) -> None:
        super().__init__(registry)
        self._clock = clock
        self.store = store

    def _make_storage(self) -> Any:
        return self.store

    async def die(self) -> None:
        """Leave nothing running, and tell the store nothing."""
        pump, self._pump = self._pump, None
        assert pump is not None
        await asyncio.wait([pump])
        assert isinstance(pump.exception(), Crash)
        for attempt in list(self._activities._running.values()):  # noqa: SLF001 - a crash ends them too
            if attempt.runner is not None:
                attempt.runner.cancel()
        await asyncio.sleep(0)


async def begin(env: Environment) -> OrchestrationHandle[list[object]]:
    """What the client does, as often as needed: every call can be repeated."""
    handle = await env.client.start_orchestration(order, 1, instance_id="order", on_conflict="use_existing")
    for number in (1, 2):
        await handle.raise_event(MAIL, number, dedup_key=f"mail {number}")
    return handle


async def play(dies_at: int | None, *, applied: bool) -> int:
    """Begin an order in a process that dies, end it in another, and check that nothing is lost or doubled."""
    ledger, clock = Ledger(), ManualClock()
    registry = Registry(ledger, order, child, detached)
    store = MemoryStorage(clock=clock)
    mortal = Mortal(store, dies_at, applied=applied)
    first = Process(registry, mortal, clock)
    await first.__aenter__()
    client = asyncio.create_task(_client(first))
    if dies_at is None:
        assert await client == RESULT
        commits = mortal.commits
        await first.__aexit__(None, None, None)
        return commits
    pump = first._pump  # noqa: SLF001 - its end is the crash
    assert pump is not None
    await asyncio.wait([pump, client], return_when=asyncio.FIRST_COMPLETED)
    assert mortal.dead
    await first.die()
    client.cancel()
    await asyncio.wait([client])
    clock.advance(int(LEASE.total_seconds() * 1e6))
    async with Process(registry, store, clock) as second:
        handle = await begin(second)
        assert await handle.result() == RESULT
        assert await second.client.get_handle("detached", detached).result() == "detached"
        for execution in (1, 2):
            events = [event async for event in second.client.history("order", execution_id=execution)]
            assert [event.id for event in events] == list(range(1, len(events) + 1))
            answers = [event.source for event in events if event.source is not None]
            assert len(answers) == len(set(answers))
        assert len((await second.client.list_instances()).items) == 3
    assert sorted(ledger.effects.values()) == EFFECTS
    return mortal.commits


async def _client(env: Environment) -> list[object]:
    result = await (await begin(env)).result()
    await env.client.get_handle("detached", detached).result()
    return result


@pytest.mark.parametrize("applied", [False, True], ids=["before", "after"])
async def test_a_crash_at_every_commit(applied):
    commits = await play(None, applied=applied)
    assert commits > 10
    for number in range(1, commits + 1):
        await play(number, applied=applied)
