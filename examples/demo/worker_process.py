"""The worker seen from outside: a process that is started, killed, and started again."""

import asyncio
import signal
import sys
from asyncio.subprocess import Process
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

_LOG_SHOWN_CHARS = 2_000


class WorkerFailedError(Exception):
    """The worker ended although nobody killed it."""


class WorkerProcess:
    """Keeps one worker alive: when it is killed, the next one is started at once."""

    def __init__(self, store: Path, ledger: Path, log: Path) -> None:
        self._arguments = ("-m", "examples.demo.worker", str(store), str(ledger))
        self._log = log
        self._process: Process | None = None
        self._victim: Process | None = None
        self._stopping = asyncio.Event()
        self.kills = 0

    async def keep_alive(self) -> None:
        """Start the worker, and again after every kill, until `stop`.

        Raises:
            WorkerFailedError: It ended in another way; the message has the end of its log.
        """
        while not self._stopping.is_set():
            with self._log.open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    sys.executable, *self._arguments, cwd=REPOSITORY, stderr=log
                )
            self._process = process
            if self._stopping.is_set():
                process.terminate()
            code = await process.wait()
            if process is self._victim and code == -signal.SIGKILL:
                self.kills += 1
            # Until it listens to signals, being asked to stop just ends it.
            elif not (self._stopping.is_set() and code in {0, -signal.SIGTERM}):
                log_end = self._log.read_text(encoding="utf-8", errors="replace")[-_LOG_SHOWN_CHARS:]
                raise WorkerFailedError(f"The worker ended by itself with code {code}. Its log ends with:\n{log_end}")

    async def kill(self) -> None:
        """Kill it with SIGKILL, which no process can catch or delay; it is dead when this returns."""
        process = self._process
        if process is not None and process.returncode is None:
            self._victim = process
            process.kill()
            await process.wait()

    async def works_for(self, seconds: float) -> bool:
        """Look on for so long; False as soon as it has been asked to stop."""
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return True
        return False

    def stop(self) -> None:
        """Ask it to finish what it does and leave."""
        self._stopping.set()
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()

    def abandon(self) -> None:
        """Leave no process behind, whatever went wrong."""
        self._stopping.set()
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
