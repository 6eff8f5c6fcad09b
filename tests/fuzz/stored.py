"""A store with an instance of every kind at rest, twice: one set is damaged, the other must not notice."""

import asyncio
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from perdure import (
    Backoff,
    ExternalEvent,
    OrchestrationContext,
    PerdureError,
    Registry,
    RetryPolicy,
    activity,
    orchestration,
)
from perdure._work import Batch, Deliver, Query, Raised, encode_message
from perdure.storage.sqlite import SqliteStorage
from perdure.testing import Environment, ManualClock
from tests.folders import in_memory
from tests.fuzz.damage import Choose, damage

GO = ExternalEvent[dict[str, int]]("go")
VALUE: dict[str, Any] = {"text": 'héllo "world"', "numbers": [1, 2, {"none": None}], "long": "x" * 200}
Value = dict[str, Any]
Seen = dict[str, tuple[str, str]]
"""The status and the output of instances by id; of one that can't be read, the name of the error that says so."""


class Gate:
    """Closed while the store is filled, so that activities stay where they are."""

    is_open = False


@activity(name="echo")
async def echo(value: Value) -> Value:
    return value


@activity(name="slow")
async def slow(value: Value) -> Value:
    if not Gate.is_open:
        await asyncio.Event().wait()
    return value


@activity(name="flaky")
async def flaky(value: Value) -> Value:
    if not Gate.is_open:
        raise ConnectionError("not yet")
    return value


@orchestration(name="waits")
async def waits(ctx: OrchestrationContext, value: Value) -> Value:
    echoed = await ctx.schedule_activity(echo, value)
    ctx.set_custom_status({"at": "wait"})
    return {**echoed, **await ctx.schedule_wait(GO)}


@orchestration(name="works")
async def works(ctx: OrchestrationContext, value: Value) -> list[Value]:
    policy = RetryPolicy(50, backoff=Backoff.fixed(3600))
    return await asyncio.gather(ctx.schedule_activity(slow, value), ctx.schedule_activity(flaky, value, retry=policy))


@orchestration(name="sleeps")
async def sleeps(ctx: OrchestrationContext, value: Value) -> Value:
    await ctx.schedule_timer(7200)
    return await ctx.schedule_activity(echo, value)


@orchestration(name="parent")
async def parent(ctx: OrchestrationContext, value: Value) -> Value:
    return await ctx.schedule_sub_orchestration(waits, value, instance_id=f"{ctx.instance_id}-child")


@orchestration(name="again")
async def again(ctx: OrchestrationContext, value: Value) -> Value:
    if "again" not in value:
        ctx.continue_as_new({**value, "again": True})
    return {**value, **await ctx.schedule_wait(GO)}


@orchestration(name="fails")
async def fails(ctx: OrchestrationContext, value: Value) -> None:
    raise ValueError(value["text"])


@orchestration(name="ends")
async def ends(ctx: OrchestrationContext, value: Value) -> Value:
    return value


PROGRAMS = (waits, works, sleeps, parent, again, fails, ends)
REGISTRY = Registry(echo, slow, flaky, *PROGRAMS)
IDS = (*(program.name for program in PROGRAMS), "parent-child")
TOLD = ("parent-child", "again")


class Process(Environment):
    """An environment on a store that is opened and closed elsewhere."""

    def __init__(self, store: SqliteStorage, clock: ManualClock) -> None:
        super().__init__(REGISTRY)
        self._clock = clock
        self._store = store

    def _make_storage(self) -> Any:
        return self._store


async def fill(path: Path) -> int:
    """Fill a store; returns its time."""
    Gate.is_open = False
    clock = ManualClock()
    storage = SqliteStorage(path, clock=clock)
    async with Process(storage, clock) as env:
        for kind in ("sick", "well"):
            for program in PROGRAMS:
                instance_id = f"{kind}-{program.name}"
                await env.client.start_orchestration(
                    program, VALUE, instance_id=instance_id, attributes={"kind": kind, "size": 3}
                )
        while not _is_at_rest(storage):
            await asyncio.sleep(0)
    # Nobody is there to take these in.
    body = encode_message(Raised(name="go", data=msgspec.Raw(b'{"number":5}')))
    items = tuple(Deliver(to_id=f"{kind}-waits", body=body) for kind in ("sick", "well"))
    storage.commit(Batch(token=bytes(16), items=items))
    storage.close()
    return clock.now_us()


def _is_at_rest(storage: SqliteStorage) -> bool:
    records, _ = storage.find(Query())
    if len(records) < 2 * len(IDS):
        return False
    waiting = {each.name for each in records if each.custom_status is not None}
    return "waits" in waiting and all(
        each.status.is_closed == (each.name in {"fails", "ends"}) and each.last_event > 1 for each in records
    )


async def go_on(path: Path, now_us: int) -> tuple[Seen, Seen]:
    """Start a worker on a store, let hours pass, and look at both sets; returns the damaged one and the other."""
    Gate.is_open = True
    clock = ManualClock(now_us)
    storage = SqliteStorage(path, clock=clock)
    try:
        async with Process(storage, clock) as env:
            for kind in ("sick", "well"):
                for name in TOLD:
                    with suppress(PerdureError):
                        await env.client.raise_event(f"{kind}-{name}", GO, {"number": 5})
            await env.advance(3 * 3600)
            return await _see(env, "sick"), await _see(env, "well")
    finally:
        storage.close()


async def _see(env: Environment, kind: str) -> Seen:
    seen: Seen = {}
    for name in IDS:
        try:
            status = await env.client.get_status(f"{kind}-{name}")
            error = "" if status.error is None else status.error.message
            seen[name] = (status.status.value, repr((status.output, error, status.custom_status)))
        except PerdureError as error:
            seen[name] = (type(error).__name__, str(error))
    return seen


ENDINGS = {"completed", "failed"}


class Filled:
    """A store at rest, and what becomes of it when nothing is damaged."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "filled.db"
        self.now_us = asyncio.run(fill(self.path))
        copy = self.copy(folder)
        self.sound = asyncio.run(go_on(copy, self.now_us))[1]

    def copy(self, folder: Path) -> Path:
        """The same store again."""
        return Path(shutil.copy(self.path, folder / "copy.db"))

    def try_damage(self, choose: Choose) -> str:
        """Damage one value and let a worker go on; returns what was damaged. What it raises is a defect."""
        with in_memory() as folder:
            copy = self.copy(Path(folder))
            table, column, before, after = damage(copy, choose)
            sick, well = asyncio.run(asyncio.wait_for(go_on(copy, self.now_us), 20))
        told = f"{table}.{column}: {before!r} became {after!r}"
        assert well == self.sound, told
        if (table, column) in {("history", "data"), ("history", "crc")}:
            check_that_it_is_found(self.sound, sick)
        return told


def check_that_it_is_found(sound: Seen, sick: Seen) -> None:
    """Whoever needed the damaged history is held, and says so; who had ended already, needs it no more."""
    for name in IDS:
        status, output = sick[name]
        if status in ENDINGS:
            assert (status, output) == sound[name], name
        else:
            assert status in {"held", "running"}, (name, sick[name])
