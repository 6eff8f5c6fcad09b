"""DBOS's side, as it ships: on SQLite a rollback journal with synchronous=FULL, its own defaults elsewhere.

DBOS 3.4 needs SQLite 3.42 (`unixepoch('subsec')` in its schema), and many systems' Python carries an older one. Where
`pysqlite3` is installed it takes the place of `sqlite3`, before DBOS is imported.
"""

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

with suppress(ImportError):
    sys.modules["sqlite3"] = import_module("pysqlite3")
    sys.modules["sqlite3.dbapi2"] = import_module("pysqlite3.dbapi2")

from benchmarks import recovery
from benchmarks.measure import Usage, fan_out, in_a_row, latencies, rss_mb, settled_rss_mb, throughput
from benchmarks.side import CLIENTS, LARGE_PAYLOAD, PAYLOAD, SLOW_ACTIVITY_S, W2_STEPS, WARM_UP, Job, Report, serve

dbos: Any = import_module("dbos")
DBOS: Any = dbos.DBOS

_MODULE = "benchmarks.peers.dbos_side"
_SETTLE_LIMIT_S = 60.0
_W2_ON_SQLITE = {"max_executor_threads": 8}
_W2_ON_POSTGRES = {"max_executor_threads": 64, "sys_db_pool_size": 32}

_stamps: list[float] = []
_folder = ""
_parked = 0
_lock = threading.Lock()


def _count_parked() -> None:
    global _parked  # noqa: PLW0603 - workflows are functions of their module; this is how they tell
    with _lock:
        _parked += 1


def _noop(value: object) -> object:
    return value


async def _async_noop(value: object) -> object:
    return value


async def _wait_5_ms(value: object) -> object:
    await asyncio.sleep(SLOW_ACTIVITY_S)
    return value


def _stamp(value: object) -> object:
    _stamps.append(time.perf_counter())
    return value


def _step(orchestration: int, step: int) -> int:
    # Starting is slow: without this the first workflows would be done before the last is started.
    while not Path(_folder, "started").exists():
        time.sleep(0.01)
    recovery.log_start(_folder, orchestration, step)
    time.sleep(recovery.ACTIVITY_S)
    recovery.log_end(_folder, orchestration, step)
    return step


noop = DBOS.step()(_noop)
async_noop = DBOS.step()(_async_noop)
wait_5_ms = DBOS.step()(_wait_5_ms)
stamp = DBOS.step()(_stamp)
step = DBOS.step()(_step)


def _one(value: object) -> object:
    return noop(value)


def _five(value: object) -> object:
    result = None
    for _ in range(W2_STEPS):
        result = noop(value)
    return result


async def _five_slow(value: object) -> object:
    result = None
    for _ in range(W2_STEPS):
        result = await wait_5_ms(value)
    return result


async def _fan(size: int) -> int:
    return len(await asyncio.gather(*[async_noop({"i": index}) for index in range(size)]))


def _sequence(size: int) -> int:
    for index in range(size):
        stamp({"i": index})
    return size


async def _sleeper(_number: int) -> None:
    _count_parked()
    await DBOS.sleep_async(3600)


def _waiter(_number: int) -> object:
    _count_parked()
    return DBOS.recv("go", timeout_seconds=3600)


def _ten(orchestration: int) -> int:
    for number in range(recovery.STEPS):
        step(orchestration, number)
    return orchestration


one = DBOS.workflow()(_one)
five = DBOS.workflow()(_five)
five_slow = DBOS.workflow()(_five_slow)
fan = DBOS.workflow()(_fan)
sequence = DBOS.workflow()(_sequence)
sleeper = DBOS.workflow()(_sleeper)
waiter = DBOS.workflow()(_waiter)
ten = DBOS.workflow()(_ten)


def launch(job: Job, **settings: object) -> dict[str, object]:
    """Launch DBOS on the job's database, or a file in its folder; returns the settings to report."""
    global _folder  # noqa: PLW0603 - the steps of W6 write their log there
    _folder = job.folder
    url = job.url or f"sqlite:///{job.file('dbos.db')}"
    DBOS(
        config={
            "name": "bench",
            "system_database_url": url,
            "log_level": "ERROR",
            "console_log_level": "ERROR",
            **settings,
        }
    )
    DBOS.launch()
    library = {} if job.url else {"sqlite": import_module("sqlite3").sqlite_version}
    return {**(settings or {"defaults": True}), **library}


def _one_by_one(count: int) -> list[float]:
    """Run one workflow after the other; the time each took, in seconds."""
    took = []
    for _ in range(count):
        began = time.perf_counter()
        if DBOS.start_workflow(one, PAYLOAD).get_result() != PAYLOAD:
            raise RuntimeError("the result is not the payload")
        took.append(time.perf_counter() - began)
    return took


def _w1(job: Job) -> Report:
    settings = launch(job)
    _one_by_one(WARM_UP)
    before = Usage.now()
    metrics = latencies(_one_by_one(job.size))
    metrics["cpu_ms_each"] = round((Usage.now().cpu_s - before.cpu_s) / job.size * 1e3, 2)
    return Report(metrics, settings, "in-process future: the waiter does not poll")


