"""A seed repeats its world, whatever Python hashes to and whichever Python it is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from perdure.testing.simulation.lives import live

ROOT = Path(__file__).resolve().parent.parent.parent
SEEDS = range(3_000_000, 3_000_010)
CODE = f"""
from perdure.testing.simulation.lives import live
print(*(live(seed).trace for seed in {SEEDS!r}))
"""
OTHERS = ("3.12", "3.13")


def _traces(python: str, hash_seed: str) -> list[str]:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [python, "-c", CODE], capture_output=True, text=True, check=True, env=environment, timeout=100
    )
    return done.stdout.split()


@pytest.fixture(scope="module")
def traces() -> list[str]:
    return [live(seed).trace for seed in SEEDS]


def test_the_same_trace_twice(traces):
    assert [live(seed).trace for seed in SEEDS] == traces


def test_other_seeds_other_traces(traces):
    assert len(set(traces)) == len(SEEDS)


@pytest.mark.parametrize("hash_seed", ["1", "4711"])
def test_the_same_trace_under_another_hash_seed(traces, hash_seed):
    assert _traces(sys.executable, hash_seed) == traces


@pytest.mark.parametrize("version", OTHERS)
def test_the_same_trace_on_another_python(traces, version):
    python = ROOT / f".venv-{version}" / "bin" / "python"
    if not python.exists() or subprocess.run([python, "-c", "import perdure"], check=False).returncode:
        lack = f"no .venv-{version} with Perdure in it: install Python {version}, then run make python-{version}"
        if os.environ.get("CI") == "true":
            pytest.fail(lack)
        pytest.skip(lack)
    assert _traces(str(python), "0") == traces
