"""The activities and orchestrations of the workloads, as a user would write them."""

import asyncio
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from benchmarks import recovery
from benchmarks.side import SLOW_ACTIVITY_S, W2_STEPS
from perdure import ExternalEvent, OrchestrationContext, Registry, activity, orchestration

HOUR_S = 3600.0
GO = ExternalEvent[dict[str, Any]]("go")


@dataclass(slots=True)
class Observed:
    """What the definitions tell the workload that runs them in the same process; no part of their results."""

    folder: str = ""
    parked: int = 0
    stamps: list[float] = field(default_factory=list)


observed = Observed()


@activity
async def noop(value: dict[str, Any]) -> dict[str, Any]:
    """Return the input."""
    return value


@activity
async def wait_5_ms(value: dict[str, Any]) -> dict[str, Any]:
    """Wait, then return the input."""
    await asyncio.sleep(SLOW_ACTIVITY_S)
    return value


@activity
async def stamp(value: dict[str, Any]) -> dict[str, Any]:
    """Note when it ran."""
    observed.stamps.append(time.perf_counter())
    return value


@activity
async def where() -> int:
    """The number of the process that runs it."""
    return os.getpid()


@activity
async def step(number: int, of_orchestration: int) -> int:
    """One of the ten activities of W6."""
    recovery.log_start(observed.folder, of_orchestration, number)
    await asyncio.sleep(recovery.ACTIVITY_S)
    recovery.log_end(observed.folder, of_orchestration, number)
    return number


@orchestration
async def one(ctx: OrchestrationContext, value: dict[str, Any]) -> dict[str, Any]:
    """One activity."""
    return await ctx.schedule_activity(noop, value)


@orchestration
async def five(ctx: OrchestrationContext, value: dict[str, Any]) -> dict[str, Any]:
    """Five activities in a row."""
    result = value
    for _ in range(W2_STEPS):
        result = await ctx.schedule_activity(noop, value)
    return result


@orchestration
async def five_slow(ctx: OrchestrationContext, value: dict[str, Any]) -> dict[str, Any]:
    """Five activities in a row that take 5 ms each."""
    result = value
    for _ in range(W2_STEPS):
        result = await ctx.schedule_activity(wait_5_ms, value)
    return result


@orchestration
async def fan(ctx: OrchestrationContext, size: int) -> int:
    """Many activities at once."""
    return len(await asyncio.gather(*(ctx.schedule_activity(noop, {"i": index}) for index in range(size))))


@orchestration
async def fan_of_workers(ctx: OrchestrationContext, size: int) -> dict[str, int]:
    """Many activities at once; how many of them each process has run."""
    ran = await asyncio.gather(*(ctx.schedule_activity(where) for _ in range(size)))
    return Counter(map(str, ran))


@orchestration
async def sequence(ctx: OrchestrationContext, size: int) -> int:
    """Many activities in a row."""
    for index in range(size):
        await ctx.schedule_activity(stamp, {"i": index})
    return size


@orchestration
async def sequence_then_wait(ctx: OrchestrationContext, size: int) -> dict[str, Any]:
    """Many activities in a row, then a wait that a reopened store answers."""
    for index in range(size):
        await ctx.schedule_activity(noop, {"i": index})
    _count_parked(ctx)
    return await ctx.schedule_wait(GO)


@orchestration
async def sleeper(ctx: OrchestrationContext) -> None:
    """Parked on a timer."""
    _count_parked(ctx)
    await ctx.schedule_timer(HOUR_S)


@orchestration
async def waiter(ctx: OrchestrationContext) -> dict[str, Any]:
    """Parked on an event."""
    _count_parked(ctx)
    return await ctx.schedule_wait(GO)


@orchestration
async def ten(ctx: OrchestrationContext, number: int) -> int:
    """The orchestration of W6."""
    for index in range(recovery.STEPS):
        await ctx.schedule_activity(step, index, number)
    return number


def _count_parked(ctx: OrchestrationContext) -> None:
    if not ctx.is_replaying:
        observed.parked += 1


registry = Registry(
    noop, wait_5_ms, stamp, where, step,
    one, five, five_slow, fan, fan_of_workers, sequence, sequence_then_wait, sleeper, waiter, ten,
)  # fmt: skip
