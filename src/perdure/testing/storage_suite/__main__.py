"""`python -m perdure.testing.storage_suite`: play differential tapes on the SQLite storage."""

import argparse
import sys
import tempfile
from itertools import count
from pathlib import Path

from perdure._ports import Clock, Entropy
from perdure.storage.sqlite import SqliteStorage
from perdure.testing.storage_suite.tape import DifferenceError, check
from perdure.testing.storage_suite.tape.play import STEPS
from perdure.testing.storage_suite.world import StorageUnderTest


def main(arguments: list[str] | None = None) -> int:
    """Play the tapes that the arguments name; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m perdure.testing.storage_suite",
        description="Random calls on the reference storage and on SQLite, which must give equal answers.",
    )
    parser.add_argument("--seeds", type=int, default=300, help="how many tapes to play (300)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--seed", type=int, help="play this tape only")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"how long each tape is ({STEPS})")
    options = parser.parse_args(arguments)
    seeds = range(options.first, options.first + options.seeds) if options.seed is None else [options.seed]
    with tempfile.TemporaryDirectory() as name:
        folder, names = Path(name), count()

        def make(clock: Clock, entropy: Entropy) -> StorageUnderTest:
            return SqliteStorage(folder / f"{next(names)}.db", clock=clock, entropy=entropy, durability="normal")

        try:
            played = check(make, seeds=seeds, steps=options.steps)
        except DifferenceError as difference:
            sys.stderr.write(f"{difference}\n")
            return 1
    sys.stdout.write(f"{len(seeds)} tapes, {played} steps: equal answers\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
