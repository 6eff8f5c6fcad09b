"""Workers for chaos: a nursery that has imported everything and forks one at each word, so that many can die quickly.

`python -m tests.chaos.worker URL LEDGER LEASE`: reads lines, each a word for the worker that it makes; says "born PID"
and "ended PID STATUS". When its own standard input ends, it kills whoever is left.
"""

import asyncio
import os
import selectors
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from perdure import ActivityContext, ExternalEvent, OrchestrationContext, Registry, Runtime, activity, orchestration
from perdure._runtime.heartbeat import Heartbeat
from perdure.storage.sqlite import SqliteStorage

MAIL = ExternalEvent[int]("mail")
GRACE_S = 2.0


class Ledger:
    """What was done to the world: a file to which every process appends."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def _write(self, ctx: ActivityContext, entry: str) -> str:
        line = f"{ctx.idempotency_key} {ctx.instance_id} {ctx.execution_id} {entry} {os.getpid()}\n"
        ledger = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(ledger, line.encode())
        finally:
            os.close(ledger)
        return entry

    @activity(name="note")
    async def note(self, ctx: ActivityContext, entry: str) -> str:
        return self._write(ctx, entry)

    @activity(name="note-in-a-thread")
    def note_in_a_thread(self, ctx: ActivityContext, entry: str) -> str:
        return self._write(ctx, entry)


@orchestration(name="aside")
async def aside(ctx: OrchestrationContext, name: str) -> str:
    return await ctx.schedule_activity(Ledger.note, f"{name}-aside")


@orchestration(name="errand")
async def errand(ctx: OrchestrationContext, told: list[int]) -> list[str]:
    """A little of everything, in two executions: its notes, in order, and what it was told."""
    first = await ctx.schedule_activity(Ledger.note, "first")
    if not told:
        ctx.continue_as_new([await ctx.schedule_wait(MAIL)])
    both = await asyncio.gather(
        ctx.schedule_activity(Ledger.note_in_a_thread, "left"),
        ctx.schedule_activity(Ledger.note, "right"),
        ctx.schedule_sub_orchestration(aside, ctx.instance_id),
    )
    await ctx.schedule_timer(0.05)
    told = [*told, await ctx.schedule_wait(MAIL)]
    return [first, *both, await ctx.schedule_activity(Ledger.note, "last"), *map(str, told)]


def registry(ledger: Path) -> Registry:
    """What every worker has."""
    return Registry(Ledger(ledger), aside, errand)


def shorten_leases(lease_s: float, *storages: type[Any]) -> None:
    """A lease is ten seconds; here a pause past it must not last as long."""
    for function in (Heartbeat.__init__, *(storage.register for storage in storages)):
        defaults = function.__kwdefaults__
        assert defaults is not None
        defaults["lease_us"] = round(lease_s * 1e6)


def _work(url: str, ledger: Path, _: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    asyncio.run(Runtime(url, registry(ledger), grace=GRACE_S).serve())


def nurse(work: Callable[[str], None]) -> None:
    """Fork a worker at each word, and tell of those that end."""
    alive: set[int] = set()
    wake, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        selector.register(wake, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in selector.select()}
            if 0 in ready:
                words = os.read(0, 4096)
                if not words:
                    break
                for word in words.decode().splitlines():
                    alive.add(_bear(partial(work, word), wakes))
            if wake in ready:
                os.read(wake, 4096)
            alive -= _bury(alive)
    for each in alive:
        os.kill(each, signal.SIGKILL)


def _bear(work: Callable[[], None], wakes: int) -> int:
    child = os.fork()
    if child == 0:
        signal.set_wakeup_fd(-1)
        os.close(wakes)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    _say(f"born {child}")
    return child


def _bury(alive: set[int]) -> set[int]:
    ended = set()
    for each in alive:
        found, status = os.waitpid(each, os.WNOHANG)
        if found:
            ended.add(each)
            _say(f"ended {each} {os.waitstatus_to_exitcode(status)}")
    return ended


def _say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


if __name__ == "__main__":
    shorten_leases(float(sys.argv[3]), SqliteStorage)
    nurse(partial(_work, sys.argv[1], Path(sys.argv[2])))
