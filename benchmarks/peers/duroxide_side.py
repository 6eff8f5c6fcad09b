"""duroxide's side: its Python package over the Rust engine, on SQLite (WAL, synchronous=NORMAL) or PostgreSQL."""

import threading
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module, metadata
from typing import Any, TypeAlias

from benchmarks import recovery
from benchmarks.measure import Metrics, Usage, fan_out, in_a_row, latencies, rss_mb, settled_rss_mb, throughput
from benchmarks.side import CLIENTS, LARGE_PAYLOAD, PAYLOAD, SLOW_ACTIVITY_S, W2_STEPS, WARM_UP, Job, Report, serve

duroxide: Any = import_module("duroxide")

Steps: TypeAlias = Generator[Any, Any, Any]

# The best of the settings tried on each store, except for W2 on SQLite, where the defaults are faster.
TUNED = {"orchestration_concurrency": 2, "worker_concurrency": 8, "dispatcher_poll_interval_ms": 5}
TUNED_ON_POSTGRES = {"orchestration_concurrency": 8, "worker_concurrency": 16, "dispatcher_poll_interval_ms": 10}
# By default a dead worker's activities are waited for during 30 s.
TUNED_FOR_RECOVERY = {**TUNED, "worker_lock_timeout_ms": 5000, "worker_lock_renewal_buffer_ms": 2000}
_MODULE = "benchmarks.peers.duroxide_side"
_STALL_S = 10.0


def _provider(job: Job) -> Any:
    if job.url:
        return duroxide.PostgresProvider.connect_with_schema(job.url, "bench")
    return duroxide.SqliteProvider.open(f"sqlite:{job.file('duroxide.db')}?mode=rwc")


