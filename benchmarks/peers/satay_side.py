"""satay's side: async Python in one process, on SQLite in WAL mode with synchronous=FULL."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module, metadata
from typing import Any

from benchmarks import recovery
from benchmarks.measure import Usage, fan_out, in_a_row, latencies, rss_mb, settled_rss_mb, throughput
from benchmarks.side import CLIENTS, LARGE_PAYLOAD, PAYLOAD, SLOW_ACTIVITY_S, W2_STEPS, WARM_UP, Job, Report, serve

satay: Any = import_module("satay")

_MODULE = "benchmarks.peers.satay_side"
SETTINGS = {"poll_interval_s": 0.01}

_stamps: list[float] = []
_folder = ""
_parked = 0


@dataclass
class Go:
    """The event of W7."""

    x: str


def _count_parked() -> None:
    global _parked  # noqa: PLW0603 - workflows are functions of their module; this is how they tell
    _parked += 1


async def _noop(value: object) -> object:
    return value


async def _wait_5_ms(value: object) -> object:
    await asyncio.sleep(SLOW_ACTIVITY_S)
    return value


async def _stamp(value: object) -> object:
    _stamps.append(time.perf_counter())
    return value


async def _step(value: dict[str, int]) -> int:
    recovery.log_start(_folder, value["o"], value["s"])
    await asyncio.sleep(recovery.ACTIVITY_S)
    recovery.log_end(_folder, value["o"], value["s"])
    return value["s"]


noop = satay.task()(_noop)
wait_5_ms = satay.task()(_wait_5_ms)
stamp = satay.task()(_stamp)
step = satay.task()(_step)


async def _one(value: object) -> object:
    return await noop(value)


async def _five(value: object) -> object:
    result = None
    for _ in range(W2_STEPS):
        result = await noop(value)
    return result


async def _five_slow(value: object) -> object:
    result = None
    for _ in range(W2_STEPS):
        result = await wait_5_ms(value)
    return result


async def _fan(size: int) -> int:
    items = [{"i": index} for index in range(size)]
    return len(await satay.map(noop, items, key=lambda item: str(item["i"]), concurrency=64))


async def _sequence(size: int) -> int:
    for index in range(size):
        await stamp({"i": index})
    return size


async def _sleeper(_number: int) -> None:
    _count_parked()
    await satay.sleep(3600)


async def _waiter(value: dict[str, str]) -> object:
    _count_parked()
    return (await satay.wait_for_event(Go, key=value["k"])).x


async def _ten(orchestration: int) -> int:
    for number in range(recovery.STEPS):
        await step({"o": orchestration, "s": number})
    return orchestration


one = satay.workflow(_one)
five = satay.workflow(_five)
five_slow = satay.workflow(_five_slow)
fan = satay.workflow(_fan)
sequence = satay.workflow(_sequence)
sleeper = satay.workflow(_sleeper)
waiter = satay.workflow(_waiter)
ten = satay.workflow(_ten)


def _run(workload: Callable[[Job, Any], Awaitable[Report]]) -> Callable[[Job], Report]:
    """Run a workload inside an open application."""

    async def main(job: Job) -> Report:
        global _folder  # noqa: PLW0603 - the tasks of W6 write their log there
        _folder = job.folder
        async with satay.run_app(data_dir=job.file("satay"), interval=SETTINGS["poll_interval_s"]) as store:
            return await workload(job, store)

    return lambda job: asyncio.run(main(job))


async def _one_by_one(store: object, count: int) -> list[float]:
    """Run one workflow after the other; the time each took, in seconds."""
    took = []
    for _ in range(count):
        began = time.perf_counter()
        if await satay.start(one, PAYLOAD, store=store).result() != PAYLOAD:
            raise RuntimeError("the result is not the payload")
        took.append(time.perf_counter() - began)
    return took


async def _w1(job: Job, store: object) -> Report:
    await _one_by_one(store, WARM_UP)
    before = Usage.now()
    metrics = latencies(await _one_by_one(store, job.size))
    metrics["cpu_ms_each"] = round((Usage.now().cpu_s - before.cpu_s) / job.size * 1e3, 2)
    return Report(metrics, SETTINGS, "in process")


async def _w2(job: Job, store: object) -> Report:
    before = Usage.now()
    await asyncio.gather(*[satay.start(five, PAYLOAD, store=store).result() for _ in range(job.size)])
    usage = Usage.now()
    metrics = throughput(job.size, W2_STEPS, usage.at_s - before.at_s, usage.cpu_s - before.cpu_s)
    return Report(metrics, SETTINGS)


async def _w2x(job: Job, store: object) -> Report:
    async def client() -> None:
        for _ in range(job.size // CLIENTS):
            await satay.start(five_slow, LARGE_PAYLOAD, store=store).result()

    before = Usage.now()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    usage = Usage.now()
    metrics = throughput(job.size, W2_STEPS, usage.at_s - before.at_s, usage.cpu_s - before.cpu_s)
    return Report(metrics, SETTINGS)


async def _w3(job: Job, store: object) -> Report:
    await _one_by_one(store, WARM_UP)
    began = time.perf_counter()
    if await satay.start(fan, job.size, store=store).result() != job.size:
        raise RuntimeError("the fan-out lost a result")
    elapsed_s = time.perf_counter() - began
    return Report(fan_out(job.size, elapsed_s), SETTINGS, "satay.map, concurrency 64")


async def _w4(job: Job, store: object) -> Report:
    await _one_by_one(store, WARM_UP)
    began = time.perf_counter()
    await satay.start(sequence, job.size, store=store).result()
    elapsed_s = time.perf_counter() - began
    return Report(in_a_row(job.size, elapsed_s, _stamps, 200), SETTINGS)


async def _park(workflow: object, inputs: list[Any], store: object) -> list["asyncio.Task[Any]"]:
    """Start one workflow per input and wait until every body has reached its wait."""
    waiters = [asyncio.create_task(satay.start(workflow, value, store=store).result()) for value in inputs]
    while _parked < len(inputs):
        await asyncio.sleep(0.01)
    return waiters


async def _w5(job: Job, store: object) -> Report:
    rss_before = settled_rss_mb()
    began = time.perf_counter()
    waiters = await _park(sleeper, list(range(job.size)), store)
    parked_s = time.perf_counter() - began
    await asyncio.sleep(2)
    rss_after = rss_mb()
    before = Usage.now()
    await asyncio.sleep(3)
    idle = Usage.now().idle_since(before)
    took = latencies(await _one_by_one(store, 50))
    metrics = {
        "n": len(waiters), "parked_s": round(parked_s, 2), "rss_before_mb": rss_before, "rss_mb": rss_after, **idle,
        "w1_p50_ms": took["p50_ms"], "w1_p95_ms": took["p95_ms"],
    }  # fmt: skip
    return Report(metrics, SETTINGS, "a task awaits each handle")


def _w6(job: Job) -> Report:
    return Report(recovery.measure(_MODULE, job), SETTINGS, "the restarted process starts each run again by its id")


async def _w6_worker(job: Job, store: object) -> Report:
    runs = [satay.start(ten, number, run_id=f"o{number}", store=store) for number in range(job.size)]
    recovery.mark_started(job)
    await asyncio.gather(*(run.result() for run in runs))
    recovery.mark_done(job)
    return Report({})


async def _w7(job: Job, store: object) -> Report:
    waiters = await _park(waiter, [{"k": str(number)} for number in range(job.size)], store)
    await asyncio.sleep(1)
    took = []
    for number, running in enumerate(waiters):
        began = time.perf_counter()
        await satay.send_event(Go("hello"), key=str(number), store=store)
        await asyncio.wait_for(running, 20)
        took.append(time.perf_counter() - began)
    return Report(latencies(took), SETTINGS)


_WORKLOADS = {
    "W1": _run(_w1),
    "W2": _run(_w2),
    "W2x": _run(_w2x),
    "W3": _run(_w3),
    "W4": _run(_w4),
    "W5": _run(_w5),
    "W6": _w6,
    recovery.WORKER: _run(_w6_worker),
    "W7": _run(_w7),
}

if __name__ == "__main__":
    serve("satay", metadata.version("satay"), _WORKLOADS)
