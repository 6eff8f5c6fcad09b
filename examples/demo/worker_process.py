"""The worker seen from outside: a process that is started, killed, and started again."""

import asyncio
import signal
import sys
from asyncio.subprocess import Process
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


class WorkerFailedError(Exception):
    """The worker ended although nobody killed it."""


class WorkerProcess:
    """Keeps one worker alive: when it is killed, the next one is started at once."""

    def __init__(self, store: Path, ledger: Path, log: Path) -> None:
        self._arguments = ("-m", "examples.demo.worker", str(store), str(ledger))
        self._log = log
        self._process: Process | None = None
        self._stopping = False
        self.kills = 0

    async def keep_alive(self) -> None:
        """Start the worker, and again after every kill, until `stop`.

        Raises:
            WorkerFailedError: It ended in another way; the message has the end of its log.
        """
        while not self._stopping:
            kills_before = self.kills
            with self._log.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable, *self._arguments, cwd=REPOSITORY, stderr=log
                )
            code = await self._process.wait()
            if code == -signal.SIGKILL and self.kills > kills_before:
                continue
            if code != 0 or not self._stopping:
                log_end = self._log.read_text(encoding="utf-8", errors="replace")[-2_000:]
                raise WorkerFailedError(f"the worker ended by itself with code {code}. Its log ends with:\n{log_end}")

    def kill(self) -> None:
        """Kill it with SIGKILL, which no process can catch or delay."""
        if self._process is not None and self._process.returncode is None:
            self.kills += 1
            self._process.kill()

    def stop(self) -> None:
        """Ask it to finish what it does and leave."""
        self._stopping = True
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()

    def abandon(self) -> None:
        """Leave no process behind, whatever went wrong."""
        self._stopping = True
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
