"""How the harness and the process that runs one workload talk: a job on the command line, a row in a file.

Each workload of each side runs in a process of its own, started as `python -m MODULE JOB`, where JOB is one JSON
object. The row goes to a file, since the peers write logs to both standard streams. Standard library only: the
interpreters of the peers import this module too.
"""

import json
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from benchmarks.measure import Metrics

# What every activity takes and returns; W2x pads the text to 10 kB.
PAYLOAD: dict[str, Any] = {"id": 1, "x": "hello", "n": [1, 2, 3]}
LARGE_PAYLOAD: dict[str, Any] = {**PAYLOAD, "x": "h" * 10_000}
# The closed loop of W2x.
CLIENTS = 100
SLOW_ACTIVITY_S = 0.005
WARM_UP = 5
W2_STEPS = 5


@dataclass(frozen=True, slots=True)
class Job:
    """One workload to run: its name and size, an empty folder for its files, and where the row goes."""

    workload: str
    size: int
    folder: str
    out: str
    timeout_s: float = 300.0
    url: str = ""
    # W6 runs its worker twice: the second one finds the work of the first.
    resume: bool = False

    @property
    def backend(self) -> str:
        """The kind of store, as rows name it."""
        return urlsplit(self.url).scheme or "sqlite"

    def file(self, name: str) -> Path:
        """A path in the job's folder."""
        return Path(self.folder, name)

    def as_argument(self) -> str:
        """The job as the one command-line argument that a side takes."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class Report:
    """What a workload found."""

    metrics: Metrics
    settings: Mapping[str, object] = field(default_factory=lambda: {"defaults": True})
    notes: str = ""


Workloads: TypeAlias = Mapping[str, Callable[[Job], Report]]


def row(peer: str, version: str, backend: str, workload: str, report: Report, *, python: str = "") -> dict[str, Any]:
    """One result with the fields of every result; `python` is the version, unless it is the running one."""
    return {
        "peer": peer,
        "version": version,
        "backend": backend,
        "workload": workload,
        "metrics": report.metrics,
        "settings": dict(report.settings),
        "notes": report.notes,
        "python": python or platform.python_version(),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def serve(peer: str, version: str, workloads: Workloads) -> None:
    """Run the job on the command line, write its row, and leave at once.

    Leaving by `os._exit` is deliberate: some peers keep threads that would hold the process for minutes.
    """
    job = Job(**json.loads(sys.argv[1]))
    try:
        report = workloads[job.workload](job)
    except BaseException:  # noqa: BLE001 - the process ends here, and its log is where the harness looks
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    Path(job.out).write_text(json.dumps(row(peer, version, job.backend, job.workload, report)), encoding="utf-8")
    os._exit(0)