class _Engine:
    """An open runtime with every definition, its client, and counters that the definitions advance."""

    def __init__(self, job: Job, settings: dict[str, int]) -> None:
        self.folder = job.folder
        self.timeout_ms = int(job.timeout_s * 1000)
        self.parked = 0
        self.done = 0
        self.last_done_at = 0.0
        # Orchestrations that the engine itself gave up on, because SQLite was locked for too long.
        self.given_up = 0
        self.stamps: list[float] = []
        self._lock = threading.Lock()
        provider = _provider(job)
        self.runtime = duroxide.Runtime(provider, duroxide.RuntimeOptions(log_level="error", **settings))
        for activity in (self.noop, self.stamp, self.wait_5_ms, self.step):
            self.runtime.register_activity(activity.__name__, activity)
        bodies: list[Callable[[Any, Any], Steps]] = [
            self.one, self.five, self.five_slow, self.fan, self.sequence, self.sleeper, self.waiter, self.ten,
        ]  # fmt: skip
        for body in bodies:
            self.runtime.register_orchestration(body.__name__)(body)
        self.runtime.start()
        self.client = duroxide.Client(provider)

    def noop(self, _ctx: object, value: object) -> object:
        return value

    def stamp(self, _ctx: object, value: object) -> object:
        self.stamps.append(time.perf_counter())
        return value

    def wait_5_ms(self, _ctx: object, value: object) -> object:
        time.sleep(SLOW_ACTIVITY_S)
        return value

    def step(self, _ctx: object, value: dict[str, int]) -> int:
        recovery.log_start(self.folder, value["o"], value["s"])
        time.sleep(recovery.ACTIVITY_S)
        recovery.log_end(self.folder, value["o"], value["s"])
        return value["s"]

    def one(self, ctx: Any, value: object) -> Steps:
        return (yield ctx.schedule_activity("noop", value))

    def five(self, ctx: Any, value: object) -> Steps:
        result = None
        for _ in range(W2_STEPS):
            result = yield ctx.schedule_activity("noop", value)
        with self._lock:
            self.done += 1
            self.last_done_at = time.perf_counter()
        return result

    def five_slow(self, ctx: Any, value: object) -> Steps:
        result = None
        for _ in range(W2_STEPS):
            result = yield ctx.schedule_activity("wait_5_ms", value)
        return result

    def fan(self, ctx: Any, size: int) -> Steps:
        results = yield ctx.all([ctx.schedule_activity("noop", {"i": index}) for index in range(size)])
        return len(results)

    def sequence(self, ctx: Any, size: int) -> Steps:
        for index in range(size):
            yield ctx.schedule_activity("stamp", {"i": index})
        return size

    def sleeper(self, ctx: Any, _value: object) -> Steps:
        with self._lock:
            self.parked += 1
        yield ctx.schedule_timer(3_600_000)

    def waiter(self, ctx: Any, _value: object) -> Steps:
        with self._lock:
            self.parked += 1
        return (yield ctx.wait_for_event("go"))

    def ten(self, ctx: Any, orchestration: int) -> Steps:
        for step in range(recovery.STEPS):
            yield ctx.schedule_activity("step", {"o": orchestration, "s": step})
        return orchestration

    def start(self, instance_id: str, name: str, value: object) -> None:
        self.client.start_orchestration(instance_id, name, value)

    def result(self, instance_id: str) -> Any:
        """Wait as duroxide's client does: it polls the status, after 5 ms doubling to 100 ms.

        An orchestration that failed with an error of the storage is counted, and has no result.
        """
        status = self.client.wait_for_orchestration(instance_id, self.timeout_ms)
        if status.status == "Completed":
            return status.output
        if status.status != "Failed" or "infrastructure:" not in str(status.error):
            raise RuntimeError(f"{instance_id} ended as {status.status}: {status.error}")
        with self._lock:
            self.given_up += 1
        return None

    def report(self, metrics: Metrics, settings: Mapping[str, object], notes: str = "") -> Report:
        """The workload's report, with the number of orchestrations that got no result."""
        lost = {"failed_orchestrations": self.given_up} if self.given_up else {}
        return Report({**metrics, **lost}, settings or {"defaults": True}, notes)

    def wait_until_done(self, size: int) -> None:
        """Wait for the last body, or until none has ended for a while: some may never do.

        Work is taken in order of arrival, so the first body ends when most of the time is over.
        """
        while self.done < size and (self.done == 0 or time.perf_counter() - self.last_done_at < _STALL_S):
            time.sleep(0.005)

    def wait_until_parked(self, size: int) -> None:
        while self.parked < size:
            time.sleep(0.01)


def _tuned(job: Job) -> dict[str, int]:
    return TUNED_ON_POSTGRES if job.url else TUNED


def _one_by_one(engine: _Engine, count: int, tag: str) -> list[float]:
    """Start one orchestration after the other, each when the last has its result; the time each took, in seconds."""
    took = []
    for index in range(count):
        began = time.perf_counter()
        engine.start(f"{tag}-{index}", "one", PAYLOAD)
        if engine.result(f"{tag}-{index}") not in (PAYLOAD, None):
            raise RuntimeError("the result is not the payload")
        took.append(time.perf_counter() - began)
    return took


def _w1(job: Job) -> Report:
    settings = _tuned(job)
    engine = _Engine(job, settings)
    _one_by_one(engine, WARM_UP, "warm")
    before = Usage.now()
    metrics = latencies(_one_by_one(engine, job.size, "w1"))
    metrics["cpu_ms_each"] = round((Usage.now().cpu_s - before.cpu_s) / job.size * 1e3, 2)
    return engine.report(metrics, settings, "the client polls the status: 5 ms doubling to 100 ms")


def _w2(job: Job) -> Report:
    # On SQLite the defaults are faster than the tuned settings.
    settings = TUNED_ON_POSTGRES if job.url else {}
    engine = _Engine(job, settings)
    before = Usage.now()
    for index in range(job.size):
        engine.start(f"o{index}", "five", PAYLOAD)
    start_s = time.perf_counter() - before.at_s
    engine.wait_until_done(job.size)
    for index in range(job.size):
        engine.result(f"o{index}")
    cpu_s = Usage.now().cpu_s - before.cpu_s
    metrics = throughput(job.size - engine.given_up, W2_STEPS, engine.last_done_at - before.at_s, cpu_s)
    metrics["start_s"] = round(start_s, 3)
    return engine.report(metrics, settings, "the faster of the default and the tuned settings")


