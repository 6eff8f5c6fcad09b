"""Runs workloads: one process per side and workload, one at a time, each in a folder of its own, each with a limit."""

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from benchmarks import cold
from benchmarks.catalogue import Workload
from benchmarks.environments import BENCH, LOGS, PEERS, PERDURE, ROOT, EnvironmentUnavailableError, Minor, prepare
from benchmarks.postgres import Server
from benchmarks.ratios import Row
from benchmarks.side import Job, Report, row

SCRATCH = BENCH / "work"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_TAIL_CHARACTERS = 800
_SQLITE = "sqlite:///"


@dataclass(frozen=True)
class Side:
    """One contender: the interpreter of its environment, or why there is none."""

    name: str
    module: str
    python: Path | None
    distribution: str
    missing: str = ""

    @cached_property
    def version(self) -> str:
        """The version that its environment has; the empty string if there is no environment."""
        return self._ask(f"import importlib.metadata as m; print(m.version({self.distribution!r}))")

    @cached_property
    def python_version(self) -> str:
        """The version of its interpreter; the empty string if there is none."""
        return self._ask("import platform; print(platform.python_version())")

    def _ask(self, program: str) -> str:
        if self.python is None:
            return ""
        command = [str(self.python), "-c", program]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30).stdout.strip()


def perdure_side(minor: Minor) -> Side:
    """Perdure from this work tree: on the running interpreter if that has the minor version, else in an environment."""
    python = Path(sys.executable)
    if minor != sys.version_info[:2]:
        try:
            python = prepare(PERDURE, minor)
        except EnvironmentUnavailableError as error:
            print(f"{error}; measuring Perdure on {platform.python_version()}", file=sys.stderr, flush=True)
    return Side(PERDURE.name, PERDURE.module, python, PERDURE.name)


def peer_side(name: str, minor: Minor) -> Side:
    """A peer in an environment of its own."""
    package = PEERS[name]
    distribution = package.requirements[0].partition("==")[0]
    try:
        return Side(name, package.module, prepare(package, minor), distribution)
    except EnvironmentUnavailableError as error:
        return Side(name, package.module, None, distribution, str(error))


class Harness:
    """Runs workloads for a number of sides."""

    def __init__(
        self, sides: Sequence[Side], *, url: str = "", quick: bool = False, server: Server | None = None
    ) -> None:
        """Make one.

        `url` is where Perdure's store is, if not in a new file; `server` has the stores of all sides instead; `quick`
        makes everything a tenth of its size.
        """
        self._sides = sides
        self._url = url
        self._quick = quick
        self._server = server

    def run(self, workload: Workload) -> Iterator[Row]:
        """One row per side."""
        sides = [side for side in self._sides if workload.peers or side.name == PERDURE.name]
        for side in sides:
            if side.python is None:
                yield self._failure(side, workload, side.missing)
        ready = {side.name: side for side in sides if side.python is not None}
        if workload.name == "W8":
            yield from self._cold(workload, ready)
            return
        for side in ready.values():
            print(f"{workload.name} {side.name} ...", file=sys.stderr, flush=True)
            yield self._one(workload, side)

    def _one(self, workload: Workload, side: Side) -> Row:
        folder = _fresh_folder(f"{workload.name}-{side.name}")
        job = Job(
            workload=workload.name,
            size=workload.size_for(side.name, quick=self._quick),
            folder=str(folder),
            out=str(folder / "row.json"),
            timeout_s=workload.timeout_s,
        )
        LOGS.mkdir(parents=True, exist_ok=True)
        log = LOGS / f"{workload.name}-{side.name}.log"
        with self._store(workload, side) as url:
            argument = replace(job, url=url).as_argument()
            ended = _run_in_group([str(side.python), "-m", side.module, argument], log, workload.timeout_s)
        try:
            return self._read(workload, side, job, log, ended)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _store(self, workload: Workload, side: Side) -> AbstractContextManager[str]:
        """The URL of an empty store for one process; the empty string for a new file."""
        if self._server is not None:
            return self._server.database(f"{workload.name}-{side.name}".lower())
        return _store_at(self._url if side.name == PERDURE.name else "", workload.name)

    def _read(self, workload: Workload, side: Side, job: Job, log: Path, ended: str) -> Row:
        output = _COLOURS.sub("", log.read_text(encoding="utf-8", errors="replace"))
        out = Path(job.out)
        if not out.exists():
            return self._failure(side, workload, f"{ended}; {output[-_TAIL_CHARACTERS:]}")
        found: Row = json.loads(out.read_text(encoding="utf-8"))
        locked = output.count("database is locked")
        if locked:
            found["metrics"]["database_is_locked_warnings"] = locked
        return found

    def _cold(self, workload: Workload, ready: Mapping[str, Side]) -> Iterator[Row]:
        print(f"{workload.name} {', '.join(ready)}, taking turns ...", file=sys.stderr, flush=True)
        runs = workload.size_for(PERDURE.name, quick=self._quick)
        pythons = {name: side.python for name, side in ready.items() if side.python is not None}
        reports = cold.measure(pythons, runs, _fresh_folder(workload.name))
        for name, report in reports.items():
            if isinstance(report, Report):
                yield row(name, ready[name].version, "sqlite", workload.name, report, python=ready[name].python_version)
            else:
                yield self._failure(ready[name], workload, str(report))

    def _failure(self, side: Side, workload: Workload, notes: str) -> Row:
        """The row of a workload that has no result; the notes say why."""
        store = "sqlite" if self._server is None else "postgresql"
        return row(side.name, side.version, store, workload.name, Report({"failed": True}, {}, notes))


def _fresh_folder(name: str) -> Path:
    folder = SCRATCH / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


@contextmanager
def _store_at(url: str, workload: str) -> Iterator[str]:
    """The URL of an empty store at the place that `url` names.

    A SQLite file gets a new folder beside the one named, gone afterwards: nothing that exists is read or written.
    """
    if not url.startswith(_SQLITE):
        yield url
        return
    named = Path(url.removeprefix(_SQLITE)).absolute()
    with tempfile.TemporaryDirectory(dir=named.parent, prefix=f"{named.stem}-{workload}-") as folder:
        yield f"{_SQLITE}{folder}/{named.name}"


def _run_in_group(command: Sequence[str], log: Path, timeout_s: float) -> str:
    """Run a command and whatever it starts, all ended by the time limit; how it ended, in words."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=sink, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            return f"ended with code {process.wait(timeout=timeout_s)}"
        except subprocess.TimeoutExpired:
            return f"ended by the limit of {timeout_s:g} s"
        finally:
            # The session's own group: workers of W6 that outlive their driver are in it.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
