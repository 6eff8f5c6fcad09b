"""The command in this process, with what it said, and workers for it on a thread."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from perdure import Client, InstanceStatus, Registry, Runtime
from perdure.cli.app import main
from tests.cli import shop

URL = "sqlite:///perdure.db"
PATIENCE_S = 20


@dataclass(frozen=True)
class Said:
    """What a command said, and how it ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its output, read as JSON."""
        return json.loads(self.out)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty folder to be in, the zone UTC, and no settings from outside."""
    monkeypatch.chdir(tmp_path)
    for name in ("PERDURE_URL", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield tmp_path
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def perdure(capsys) -> Callable[..., Said]:
    """Runs the command."""

    def run(*arguments: str) -> Said:
        capsys.readouterr()
        status = main(arguments)
        return Said(status, *capsys.readouterr())

    return run


@pytest.fixture
def working() -> Callable[..., AbstractContextManager[None]]:
    """A worker on a thread, for as long as the block is."""
    return _working


@contextmanager
def _working(registry: Registry = shop.registry, url: str = URL) -> Iterator[None]:
    ready, leave = threading.Event(), threading.Event()

    async def work() -> None:
        async with Runtime(url, registry, worker_name="kitchen", grace=1):
            ready.set()
            await asyncio.get_running_loop().run_in_executor(None, leave.wait)

    thread = threading.Thread(target=asyncio.run, args=(work(),))
    thread.start()
    try:
        assert ready.wait(PATIENCE_S)
        yield
    finally:
        leave.set()
        thread.join()


@pytest.fixture
def worker(working) -> Iterator[None]:
    """A worker on the store, all the time."""
    with working():
        yield


def until(instance_id: str, holds: Callable[[InstanceStatus[Any]], bool], url: str = URL) -> InstanceStatus[Any]:
    """Wait until something holds of an instance's status."""

    async def watch() -> InstanceStatus[Any]:
        async with asyncio.timeout(PATIENCE_S), Client(url) as client:
            async for status in client.get_handle(instance_id).watch():
                if holds(status):
                    return status
        raise AssertionError(f"{instance_id} ended before that")

    return asyncio.run(watch())


def eventually(holds: Callable[[], bool]) -> None:
    """Ask again and again until something holds; each time a command runs, which is pause enough."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
