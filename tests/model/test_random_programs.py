"""The property of tests/core/asyncio/test_01_random_programs.py at its full size: two processes, no turn differs."""

import subprocess
import sys

import pytest

PROGRAMS = 1_500
SCRIPT = "from tests.core.asyncio.programs import main; main()"
SLICES = 3


@pytest.mark.parametrize("part", range(SLICES))
def test_random_programs_do_the_same_in_two_processes(part: int) -> None:
    size = PROGRAMS // SLICES
    reports = [_reports(part * size, (part + 1) * size, rubbish, seed) for rubbish, seed in ((0, "1"), (20_000, "2"))]

    assert reports[0] == reports[1]
    assert len(reports[0]) == size


def _reports(first: int, last: int, rubbish: int, hash_seed: str) -> list[str]:
    command = [sys.executable, "-c", SCRIPT, str(first), str(last), str(rubbish)]
    environment = {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": "src:."}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert ended.stderr == ""
    return ended.stdout.splitlines()
