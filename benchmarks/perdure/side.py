"""Perdure's side: default settings, SQLite in WAL mode with synchronous=FULL."""

import asyncio
import time
from collections import Counter
from importlib import metadata

from benchmarks import recovery
from benchmarks.measure import Metrics, Usage, fan_out, in_a_row, latencies, median
from benchmarks.perdure import fleet
from benchmarks.perdure.counts import counted
from benchmarks.perdure.definitions import GO, fan, five, five_slow, observed, sequence, ten, waiter
from benchmarks.perdure.disk import commit_seconds
from benchmarks.perdure.grown import grown
from benchmarks.perdure.parked import w5
from benchmarks.perdure.replay import replay
from benchmarks.perdure.session import one_by_one, timed_throughput, until_parked, with_runtime
from benchmarks.side import CLIENTS, LARGE_PAYLOAD, PAYLOAD, W2_STEPS, WARM_UP, Job, Report, serve
from perdure import Client, Runtime

_MODULE = "benchmarks.perdure.side"
_COMMITS = 250
_SMALL_FANS = 3


async def _w1(job: Job, runtime: Runtime) -> Report:
    await one_by_one(runtime, WARM_UP)
    # Half of the commits before and half after, so that a disk that changes its pace weighs on both alike.
    commits = await asyncio.to_thread(_commits, job)
    before = Usage.now()
    metrics = latencies(await one_by_one(runtime, job.size))
    metrics["cpu_ms_each"] = round((Usage.now().cpu_s - before.cpu_s) / job.size * 1e3, 2)
    commits += await asyncio.to_thread(_commits, job)
    if commits:
        commit_ms = median(commits) * 1e3
        metrics["full_commit_ms"] = round(commit_ms, 4)
        metrics["p50_full_commits"] = round(float(str(metrics["p50_ms"])) / commit_ms, 2)
    return Report(metrics, notes="full_commit_ms: one single-row commit, WAL, synchronous=FULL, on the same disk")


def _commits(job: Job) -> list[float]:
    """Single-row commits beside the store; none if the store is no file, for then they say nothing about it."""
    return commit_seconds(job.file(""), _COMMITS) if job.backend == "sqlite" else []


async def _w2(job: Job, runtime: Runtime) -> Report:
    async def work() -> None:
        start = runtime.client.start_orchestration
        handles = await asyncio.gather(*(start(five, PAYLOAD) for _ in range(job.size)))
        observed.stamps.append(time.perf_counter())
        results = await asyncio.gather(*(handle.result() for handle in handles))
        if any(result != PAYLOAD for result in results):
            raise RuntimeError("a result is not the payload")

    began = time.perf_counter()
    metrics = await timed_throughput(job.size, work())
    metrics["start_s"] = round(observed.stamps[0] - began, 3)
    return Report(metrics, notes="all started up front; the client waits for each result")


async def _w2x(job: Job, runtime: Runtime) -> Report:
    async def client() -> None:
        for _ in range(job.size // CLIENTS):
            handle = await runtime.client.start_orchestration(five_slow, LARGE_PAYLOAD)
            await handle.result()

    async def work() -> None:
        await asyncio.gather(*(client() for _ in range(CLIENTS)))

    return Report(await timed_throughput(job.size, work()), notes="clients are tasks, activities are async")


async def _fan_out(runtime: Runtime, size: int) -> float:
    began = time.perf_counter()
    handle = await runtime.client.start_orchestration(fan, size)
    if await handle.result() != size:
        raise RuntimeError("the fan-out lost a result")
    return time.perf_counter() - began


async def _w3(job: Job, runtime: Runtime) -> Report:
    small = job.size // 10
    # What is slow only the first time would be in the small ones alone, and hide growth.
    await _fan_out(runtime, small)
    small_s = median([await _fan_out(runtime, small) for _ in range(_SMALL_FANS)])
    elapsed_s = await _fan_out(runtime, job.size)
    metrics: Metrics = {
        **fan_out(job.size, elapsed_s),
        "small_n": small,
        "small_elapsed_s": round(small_s, 3),
        "small_act_per_s": round(small / small_s, 1),
        "growth_per_act": round((elapsed_s / job.size) / (small_s / small), 3),
    }
    return Report(metrics, notes="asyncio.gather; growth_per_act: time per activity against that at small_n")


async def _w4(job: Job, runtime: Runtime) -> Report:
    await one_by_one(runtime, WARM_UP)
    began = time.perf_counter()
    handle = await runtime.client.start_orchestration(sequence, job.size)
    await handle.result()
    elapsed_s = time.perf_counter() - began
    return Report(in_a_row(job.size, elapsed_s, observed.stamps, 500))


def _w6(job: Job) -> Report:
    if job.backend == "memory":
        raise RuntimeError("W6 kills the process: a store in memory does not outlive it; leave W6 out or name a file")
    return Report(recovery.measure(_MODULE, job), notes="recorded_twice: completions in the histories")


async def _w6_worker(job: Job, runtime: Runtime) -> Report:
    ids = [f"o{number}" for number in range(job.size)]
    if not job.resume:
        start = runtime.client.start_orchestration
        await asyncio.gather(*(start(ten, number, instance_id=name) for number, name in enumerate(ids)))
        recovery.mark_started(job)
    results = await asyncio.gather(*(runtime.client.get_handle(name, ten).result() for name in ids))
    done_at = time.time()
    recorded = [await _completions(runtime.client, name) for name in ids]
    verdict: Metrics = {
        "complete": sum(result == number for number, result in enumerate(results)),
        "recorded": sum(len(counts) for counts in recorded),
        "recorded_twice": sum(count > 1 for counts in recorded for count in counts.values()),
    }
    recovery.mark_done(job, verdict, at=done_at)
    return Report({})


async def _completions(client: Client, instance_id: str) -> Counter[int]:
    """How often each scheduled action is answered in the instance's history."""
    return Counter([event.source async for event in client.history(instance_id) if event.source is not None])


async def _w7(job: Job, runtime: Runtime) -> Report:
    handles = [await runtime.client.start_orchestration(waiter) for _ in range(job.size)]
    await until_parked(job.size)
    await asyncio.sleep(1)
    took = []
    for handle in handles:
        began = time.perf_counter()
        await handle.raise_event(GO, PAYLOAD)
        await handle.result()
        took.append(time.perf_counter() - began)
    return Report(latencies(took))


_WORKLOADS = {
    "W1": with_runtime(_w1),
    "W2": counted(with_runtime(_w2), W2_STEPS),
    "W2x": with_runtime(_w2x),
    "W3": with_runtime(_w3),
    "W4": with_runtime(_w4),
    "W5": with_runtime(w5),
    "W6": _w6,
    recovery.WORKER: with_runtime(_w6_worker),
    "W7": with_runtime(_w7),
    "replay": replay,
    "grown": grown,
    "fleet": fleet.fleet,
    fleet.WORKER: fleet.worker,
}

if __name__ == "__main__":
    serve("perdure", metadata.version("perdure"), _WORKLOADS)
