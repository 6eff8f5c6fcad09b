"""`python -m tests.mutants`: make every bug of the table in a copy of the package, and see that it is found.

`python -m tests.mutants WORD` tries those whose names have the word.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutants.table import PACKAGE, ROOT, SIMULATED, STORED, Mutant

SEEDS = 2_000
TIMEOUT_S = 900
SUITES = {
    "storage/memory/": "tests/storage/test_conformance.py",
    "storage/sqlite/": "tests/storage/sqlite/test_sqlite_conformance.py",
}
HUNT = """
import sys
from perdure.testing.simulation.lives import live
for number in range(*map(int, sys.argv[1:])):
    found = live(number).found
    if found is not None:
        print(f"seed {number}: {found}"[:200])
        sys.exit(1)
"""


def found(mutant: Mutant, seeds: int = SEEDS) -> str | None:
    """What has found the bug, or None: the simulation, or the suite of the storage that has it."""
    suites = [suite for room, suite in SUITES.items() if mutant.file.startswith(room)]
    if mutant.suite is not None:
        suites.append(mutant.suite)
    worlds = (0, seeds) if mutant.worlds is None else (mutant.worlds, seeds, mutant.every)
    commands = [] if mutant in STORED or mutant.suite else [[sys.executable, "-c", HUNT, *map(str, worlds)]]
    commands += [[sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", suite] for suite in suites]
    with tempfile.TemporaryDirectory(prefix="perdure-mutant-") as folder:
        copy = Path(folder) / "perdure"
        shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        (copy / mutant.file).write_text(mutant.applied(), encoding="utf-8")
        return next((how for command in commands if (how := _complaint(command, folder)) is not None), None)


def _complaint(command: list[str], folder: str) -> str | None:
    environment = {**os.environ, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return f"it did not come to an end within {TIMEOUT_S} s"
    if done.returncode == 0:
        return None
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(("seed ", "FAILED"))]
    return lines[-1] if lines else f"it broke down: {done.stderr[-300:]}"


def main(arguments: list[str] | None = None) -> int:
    """Try them; returns 1 when one was not found."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("word", nargs="?", default="", help="only mutants whose name has this")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"seeds for each at most ({SEEDS})")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at once")
    options = parser.parse_args(arguments)
    mutants = [mutant for mutant in (*SIMULATED, *STORED) if options.word in mutant.name]
    missed = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        for mutant, how in zip(mutants, pool.map(lambda each: found(each, options.seeds), mutants), strict=True):
            missed += how is None
            sys.stdout.write(f"{'NOT FOUND' if how is None else 'found'}  {mutant.name}: {how or ''}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{len(mutants) - missed} of {len(mutants)} mutants found\n")
    return 1 if missed or not mutants else 0


if __name__ == "__main__":
    sys.exit(main())
