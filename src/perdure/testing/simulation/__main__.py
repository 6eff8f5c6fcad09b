"""`python -m perdure.testing.simulation`: seeds for so many seconds, or one seed again with its timeline."""

from __future__ import annotations

import argparse
import json
import os
import sys
from itertools import count
from typing import TYPE_CHECKING

from perdure._ports import SystemEntropy
from perdure.testing.simulation.lives import CLASSES, live_many, lived, shrunk

if TYPE_CHECKING:
    from collections.abc import Iterable

    from perdure.testing.simulation.lives import Totals
    from perdure.testing.simulation.towns import Towns
    from perdure.testing.simulation.world import World

LINES = 60


def main(arguments: list[str] | None = None) -> int:
    """Run it.

    Returns:
        0 when no promise was broken, 1 otherwise.
    """
    options = _options(arguments)
    if options.seed is not None:
        return _again(options)
    first = int.from_bytes(SystemEntropy().token()[:6], "big") if options.first is None else options.first
    seeds: Iterable[int] = count(first) if options.seeds is None else range(first, first + options.seeds)
    if options.seeds is None and options.seconds is None:
        options.seconds = 40.0
    totals = live_many(seeds, jobs=options.jobs, seconds=options.seconds)
    _tell(totals, first, as_json=options.json)
    return int(bool(totals.violations))


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m perdure.testing.simulation", description=__doc__)
    parser.add_argument("--seconds", type=float, help="how long to go on (default 40, unless --seeds is given)")
    parser.add_argument("--seeds", type=int, help="how many seeds")
    parser.add_argument("--first", type=int, help="the first seed (default: drawn)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (all cores; 0: this one)")
    parser.add_argument("--json", action="store_true", help="print the totals as JSON")
    parser.add_argument("--seed", type=int, help="live this seed again and print its timeline")
    parser.add_argument("--without", default="", help="classes of faults that shall not happen, separated by commas")
    parser.add_argument("--roots", help="the programs to start, by number, separated by commas (default: all)")
    parser.add_argument("--lines", type=int, default=LINES, help=f"lines of the timeline, the last ones ({LINES})")
    return parser.parse_args(arguments)


def _again(options: argparse.Namespace) -> int:
    without = frozenset(filter(None, options.without.split(",")))
    unknown = without - CLASSES
    if unknown:
        print(f"--without: there is no {', '.join(sorted(unknown))}; there are {', '.join(sorted(CLASSES))}")
        return 2
    roots = None if options.roots is None else frozenset(int(number) for number in options.roots.split(","))
    world = lived(options.seed, CLASSES - without if without else None, roots)
    _tell_timeline(world, options.lines)
    return int(world.failure is not None)


def _tell_timeline(world: World | Towns, lines: int) -> None:
    for now, who, *what in world.trace[-lines:]:
        print(f"{now / 1e6:12.6f}  {who:<6}", *what)
    if world.failure is None:
        print(f"seed {world.seed}: all promises kept")
    else:
        print(f"seed {world.seed}: {type(world.failure).__name__}: {world.failure}")


def _tell(totals: Totals, first: int, *, as_json: bool) -> None:
    for seed, found in totals.violations:
        allowed, roots = shrunk(seed)
        without = ",".join(sorted(CLASSES - allowed))
        numbers = ",".join(map(str, sorted(roots)))
        print(f"seed {seed}: {found}", file=sys.stderr)
        print(
            f"  again: python -m perdure.testing.simulation --seed {seed} --roots {numbers} --without {without!r}",
            file=sys.stderr,
        )
    if as_json:
        print(json.dumps(totals.as_data() | {"first": first}))
        return
    rate = totals.seeds / totals.seconds * 60 if totals.seconds else 0
    print(
        f"{totals.seeds:,} seeds from {first} in {totals.seconds:.1f} s ({rate:,.0f} a minute), "
        f"{totals.virtual_hours:,.1f} simulated hours, {totals.faults.total():,} faults, "
        f"{len(totals.violations)} broken promises"
    )


if __name__ == "__main__":
    sys.exit(main())
