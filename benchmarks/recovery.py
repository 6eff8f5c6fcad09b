"""W6: kill the worker with SIGKILL when half of the activities are done, restart it, account for every activity.

Each orchestration runs ten activities of 20 ms. An activity appends a line to a log when it starts and another when
it ends; a line is written by one `write` call in append mode, so lines of two processes never mix.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.measure import Metrics
from benchmarks.side import Job

STEPS = 10
ACTIVITY_S = 0.02
WORKER = "W6-worker"
_POLL_S = 0.002


def log_start(folder: str, orchestration: int, step: int) -> None:
    """Record that an activity's body began."""
    _append(folder, "S", orchestration, step)


def log_end(folder: str, orchestration: int, step: int) -> None:
    """Record that an activity's body ended; its result may still be lost by a kill."""
    _append(folder, "E", orchestration, step)


def _append(folder: str, mark: str, orchestration: int, step: int) -> None:
    line = f"{mark} {orchestration} {step} {time.time()}\n".encode("ascii")
    descriptor = os.open(f"{folder}/log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


def mark_started(job: Job) -> None:
    """Say that all orchestrations are started."""
    job.file("started").touch()


def mark_done(job: Job, verdict: Metrics | None = None, at: float | None = None) -> None:
    """Say that all orchestrations are complete, since `at` (now, unless given), and what else the worker found out."""
    content = json.dumps({"at": at or time.time(), "verdict": verdict or {}})
    staged = job.file("done.new")
    staged.write_text(content, encoding="utf-8")
    staged.rename(job.file("done"))


@dataclass(slots=True)
class _Account:
    """The log, read so far."""

    path: Path
    offset: int = 0
    started: Counter[str] = field(default_factory=Counter)
    finished: Counter[str] = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)

    def read(self) -> None:
        if not self.path.exists():
            return
        with self.path.open("rb") as log:
            log.seek(self.offset)
            content = log.read()
        whole = content[: content.rfind(b"\n") + 1]
        self.offset += len(whole)
        for line in whole.decode("ascii").splitlines():
            mark, orchestration, step, at = line.split()
            (self.started if mark == "S" else self.finished)[f"{orchestration}/{step}"] += 1
            self.times.append(float(at))


def _spawn(module: str, job: Job) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-m", module, job.as_argument()])


def _run_until_half_done(module: str, job: Job, account: _Account) -> None:
    deadline = time.monotonic() + job.timeout_s
    worker = _spawn(module, job)
    started = job.file("started")
    try:
        while account.finished.total() < job.size * STEPS // 2 or not started.exists():
            if worker.poll() is not None:
                raise RuntimeError(f"the worker ended by itself with code {worker.returncode} before it was killed")
            if time.monotonic() > deadline:
                raise TimeoutError(f"only {account.finished.total()} activities in {job.timeout_s} s")
            time.sleep(_POLL_S)
            account.read()
    finally:
        worker.kill()
        worker.wait()


def measure(module: str, job: Job) -> Metrics:
    """Run the worker of `module` twice, with a kill in between, and return the figures of W6."""
    worker_job = replace(job, workload=WORKER)
    account = _Account(job.file("log"))
    began_at = time.time()
    _run_until_half_done(module, worker_job, account)
    killed_at = time.time()
    account.read()
    before = account.finished.total()
    worker = _spawn(module, replace(worker_job, resume=True))
    try:
        worker.wait(timeout=job.timeout_s)
    finally:
        worker.kill()
        worker.wait()
    account.read()
    done = json.loads(job.file("done").read_text(encoding="utf-8"))
    after = [at for at in account.times if at > killed_at]
    return {
        "n": job.size,
        "ran_before_kill_s": round(killed_at - began_at, 2),
        "activities_before_kill": before,
        "recover_s": round(done["at"] - killed_at, 3),
        "first_activity_after_restart_s": round(min(after) - killed_at, 3),
        "last_activity_after_restart_s": round(max(after) - killed_at, 3),
        "distinct": len(account.finished),
        "lost": job.size * STEPS - len(account.finished),
        "started_twice": sum(count > 1 for count in account.started.values()),
        "finished_twice": sum(count > 1 for count in account.finished.values()),
        **done["verdict"],
    }
