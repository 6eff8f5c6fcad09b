"""Fleet: whether two worker processes on one machine do as much as one, and whether a wide fan-out reaches both.

The client is a process of its own that runs no orchestrations, so one worker and two have the same to do.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from benchmarks.measure import Metrics, median
from benchmarks.perdure.definitions import fan_of_workers, five
from benchmarks.perdure.session import new_runtime
from benchmarks.side import PAYLOAD, W2_STEPS, Job, Report
from perdure import Client

WORKER = "fleet-worker"
_MODULE = "benchmarks.perdure.side"
_ROUNDS = 3
_WARM_UP_S = 1.0
"""Longer than it takes a worker to notice that it is not alone any more, which is half a second."""
_FAN_SHARE = 10
"""The fan-out is so many times as wide as there are orchestrations."""


def fleet(job: Job) -> Report:
    """Alternate between one worker and two, and compare the medians."""
    return asyncio.run(_fleet(job))


def worker(job: Job) -> Report:
    """A worker process, until it is told to stop."""
    asyncio.run(new_runtime(job).serve())
    return Report({})


async def _fleet(job: Job) -> Report:
    took: dict[int, list[float]] = {1: [], 2: []}
    shares: list[float] = []
    async with Client(job.url) as client:
        for _ in range(_ROUNDS):
            for workers, rates in took.items():
                async with _workers(job, client, workers):
                    rates.append(await _throughput(client, job.size))
                    if workers > 1:
                        shares.append(await _smaller_share(client, job.size * _FAN_SHARE))
    one, two = median(took[1]), median(took[2])
    metrics: Metrics = {
        "n": job.size,
        "one_worker_orch_per_s": round(one, 1),
        "two_workers_orch_per_s": round(two, 1),
        "two_over_one": round(two / one, 3),
        "act_per_s": round(two * W2_STEPS, 1),
        "fan_out": job.size * _FAN_SHARE,
        "fan_out_smaller_share": round(median(shares), 3),
    }
    return Report(metrics, notes=f"medians of {_ROUNDS} rounds; fan_out_smaller_share: of one fan-out's activities")


@asynccontextmanager
async def _workers(job: Job, client: Client, count: int) -> AsyncIterator[None]:
    """So many worker processes, all at work."""
    argument = replace(job, workload=WORKER).as_argument()
    processes = [_spawn(argument) for _ in range(count)]
    try:
        while len(await client.list_workers()) < count:
            await asyncio.sleep(0.01)
        # What is slow only the first time is no part of it, nor that who came first took everything.
        until = time.perf_counter() + _WARM_UP_S
        while time.perf_counter() < until:
            await _throughput(client, job.size)
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def _spawn(argument: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-m", _MODULE, argument])


async def _throughput(client: Client, count: int) -> float:
    """Orchestrations of five activities a second."""
    began = time.perf_counter()
    handles = await asyncio.gather(*(client.start_orchestration(five, PAYLOAD) for _ in range(count)))
    results = await asyncio.gather(*(handle.result() for handle in handles))
    if any(result != PAYLOAD for result in results):
        raise RuntimeError("a result is not the payload")
    return count / (time.perf_counter() - began)


async def _smaller_share(client: Client, width: int) -> float:
    """The share of a fan-out's activities that the process with fewer of them has run."""
    handle = await client.start_orchestration(fan_of_workers, width)
    counts = (await handle.result()).values()
    return min(counts) / width if len(counts) > 1 else 0.0
