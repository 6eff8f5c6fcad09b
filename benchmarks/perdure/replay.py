"""Replay: how soon an instance with a long history that is only on disk goes on."""

import asyncio
import time
from dataclasses import dataclass

from benchmarks.measure import Metrics, Usage, median
from benchmarks.perdure.definitions import GO, sequence_then_wait
from benchmarks.perdure.session import open_runtime, until_parked
from benchmarks.side import PAYLOAD, Job, Report

_INSTANCES = 5
# An activity leaves two events: that it was scheduled and that it completed.
_EVENTS_PER_ACTIVITY = 2


@dataclass(frozen=True, slots=True)
class _Reopened:
    open_s: float
    replay_s: float
    replay_cpu_s: float
    events: int


def replay(job: Job) -> Report:
    """Build five histories of `job.size` events, then reopen the store five times and wake one instance each time."""
    return asyncio.run(_replay(job))


async def _replay(job: Job) -> Report:
    ids = [f"long-{number}" for number in range(_INSTANCES)]
    activities = job.size // _EVENTS_PER_ACTIVITY
    async with open_runtime(job) as runtime:
        start = runtime.client.start_orchestration
        await asyncio.gather(*(start(sequence_then_wait, activities, instance_id=name) for name in ids))
        await until_parked(len(ids))
    runs = [await _reopen(job, name) for name in ids]
    metrics: Metrics = {
        "n": job.size,
        "instances": len(runs),
        "events": min(run.events for run in runs),
        "replay_s": round(median([run.replay_s for run in runs]), 4),
        "max_replay_s": round(max(run.replay_s for run in runs), 4),
        "replay_cpu_s": round(median([run.replay_cpu_s for run in runs]), 4),
        "open_s": round(median([run.open_s for run in runs]), 4),
    }
    return Report(metrics, notes="from raising the event in a newly opened runtime to the result")


async def _reopen(job: Job, instance_id: str) -> _Reopened:
    began = time.perf_counter()
    async with open_runtime(job) as runtime:
        opened = Usage.now()
        await runtime.client.raise_event(instance_id, GO, PAYLOAD)
        await runtime.client.get_handle(instance_id, sequence_then_wait).result()
        replayed = Usage.now()
        events = sum([1 async for _ in runtime.client.history(instance_id)])
    return _Reopened(opened.at_s - began, replayed.at_s - opened.at_s, replayed.cpu_s - opened.cpu_s, events)
