"""Absurd's side: its Python package over its own functions in PostgreSQL, workers in processes of their own.

Its client polls for results, after 50 ms doubling to 1 s; here it is asked every half millisecond instead, which is
faster. Workers poll too: every 10 ms here, every 250 ms as shipped.
"""

import os
import subprocess
import sys
import time
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from benchmarks.measure import Usage, latencies, throughput
from benchmarks.side import PAYLOAD, W2_STEPS, WARM_UP, Job, Report, serve

absurd_sdk: Any = import_module("absurd_sdk")
psycopg: Any = import_module("psycopg")

_MODULE = "benchmarks.peers.absurd_side"
_QUEUE = "default"
_ASK_S = 0.0005
_POLL_S = 0.01
_CLAIM_TIMEOUT_S = 120
# The fastest tried for W2; for the others, where one task is under way at a time, two processes do.
_W2_SETTINGS = {"worker_processes": 4, "worker_concurrency": 4, "poll_interval_s": _POLL_S}
_SETTINGS = {"worker_processes": 2, "worker_concurrency": 8, "poll_interval_s": _POLL_S}


def _app(url: str) -> Any:
    app = absurd_sdk.Absurd(url)

    def one(value: object, ctx: Any) -> object:
        return ctx.step("noop", lambda: value)

    def five(value: object, ctx: Any) -> object:
        result = None
        for number in range(W2_STEPS):
            result = ctx.step(f"noop-{number}", lambda: value)
        return result

    def waiter(value: Any, ctx: Any) -> object:
        return ctx.await_event(value["event"])

    for task in (one, five, waiter):
        app.register_task(name=task.__name__)(task)
    return app


class _Fleet:
    """An app whose queue is served by workers in processes of their own."""

    def __init__(self, job: Job, settings: dict[str, Any]) -> None:
        command = Path(sys.executable).with_name("absurdctl")
        subprocess.run([command, "init", "-d", job.url], check=True, env={**os.environ, "PGDATABASE": job.url})
        self.app = _app(job.url)
        self.app.create_queue(_QUEUE)
        self.connection = psycopg.connect(job.url, autocommit=True)
        concurrency = str(settings["worker_concurrency"])
        # They are in this process's session, all of which is ended with the job.
        for _ in range(settings["worker_processes"]):
            subprocess.Popen([sys.executable, "-m", _MODULE, "worker", job.url, concurrency])
        self.run_to_end("one", PAYLOAD)

    def spawn(self, name: str, value: object) -> Any:
        return self.app.spawn(name, value, queue=_QUEUE)["task_id"]

    def wait(self, task: Any) -> None:
        while self.app.fetch_task_result(task).state != "completed":
            time.sleep(_ASK_S)

    def run_to_end(self, name: str, value: object) -> float:
        """Run one task, and return how long it took, in seconds."""
        began = time.perf_counter()
        self.wait(self.spawn(name, value))
        return time.perf_counter() - began

    def wait_until(self, state: str, number: int) -> None:
        """Wait until this many tasks are in a state."""
        count = "SELECT count(*) FROM absurd.t_default WHERE state = %s"
        while self.connection.execute(count, (state,)).fetchone()[0] < number:
            time.sleep(_POLL_S)


def _w1(job: Job) -> Report:
    fleet = _Fleet(job, _SETTINGS)
    for _ in range(WARM_UP):
        fleet.run_to_end("one", PAYLOAD)
    took = [fleet.run_to_end("one", PAYLOAD) for _ in range(job.size)]
    return Report(latencies(took), _SETTINGS, "the client asks for the result every 0.5 ms")


def _w2(job: Job) -> Report:
    fleet = _Fleet(job, _W2_SETTINGS)
    before = Usage.now()
    for _ in range(job.size):
        fleet.spawn("five", PAYLOAD)
    start_s = time.perf_counter() - before.at_s
    # One more was run while the workers started.
    fleet.wait_until("completed", job.size + 1)
    usage = Usage.now()
    metrics = throughput(job.size, W2_STEPS, usage.at_s - before.at_s, usage.cpu_s - before.cpu_s)
    return Report({**metrics, "start_s": round(start_s, 3)}, _W2_SETTINGS, "cpu_s and rss_mb are the client's alone")


def _w7(job: Job) -> Report:
    fleet = _Fleet(job, _SETTINGS)
    tasks = [fleet.spawn("waiter", {"event": f"go-{number}"}) for number in range(job.size)]
    fleet.wait_until("sleeping", job.size)
    took = []
    for number, task in enumerate(tasks):
        began = time.perf_counter()
        fleet.app.emit_event(f"go-{number}", PAYLOAD, _QUEUE)
        fleet.wait(task)
        took.append(time.perf_counter() - began)
    return Report(latencies(took), _SETTINGS, "the client asks for the result every 0.5 ms")


def _work(url: str, concurrency: int) -> None:
    _app(url).start_worker(concurrency=concurrency, poll_interval=_POLL_S, claim_timeout=_CLAIM_TIMEOUT_S)


if __name__ == "__main__":
    if sys.argv[1] == "worker":
        _work(sys.argv[2], int(sys.argv[3]))
    else:
        serve("absurd", metadata.version("absurd-sdk"), {"W1": _w1, "W2": _w2, "W7": _w7})
