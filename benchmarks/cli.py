"""The command line: which workloads, which sides, how often, and in which form the results are printed.

With `--json` every line of standard output is one JSON object: a row as soon as it is measured, and after the rows of
each workload its ratios and bars. Progress goes to standard error.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import nullcontext

from benchmarks.bars import Verdict, verdicts
from benchmarks.catalogue import WORKLOADS, Workload
from benchmarks.environments import PEERS, PERDURE, choose_minor
from benchmarks.harness import Harness, Side, peer_side, perdure_side
from benchmarks.postgres import running_server
from benchmarks.ratios import Row, ratios
from benchmarks.tables import bars_table, workload_table

# The load, as a share of the cores, from which other programs would be seen in the figures.
_BUSY_SHARE = 0.25


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks; the exit code is 1 if a workload of Perdure has no result."""
    parser = _parser()
    options = parser.parse_args(arguments)
    store = "postgresql" if options.postgres else "sqlite"
    if options.postgres and options.url:
        parser.error("--postgres starts a server of its own: leave out --url")
    workloads = [workload for workload in options.only or WORKLOADS.values() if store in workload.stores]
    if options.only and len(workloads) < len(options.only):
        parser.error(f"with --postgres there are {', '.join(w.name for w in WORKLOADS.values() if store in w.stores)}")
    peers = [] if options.no_peers else [name for name in options.peers if store in PEERS[name].stores]
    _warn_if_busy()
    sides = _sides(peers)
    with running_server() if options.postgres else nullcontext() as server:
        harness = Harness(sides, url=options.url, quick=options.quick, server=server)
        return _run(harness, workloads, peers, options)


def _run(harness: Harness, workloads: Sequence[Workload], peers: Sequence[str], options: argparse.Namespace) -> int:
    found: list[Verdict] = []
    failed = False
    for workload in workloads:
        rows = _measure(harness, workload, options.repeat, as_json=options.json)
        failed = failed or any(row["peer"] == PERDURE.name and row["metrics"].get("failed") for row in rows)
        advantage = ratios(workload, rows, peers if workload.peers else [])
        held = list(verdicts(workload.name, rows))
        found.extend(held)
        if options.json:
            bars = [verdict.as_json() for verdict in held]
            print(json.dumps({"workload": workload.name, "ratios": advantage, "bars": bars}), flush=True)
        else:
            print(workload_table(workload, rows, advantage), flush=True)
    if not options.json:
        print(bars_table(found))
    return 1 if failed else 0


def _warn_if_busy() -> None:
    """Say so when something else is using the machine: every figure will be worse, and not all alike."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load > cores * _BUSY_SHARE:
        print(f"this machine is busy (load {load:.1f} on {cores} cores): the figures will be uneven", file=sys.stderr)


def _sides(peers: Sequence[str]) -> list[Side]:
    minor = choose_minor([PERDURE, *(PEERS[name] for name in peers)])
    sides = [perdure_side(minor), *(peer_side(name, minor) for name in peers)]
    for side in sides:
        state = f"Python {side.python_version} ({side.python})" if side.python else f"not measured: {side.missing}"
        print(f"{side.name} {side.version}: {state}", file=sys.stderr, flush=True)
    return sides


def _measure(harness: Harness, workload: Workload, repeat: int, *, as_json: bool) -> list[Row]:
    rows: list[Row] = []
    for _ in range(repeat):
        for row in harness.run(workload):
            rows.append(row)
            if as_json:
                print(json.dumps(row), flush=True)
    return rows


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Perdure and its peers on the same workloads, on the same disk."
    )
    parser.add_argument(
        "--only",
        type=_workloads,
        default=[],
        metavar="W2[,W1]",
        help=f"these workloads instead of all: {', '.join(WORKLOADS)}",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line: rows, and ratios per workload")
    parser.add_argument(
        "--peers", type=_peers, default=list(PEERS), metavar="A[,B]", help=f"these peers: {', '.join(PEERS)}"
    )
    parser.add_argument("--no-peers", action="store_true", help="Perdure alone; makes no environments")
    parser.add_argument(
        "--url",
        default="",
        help="Perdure's store; with sqlite:///folder/name.db in a new folder beside that file, for each workload "
        "(default: new files under .bench/)",
    )
    parser.add_argument(
        "--postgres",
        action="store_true",
        help="every side on a PostgreSQL server of this run's own, each workload in a database of its own",
    )
    parser.add_argument("--repeat", type=_positive, default=1, metavar="N", help="run N times, compare medians")
    parser.add_argument("--quick", action="store_true", help="a tenth of every size: to see that it works, no figures")
    return parser


def _workloads(text: str) -> list[Workload]:
    return [WORKLOADS[name] for name in _names(text, WORKLOADS, "workload")]


def _peers(text: str) -> list[str]:
    return _names(text, PEERS, "peer")


def _names(text: str, known: Iterable[str], what: str) -> list[str]:
    """The comma-separated names, each one known, whatever its case."""
    by_lower_case = {name.lower(): name for name in known}
    names = []
    for name in filter(None, (part.strip().lower() for part in text.split(","))):
        if name not in by_lower_case:
            raise argparse.ArgumentTypeError(
                f"no {what} is named {name!r}; there are {', '.join(by_lower_case.values())}"
            )
        names.append(by_lower_case[name])
    return names


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not a number of runs: 1 or more is needed")
    return number