def _w2(job: Job) -> Report:
    # The fastest tried of each.
    settings = launch(job, **(_W2_ON_POSTGRES if job.url else _W2_ON_SQLITE))
    before = Usage.now()
    handles = [DBOS.start_workflow(five, PAYLOAD) for _ in range(job.size)]
    start_s = time.perf_counter() - before.at_s
    for handle in handles:
        handle.get_result()
    usage = Usage.now()
    metrics = throughput(job.size, W2_STEPS, usage.at_s - before.at_s, usage.cpu_s - before.cpu_s)
    notes = "sync workflows, started up front; the fastest number of threads tried"
    return Report({**metrics, "start_s": round(start_s, 3)}, settings, notes)


def _w2x(job: Job) -> Report:
    settings = launch(job)

    async def client() -> None:
        for _ in range(job.size // CLIENTS):
            handle = await DBOS.start_workflow_async(five_slow, LARGE_PAYLOAD)
            await handle.get_result()

    async def clients() -> None:
        await asyncio.gather(*(client() for _ in range(CLIENTS)))

    before = Usage.now()
    asyncio.run(clients())
    usage = Usage.now()
    metrics = throughput(job.size, W2_STEPS, usage.at_s - before.at_s, usage.cpu_s - before.cpu_s)
    return Report(metrics, settings, "async workflows")


def _w3(job: Job) -> Report:
    settings = launch(job, max_executor_threads=16)
    _one_by_one(WARM_UP)

    async def run() -> int:
        handle = await DBOS.start_workflow_async(fan, job.size)
        return int(await handle.get_result())

    began = time.perf_counter()
    if asyncio.run(run()) != job.size:
        raise RuntimeError("the fan-out lost a result")
    elapsed_s = time.perf_counter() - began
    return Report(fan_out(job.size, elapsed_s), settings, "asyncio.gather over async steps in one workflow")


def _w4(job: Job) -> Report:
    settings = launch(job)
    _one_by_one(WARM_UP)
    began = time.perf_counter()
    DBOS.start_workflow(sequence, job.size).get_result()
    elapsed_s = time.perf_counter() - began
    return Report(in_a_row(job.size, elapsed_s, _stamps, 200), settings)


def _in_background(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    threading.Thread(target=lambda: asyncio.run(main()), daemon=True).start()


def _settle() -> None:
    """Wait until the durable records of the waits, which follow the bodies, are written."""
    deadline = time.monotonic() + _SETTLE_LIMIT_S
    while time.monotonic() < deadline:
        before = time.process_time()
        time.sleep(1)
        if time.process_time() - before < 0.3:
            return


def _w5(job: Job) -> Report:
    settings = launch(job, max_executor_threads=16)
    rss_before = settled_rss_mb()
    began = time.perf_counter()

    async def start_all() -> None:
        for number in range(job.size):
            await DBOS.start_workflow_async(sleeper, number)
        await asyncio.sleep(3600)

    _in_background(start_all)
    while _parked < job.size:
        time.sleep(0.01)
    parked_s = time.perf_counter() - began
    _settle()
    rss_after = rss_mb()
    before = Usage.now()
    time.sleep(3)
    idle = Usage.now().idle_since(before)
    took = latencies(_one_by_one(50))
    metrics = {
        "n": job.size, "parked_s": round(parked_s, 2), "rss_before_mb": rss_before, "rss_mb": rss_after, **idle,
        "w1_p50_ms": took["p50_ms"], "w1_p95_ms": took["p95_ms"],
    }  # fmt: skip
    return Report(metrics, settings, "async workflows: sync ones would keep a thread each")


def _w6(job: Job) -> Report:
    return Report(recovery.measure(_MODULE, job), {"max_executor_threads": 16})


def _w6_worker(job: Job) -> Report:
    launch(job, max_executor_threads=16)
    if not job.resume:
        for number in range(job.size):
            with dbos.SetWorkflowID(f"o{number}"):
                DBOS.start_workflow(ten, number)
        recovery.mark_started(job)
    for number in range(job.size):
        DBOS.retrieve_workflow(f"o{number}").get_result(polling_interval_sec=0.02)
    recovery.mark_done(job)
    return Report({})


def _w7(job: Job) -> Report:
    settings = launch(job, notification_listener_polling_interval_sec=0.01)
    handles = [DBOS.start_workflow(waiter, number) for number in range(job.size)]
    while _parked < job.size:
        time.sleep(0.01)
    time.sleep(1)
    took = []
    for handle in handles:
        began = time.perf_counter()
        DBOS.send(handle.get_workflow_id(), PAYLOAD, "go")
        handle.get_result()
        took.append(time.perf_counter() - began)
    return Report(latencies(took), settings, "polls notifications every 10 ms instead of its default of 1 s")


_WORKLOADS = {
    "W1": _w1,
    "W2": _w2,
    "W2x": _w2x,
    "W3": _w3,
    "W4": _w4,
    "W5": _w5,
    "W6": _w6,
    recovery.WORKER: _w6_worker,
    "W7": _w7,
}

if __name__ == "__main__":
    serve("dbos", metadata.version("dbos"), _WORKLOADS)
