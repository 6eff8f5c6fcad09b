"""`python -m tests.chaos --minutes 10`: everything that may go wrong, again and again, with running totals.

`python -m tests.chaos LANE SEED` does one piece again.
"""

import argparse
import json
import sys
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import cycle
from multiprocessing import get_context
from pathlib import Path

from tests.chaos.lanes import LANES, do

WORKERS = 2
TELL_EVERY_S = 60.0


class Totals:
    """What has been done, and where to go on next time: seeds are never used twice."""

    def __init__(self, first: int) -> None:
        self.done: Counter[str] = Counter()
        self.seed = first
        self.failed: list[tuple[str, int, str]] = []

    def show(self, seconds: float) -> None:
        """Tell all of it."""
        sys.stdout.write(f"\nafter {seconds:.0f} s, up to seed {self.seed}:\n")
        for what, number in sorted(self.done.items()):
            sys.stdout.write(f"  {number:>12,}  {what}\n")
        for lane, seed, why in self.failed:
            sys.stdout.write(f"  FAILED: python -m tests.chaos {lane} {seed}\n    {why}\n")
        sys.stdout.flush()


def go(seconds: float, first: int) -> Totals:
    """Do pieces of all lanes in turn, on all cores, until the time is over."""
    begun, told = time.monotonic(), time.monotonic()
    totals, lanes = Totals(first), cycle(LANES)
    under_way: dict[Future[Counter[str]], tuple[str, int]] = {}
    # Spawned, and each for some pieces only: what a piece leaves behind in its process is not the next one's affair.
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn"), max_tasks_per_child=20) as pool:
        while under_way or time.monotonic() < begun + seconds:
            while len(under_way) < WORKERS and time.monotonic() < begun + seconds:
                lane = next(lanes)
                under_way[pool.submit(do, lane, totals.seed)] = (lane, totals.seed)
                totals.seed += 1
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                lane, seed = under_way.pop(future)
                error = future.exception()
                if error is None:
                    totals.done += future.result()
                else:
                    totals.failed.append((lane, seed, f"{type(error).__name__}: {error}"))
            if time.monotonic() > told + TELL_EVERY_S:
                told = time.monotonic()
                totals.show(told - begun)
    totals.show(time.monotonic() - begun)
    return totals


def main(arguments: list[str] | None = None) -> int:
    """Do what the arguments say; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("piece", nargs="*", metavar="LANE SEED", help=f"one piece of {', '.join(LANES)}")
    parser.add_argument("--minutes", type=float, default=5, help="how long (5)")
    parser.add_argument("--first", type=int, default=int(time.time()), help="the first seed (the time)")
    parser.add_argument("--json", type=Path, help="a file for the totals")
    options = parser.parse_args(arguments)
    if options.piece:
        lane, seed = options.piece
        sys.stdout.write(f"{dict(LANES[lane](int(seed)))}\n")
        return 0
    totals = go(options.minutes * 60, options.first)
    if options.json is not None:
        options.json.write_text(json.dumps(dict(totals.done)) + "\n", encoding="utf-8")
    return 1 if totals.failed else 0


if __name__ == "__main__":
    sys.exit(main())
