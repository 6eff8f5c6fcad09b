"""W5: what a hundred thousand orchestrations that wait on one-hour timers cost the process and its other work."""

import asyncio
import gc
import time

from benchmarks.measure import Metrics, Usage, latencies, settled_rss_mb
from benchmarks.perdure.definitions import sleeper
from benchmarks.perdure.session import one_by_one, until_parked
from benchmarks.side import WARM_UP, Job, Report
from perdure import Runtime

_BATCH = 2000
_W1_RUNS = 200
_IDLE_S = 10.0
_SETTLE_LIMIT_S = 60.0
_QUIET_CPU = 0.05


async def w5(job: Job, runtime: Runtime) -> Report:
    """Measure the empty runtime, park the orchestrations, measure again."""
    await one_by_one(runtime, WARM_UP)
    empty = latencies(await one_by_one(runtime, _W1_RUNS))
    await _settle()
    empty_rss_mb = settled_rss_mb()
    empty_idle = await _idle("empty_")
    parked_s = await _park(runtime, job.size)
    await _settle()
    parked_rss_mb = settled_rss_mb()
    idle = await _idle("")
    first = latencies(await one_by_one(runtime, 1))
    beside = latencies(await one_by_one(runtime, _W1_RUNS))
    metrics: Metrics = {
        "n": job.size,
        "parked_s": round(parked_s, 2),
        "rss_before_mb": empty_rss_mb,
        "rss_mb": parked_rss_mb,
        "rss_over_empty_mb": round(parked_rss_mb - empty_rss_mb, 1),
        **empty_idle,
        **idle,
        "empty_w1_p50_ms": empty["p50_ms"],
        "w1_first_ms": first["p50_ms"],
        "w1_p50_ms": beside["p50_ms"],
        "w1_p95_ms": beside["p95_ms"],
        "w1_over_empty": round(float(str(beside["p50_ms"])) / float(str(empty["p50_ms"])), 3),
    }
    return Report(metrics, notes="idle figures over 10 s; empty_*: the same runtime before anything was parked")


async def _park(runtime: Runtime, size: int) -> float:
    began = time.perf_counter()
    for done in range(0, size, _BATCH):
        count = min(_BATCH, size - done)
        await asyncio.gather(*(runtime.client.start_orchestration(sleeper) for _ in range(count)))
    await until_parked(size)
    return time.perf_counter() - began


async def _settle() -> None:
    """Wait until the process is quiet: what follows the last start (commits, checkpoints) is not idling."""
    gc.collect()
    deadline = time.monotonic() + _SETTLE_LIMIT_S
    while time.monotonic() < deadline:
        before = Usage.now()
        await asyncio.sleep(1)
        now = Usage.now()
        if now.cpu_s - before.cpu_s < _QUIET_CPU:
            return


async def _idle(prefix: str) -> Metrics:
    before = Usage.now()
    await asyncio.sleep(_IDLE_S)
    return Usage.now().idle_since(before, prefix)
