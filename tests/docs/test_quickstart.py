"""The scripts of the first two pages, as processes that are killed: the next one goes on where the last one was."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Page

STEPS = 10


def _script(page: str, name: str, folder: Path) -> list[str]:
    """The command that runs a script of a page, whose timers are short."""
    [block] = [block for block in Page(ROOT / page).blocks_of("python") if block.file == name]
    (folder / name).write_text(re.sub(r"asyncio\.sleep\(\d+\)", "asyncio.sleep(0.02)", block.code), encoding="utf-8")
    return [sys.executable, "-u", name]


def _run(command: list[str], folder: Path) -> list[str]:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_counting_goes_on_after_the_process_was_ended(tmp_path, how):
    command = _script("docs/quickstart.md", "count.py", tmp_path)

    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:  # fmt: skip
        assert process.stdout is not None
        before = [process.stdout.readline().strip() for _ in range(3)]
        process.send_signal(how)
        before += process.stdout.read().split("\n")[:-1]
    *after, result = _run(command, tmp_path)

    said = [line for line in [*before, *after] if line.startswith("step")]
    assert before[:3] == ["step 1", "step 2", "step 3"]
    assert "step 1" not in after
    assert sorted(set(said), key=said.index) == [f"step {number}" for number in range(1, STEPS + 1)]
    # The one under way when the process ended may have been done and not recorded.
    assert len(said) - len(set(said)) <= 1
    assert result == str([f"step {number} done" for number in range(1, STEPS + 1)])
    assert _run(command, tmp_path) == [result]


def test_the_readme_s_script_runs_and_tells_its_result_again(tmp_path):
    command = _script("README.md", "shop.py", tmp_path)

    assert _run(command, tmp_path) == ["order-1 is on its way", "receipt for order-1: 4200 cents"]
    assert _run(command, tmp_path) == ["receipt for order-1: 4200 cents"]
