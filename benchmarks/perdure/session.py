"""Opening a runtime for a workload, and what several workloads do with one."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any

from benchmarks.measure import Metrics, Usage, throughput
from benchmarks.perdure.definitions import observed, one, registry
from benchmarks.side import PAYLOAD, W2_STEPS, Job, Report
from perdure import Runtime

_POLL_S = 0.005


def store_url(job: Job) -> str:
    """Where this job's store is: a new SQLite file in the job's folder, unless the job names another place."""
    return job.url or f"sqlite:///{job.file('perdure.db').resolve()}"


def new_runtime(job: Job) -> Runtime:
    """A runtime with default settings: synchronous=FULL."""
    return Runtime(store_url(job), registry)


def open_runtime(job: Job) -> AbstractAsyncContextManager[Runtime]:
    """The same, to be opened."""
    return new_runtime(job)


def with_runtime(workload: Callable[[Job, Runtime], Awaitable[Report]]) -> Callable[[Job], Report]:
    """Run a workload inside an open runtime."""

    async def main(job: Job) -> Report:
        observed.folder = job.folder
        async with open_runtime(job) as runtime:
            return await workload(job, runtime)

    return lambda job: asyncio.run(main(job))


async def one_by_one(runtime: Runtime, count: int) -> list[float]:
    """Start one orchestration after the other, each when the last has its result; the time each took, in seconds."""
    took = []
    for _ in range(count):
        began = time.perf_counter()
        handle = await runtime.client.start_orchestration(one, PAYLOAD)
        if await handle.result() != PAYLOAD:
            raise RuntimeError("the result is not the payload")
        took.append(time.perf_counter() - began)
    return took


async def until_parked(size: int) -> None:
    """Wait until this many bodies have reached their wait."""
    while observed.parked < size:
        await asyncio.sleep(_POLL_S)


async def timed_throughput(count: int, work: Coroutine[Any, Any, None]) -> Metrics:
    """Await the work, which completes `count` orchestrations of five activities, and return the figures of W2."""
    before = Usage.now()
    await work
    usage = Usage.now()
    return throughput(count, W2_STEPS, usage.at_s - before.at_s, usage.cpu_s - before.cpu_s)
