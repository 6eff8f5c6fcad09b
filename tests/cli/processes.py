"""Workers as processes of their own: started with the command, listened to, sent signals, killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PERDURE = [sys.executable, "-m", "perdure"]
PATIENCE_S = 30


class Worker:
    """A `perdure worker`, with the lines of its log."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.log: list[str] = []

    def hear(self, words: str) -> str:
        """Wait for the next line of the log that has these words."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.log.append(line.rstrip("\n"))
            if words in line:
                return self.log[-1]
        raise AssertionError(f"the worker ended without {words!r}; it said {self.log}")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def end(self) -> int:
        """Wait until it has ended; its exit status. What else it logged is kept."""
        assert self._process.stderr is not None
        # Not communicate(), which knows nothing of the lines that have been read ahead.
        self.log += self._process.stderr.read().splitlines()
        return self._process.wait(PATIENCE_S)

    def kill(self) -> None:
        """Kill -9, and wait until it is gone."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(PATIENCE_S)
        if self._process.stderr is not None:
            self._process.stderr.close()


def environment(**more: str) -> dict[str, str]:
    """The environment of a command: ours, with this checkout on the import path, and no settings of its own."""
    ours = {name: value for name, value in os.environ.items() if name not in {"PERDURE_URL", "NO_COLOR", "FORCE_COLOR"}}
    return {**ours, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "src"))), "TZ": "UTC", **more}


@contextmanager
def worker(*arguments: str, folder: Path) -> Iterator[Worker]:
    """A worker process in a folder; killed at the end, if it still runs."""
    process = subprocess.Popen(
        [*PERDURE, "worker", *arguments],
        cwd=folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    running = Worker(process)
    try:
        yield running
    finally:
        running.kill()


def perdure(*arguments: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """A command that runs to its end."""
    return subprocess.run(
        [*PERDURE, *arguments],
        cwd=folder,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
