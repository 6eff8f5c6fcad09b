"""What the core costs by itself, without storage: `python -m benchmarks.core` prints one JSON object.

Microseconds of CPU time, each the least of several runs; trust the ratios more than the digits. What must hold of these
figures is in the tests, as counts: here is how long it takes.
"""

import asyncio
import gc
import json
import platform
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

from msgspec import Raw

from perdure import Orchestration, OrchestrationContext, orchestration
from perdure import _events as ev
from perdure import _work as work
from perdure._core.execution import Execution
from perdure._core.matching import PYTHON
from perdure._core.stage import Stage
from perdure._runtime.guard import Guard

RUNS = 5
START_US = 1_700_000_000_000_000
NULL = Raw(b"null")


@orchestration
async def chain(ctx: OrchestrationContext, length: int) -> None:
    for _ in range(length):
        await ctx.schedule_activity("a")


@orchestration
async def fan_out(ctx: OrchestrationContext, size: int) -> None:
    await asyncio.gather(*(ctx.schedule_activity("a") for _ in range(size)))


@orchestration
async def fan_out_in_tasks(ctx: OrchestrationContext, size: int) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(size):
            group.create_task(_act(ctx))


async def _act(ctx: OrchestrationContext) -> None:
    await ctx.schedule_activity("a")


@orchestration
async def spawn(_ctx: OrchestrationContext, count: int) -> None:
    loop = asyncio.get_running_loop()
    coroutines = [asyncio.sleep(0) for _ in range(count)]
    begun = time.process_time()
    tasks = [loop.create_task(coroutine) for coroutine in coroutines]
    _spawned.append((time.process_time() - begun) / len(tasks) * 1e6)


_spawned: list[float] = []


def started(definition: "Orchestration[..., Any]", *inputs: object, secret: int = 1) -> ev.Started:
    """A start event."""
    return ev.Started(
        id=1, at=START_US, name=definition.name, version=definition.version, execution=1,
        input=Raw(definition.inputs_codec.encode(inputs)), secret=f"{secret:064x}", python=PYTHON, root="bench",
    )  # fmt: skip


def begin(definition: "Orchestration[..., Any]", stage: Stage, *inputs: object, secret: int = 1) -> Execution:
    """An execution after its first turn; the stage is entered already."""
    execution = Execution("bench", 1, definition)
    event = started(definition, *inputs, secret=secret)
    stage.enter(execution)
    execution.apply(work.Start(input=event.input), START_US, event)
    stage.leave(execution)
    return execution


def deliver(execution: Execution, stage: Stage, sources: list[int]) -> None:
    """Complete these activities, a turn each."""
    for source in sources:
        stage.enter(execution)
        execution.apply(work.ActivityOutcome(execution=1, source=source, result=NULL), START_US)
        stage.leave(execution)


def least(measure: Callable[[], float]) -> float:
    """The least of several runs, rounded."""
    return round(min(measure() for _ in range(RUNS)), 3)


def turn(length: int = 5_000) -> float:
    """One completion delivered and one activity asked for."""
    with Stage() as stage:
        execution = begin(chain, stage, length)
        sources = list(range(2, 2 + 2 * length, 2))
        begun = time.process_time()
        deliver(execution, stage, sources)
        return (time.process_time() - begun) / length * 1e6


def guarded_turn() -> float:
    """The same, watched by the guard."""
    guard = Guard()
    guard.watch([chain])
    try:
        return turn()
    finally:
        guard.close()


def bare_turn(length: int = 20_000) -> float:
    """The event loop alone: a task waits for a future, which is resolved."""
    execution = Execution("bench", 1, chain)

    async def program() -> None:
        for _ in range(length):
            futures[0] = execution.create_future()
            await futures[0]

    futures: list[Any] = [None]
    with Stage() as stage, stage.on(execution):
        execution.create_task(program())
        execution.run_ready()
        begun = time.process_time()
        for _ in range(length):
            futures[0].set_result(None)
            execution.run_ready()
        return (time.process_time() - begun) / length * 1e6


def element(definition: "Orchestration[..., Any]", size: int) -> float:
    """One element of a fan-out, asked for and delivered."""
    with Stage() as stage:
        begun = time.process_time()
        execution = begin(definition, stage, size)
        deliver(execution, stage, list(execution.open))
        return (time.process_time() - begun) / size * 1e6


def park(stage: Stage, count: int) -> list[Execution]:
    """Executions that wait for one activity each."""
    executions = [begin(chain, stage, 1, secret=number) for number in range(count)]
    for execution in executions:
        execution.take_events()
    return executions


def create_task() -> float:
    """Making one task."""
    with Stage() as stage:
        _drop([begin(spawn, stage, 2_000)], stage)
    return _spawned.pop()


def outer_all_tasks() -> float:
    """`asyncio.all_tasks()` of the user's own program."""

    async def main() -> float:
        begun = time.process_time()
        for _ in range(100):
            asyncio.all_tasks()
        return (time.process_time() - begun) * 1e4

    return asyncio.run(main())


def _drop(executions: list[Execution], stage: Stage) -> None:
    for execution in executions:
        stage.enter(execution)
        execution.drop()
        stage.leave(execution)


def drop() -> float:
    """Dropping one parked execution."""
    with Stage() as stage:
        executions = park(stage, 2_000)
        begun = time.process_time()
        _drop(executions, stage)
        return (time.process_time() - begun) / 2_000 * 1e6


def parked_bytes(count: int = 1_000) -> float:
    """The memory of one parked execution."""
    tracemalloc.start()
    with Stage() as stage:
        before, _ = tracemalloc.get_traced_memory()
        executions = park(stage, count)
        after, _ = tracemalloc.get_traced_memory()
        _drop(executions, stage)
    tracemalloc.stop()
    return (after - before) / count


def with_parked(count: int) -> dict[str, float]:
    """What others feel of many parked executions."""
    with Stage() as stage:
        executions = park(stage, count)
    gc.collect()
    begun = time.perf_counter()
    gc.collect()
    pause_ms = (time.perf_counter() - begun) * 1e3
    figures = {
        "create_task_us": least(create_task),
        "outer_all_tasks_us": least(outer_all_tasks),
        "full_collection_ms": round(pause_ms, 1),
    }
    with Stage() as stage:
        _drop(executions, stage)
    return figures


def main() -> None:
    """Measure and print."""
    figures = {
        "python": platform.python_version(),
        "loop_turn_us": least(bare_turn),
        "core_turn_us": least(turn),
        "core_turn_guarded_us": least(guarded_turn),
        "gather_us_per_element": {
            str(size): least(lambda size=size: element(fan_out, size)) for size in (1_000, 10_000)
        },
        "task_group_us_per_element": {
            str(size): least(lambda size=size: element(fan_out_in_tasks, size)) for size in (1_000, 10_000)
        },
        "drop_us": least(drop),
        "parked_bytes": least(parked_bytes),
        "parked": {str(count): with_parked(count) for count in (0, 20_000)},
    }
    json.dump(figures, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
