"""Other processes for the tests: forked ones that answer with a line, and fresh ones that follow commands."""

import os
import subprocess
import sys
import warnings
from collections.abc import Callable


def in_fork(act: Callable[[], object]) -> str:
    """What `act` returned, or raised, in a forked child of this process, as text."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 and newer warn of forks beside threads; this child only acts and leaves.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            answer = str(act())
        except BaseException as exc:  # noqa: BLE001 - whatever it is, the parent shall hear of it
            answer = f"{type(exc).__name__}: {exc}"
        os.write(write, answer.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return answer


def as_nobody(act: Callable[[], object]) -> Callable[[], object]:
    """The same, without the rights of the superuser, whom no permission stops."""

    def acting() -> object:
        if os.geteuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        return act()

    return acting


class Program:
    """A fresh Python process that runs a script and is spoken to by lines. Killed at the end of its `with`."""

    def __init__(self, script: str, *arguments: object) -> None:
        command = [sys.executable, "-c", script, *map(str, arguments)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self.kill()
        self.process.stdin.close()
        self.process.stdout.close()

    def hear(self) -> str:
        """The next line that it prints; empty when it has ended."""
        return self.process.stdout.readline().strip()

    def say(self, line: str = "") -> None:
        """Give it a line."""
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.process.kill()
        self.process.wait()