def _w2x(job: Job) -> Report:
    engine = _Engine(job, TUNED)

    def client(number: int) -> None:
        for turn in range(job.size // CLIENTS):
            engine.start(f"o{number}-{turn}", "five_slow", LARGE_PAYLOAD)
            engine.result(f"o{number}-{turn}")

    before = Usage.now()
    with ThreadPoolExecutor(CLIENTS) as threads:
        list(threads.map(client, range(CLIENTS)))
    usage = Usage.now()
    completed = job.size - engine.given_up
    metrics = throughput(completed, W2_STEPS, usage.at_s - before.at_s, usage.cpu_s - before.cpu_s)
    return engine.report(metrics, TUNED, "clients and activities are threads")


def _w3(job: Job) -> Report:
    engine = _Engine(job, TUNED)
    _one_by_one(engine, WARM_UP, "warm")
    began = time.perf_counter()
    engine.start("fan", "fan", job.size)
    if engine.result("fan") != job.size:
        raise RuntimeError("the fan-out lost a result")
    elapsed_s = time.perf_counter() - began
    return engine.report(fan_out(job.size, elapsed_s), TUNED)


def _w4(job: Job) -> Report:
    engine = _Engine(job, TUNED)
    _one_by_one(engine, WARM_UP, "warm")
    began = time.perf_counter()
    engine.start("sequence", "sequence", job.size)
    engine.result("sequence")
    elapsed_s = time.perf_counter() - began
    return engine.report(in_a_row(job.size, elapsed_s, engine.stamps, 200), TUNED, "slows as the history grows")


def _w5(job: Job) -> Report:
    engine = _Engine(job, TUNED)
    rss_before = settled_rss_mb()
    began = time.perf_counter()
    for index in range(job.size):
        engine.start(f"s{index}", "sleeper", None)
    engine.wait_until_parked(job.size)
    parked_s = time.perf_counter() - began
    time.sleep(1)
    rss_after = rss_mb()
    before = Usage.now()
    time.sleep(3)
    idle = Usage.now().idle_since(before)
    took = latencies(_one_by_one(engine, 50, "w1"))
    metrics = {
        "n": job.size, "parked_s": round(parked_s, 2), "rss_before_mb": rss_before, "rss_mb": rss_after, **idle,
        "w1_p50_ms": took["p50_ms"], "w1_p95_ms": took["p95_ms"],
    }  # fmt: skip
    return engine.report(metrics, TUNED)


def _w6(job: Job) -> Report:
    return Report(recovery.measure(_MODULE, job), TUNED_FOR_RECOVERY)


def _w6_worker(job: Job) -> Report:
    engine = _Engine(job, TUNED_FOR_RECOVERY)
    if not job.resume:
        for index in range(job.size):
            engine.start(f"o{index}", "ten", index)
        recovery.mark_started(job)
    for index in range(job.size):
        engine.result(f"o{index}")
    recovery.mark_done(job)
    return Report({})


def _w7(job: Job) -> Report:
    settings = _tuned(job)
    engine = _Engine(job, settings)
    for index in range(job.size):
        engine.start(f"e{index}", "waiter", None)
    engine.wait_until_parked(job.size)
    time.sleep(1)
    took = []
    for index in range(job.size):
        began = time.perf_counter()
        engine.client.raise_event(f"e{index}", "go", PAYLOAD)
        engine.result(f"e{index}")
        took.append(time.perf_counter() - began)
    return engine.report(latencies(took), settings)


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
    serve("duroxide", metadata.version("duroxide"), _WORKLOADS)
