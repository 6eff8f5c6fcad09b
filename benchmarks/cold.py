"""W8: a fresh process that opens an engine on a new database, gets one result, and exits.

The harness times whole processes, so the sides take turns: a machine that changes its pace weighs on all alike.
"""

import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Metrics, median
from benchmarks.side import Report

_RUN_LIMIT_S = 120.0

_PERDURE = """
import asyncio, sys
from typing import Any
from perdure import OrchestrationContext, Registry, Runtime, activity, orchestration

@activity
async def noop(value: dict[str, Any]) -> dict[str, Any]:
    return value

@orchestration
async def one(ctx: OrchestrationContext, value: dict[str, Any]) -> dict[str, Any]:
    return await ctx.schedule_activity(noop, value)

async def main() -> None:
    async with Runtime(f"sqlite:///{sys.argv[1]}/perdure.db", Registry(noop, one)) as runtime:
        handle = await runtime.client.start_orchestration(one, {"i": 1})
        assert await handle.result() == {"i": 1}

asyncio.run(main())
"""

_DUROXIDE = """
import sys, duroxide
provider = duroxide.SqliteProvider.open(f"sqlite:{sys.argv[1]}/duroxide.db?mode=rwc")
runtime = duroxide.Runtime(provider, duroxide.RuntimeOptions(log_level="error", dispatcher_poll_interval_ms=5))
runtime.register_activity("noop", lambda ctx, value: value)
def one(ctx, value):
    return (yield ctx.schedule_activity("noop", value))
runtime.register_orchestration("one", one)
runtime.start()
client = duroxide.Client(provider)
client.start_orchestration("a", "one", {"i": 1})
assert client.wait_for_orchestration("a", 10000).output == {"i": 1}
runtime.shutdown(0)
"""

_DBOS = """
import sys
try:
    import pysqlite3, pysqlite3.dbapi2
    sys.modules["sqlite3"] = pysqlite3
    sys.modules["sqlite3.dbapi2"] = pysqlite3.dbapi2
except ImportError:
    pass
from dbos import DBOS
@DBOS.step()
def noop(value): return value
@DBOS.workflow()
def one(value): return noop(value)
url = f"sqlite:///{sys.argv[1]}/dbos.db"
DBOS(config=dict(name="bench", system_database_url=url, log_level="ERROR", console_log_level="ERROR"))
DBOS.launch()
assert DBOS.start_workflow(one, {"i": 1}).get_result() == {"i": 1}
DBOS.destroy()
"""

_SATAY = """
import asyncio, sys, satay
@satay.task()
async def noop(value): return value
@satay.workflow
async def one(value): return await noop(value)
async def main():
    async with satay.run_app(data_dir=sys.argv[1]) as store:
        assert await satay.start(one, {"i": 1}, store=store).result() == {"i": 1}
asyncio.run(main())
"""

# What a program sets that is not its engine's default, as the rows report it.
_SETTINGS: Mapping[str, Mapping[str, object]] = {"duroxide": {"dispatcher_poll_interval_ms": 5}}
_PROGRAMS = {"perdure": _PERDURE, "duroxide": _DUROXIDE, "dbos": _DBOS, "satay": _SATAY}


@dataclass(frozen=True, slots=True)
class _Timed:
    """One program of one side; `figure` is the metric that its median becomes."""

    side: str
    figure: str
    python: Path
    program: str

    def run(self, scratch: Path) -> float:
        """Start the process with a new, empty folder as its argument, and return its whole life in seconds."""
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            command = [str(self.python), "-c", self.program, folder]
            began = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_RUN_LIMIT_S)
            took = time.perf_counter() - began
        if done.returncode != 0:
            raise RuntimeError(f"the program of {self.side} for {self.figure} failed:\n{done.stderr[-2000:]}")
        return took


def measure(sides: Mapping[str, Path], runs: int, scratch: Path) -> Mapping[str, Report | RuntimeError]:
    """Time every side's programs `runs` times, taking turns; what each side's row reports, or why it has none.

    `sides` maps a side to its interpreter. One run of each comes first and does not count: it compiles the modules.
    """
    programs = [timed for side, python in sides.items() for timed in _programs(side, python)]
    took: dict[_Timed, list[float]] = {timed: [] for timed in programs}
    failed: dict[str, RuntimeError] = {}
    for number in range(runs + 1):
        for timed in programs:
            if timed.side in failed:
                continue
            try:
                seconds = timed.run(scratch)
            except RuntimeError as error:
                failed[timed.side] = error
                continue
            if number > 0:
                took[timed].append(seconds)
    return {side: failed.get(side) or _report(side, runs, took) for side in sides}


def _programs(side: str, python: Path) -> list[_Timed]:
    programs = [
        _Timed(side, "bare_python_s", python, "pass"),
        _Timed(side, "import_s", python, f"import {side}"),
        _Timed(side, "new_db_s", python, _PROGRAMS[side]),
    ]
    if side == "perdure":
        programs.insert(1, _Timed(side, "import_asyncio_s", python, "import asyncio"))
    return programs


def _report(side: str, runs: int, took: Mapping[_Timed, list[float]]) -> Report:
    medians = {timed.figure: median(values) for timed, values in took.items() if timed.side == side}
    metrics: Metrics = {"n": runs, **{figure: round(value, 4) for figure, value in medians.items()}}
    if "import_asyncio_s" in medians:
        metrics["import_over_asyncio"] = round(medians["import_s"] / medians["import_asyncio_s"], 3)
    settings = _SETTINGS.get(side, {"defaults": True})
    return Report(metrics, settings, f"medians of {runs} whole processes, taking turns; a new database each time")
