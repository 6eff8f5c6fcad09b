"""Processes for tests: started, listened to line by line, killed or asked to stop."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

WORKER = Path(__file__).with_name("worker_program.py")


class Program:
    """A Python program in a process of its own; what it says on stdout is kept in `said`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.said: list[str] = []

    @classmethod
    async def start(cls, script: Path, *arguments: str) -> "Program":
        """Start a script."""
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable, str(script), *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
        )

    async def hear(self, beginning: str) -> str:
        """Wait for the next line that begins so."""
        assert self._process.stdout is not None
        while line := (await self._process.stdout.readline()).decode().rstrip("\n"):
            self.said.append(line)
            if line.startswith(beginning):
                return line
        raise AssertionError(
            f"the program ended without a line {beginning!r}; it said {self.said}, {await self.errors()}"
        )

    async def errors(self) -> str:
        """What it wrote to stderr until it ended."""
        assert self._process.stderr is not None
        return (await self._process.stderr.read()).decode()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    async def end(self) -> int:
        """Wait until it has ended; its return code."""
        assert self._process.stdout is not None
        self.said += (await self._process.stdout.read()).decode().splitlines()
        return await self._process.wait()

    async def kill(self) -> None:
        """Kill -9, and wait until it is gone."""
        if self._process.returncode is None:
            self._process.kill()
            await self.end()
            await self.errors()


@asynccontextmanager
async def programs() -> AsyncIterator[Callable[..., Awaitable[Program]]]:
    """Starts programs, by default workers, and kills what is left of them."""
    started: list[Program] = []

    async def start(*arguments: str, script: Path = WORKER) -> Program:
        started.append(await Program.start(script, *arguments))
        return started[-1]

    yield start
    for program in started:
        await program.kill()
