"""`python -m tests.chaos.postgres`: a PostgreSQL server that restarts and loses its backends, under load.

Two worker processes count up, each step an activity, while the server is restarted and backends are killed at random.
Nothing may fail and nothing may be lost; it tells how long after a restart the first commit came.
"""

import argparse
import asyncio
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import psycopg
from psycopg import sql

from perdure import Client, OutcomeUnknownError, StorageUnavailableError
from tests.storage.postgres.fleet import count_up
from tests.storage.postgres.server import Server

STEPS = 20
OPEN_MAX = 60
WORKERS = 2
KILLS_AT_ONCE = 3
PATIENCE_S = 120.0


class Load:
    """Keeps so many orchestrations under way until it is told to stop."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.stopping = False
        self.figures: Counter[str] = Counter()
        self.wrong: list[str] = []

    async def run(self) -> None:
        """All of it."""
        await asyncio.gather(*(self._lane(lane) for lane in range(OPEN_MAX)))

    async def _lane(self, lane: int) -> None:
        number = 0
        while not self.stopping:
            instance_id = f"{lane}-{number}"
            number += 1
            handle: Any = await self._insist(
                lambda id_=instance_id: self._client.start_orchestration(
                    count_up, STEPS, instance_id=id_, on_conflict="use_existing"
                )
            )
            self.figures["started"] += 1
            try:
                async with asyncio.timeout(PATIENCE_S):
                    result = await self._insist(handle.result)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is what we look for
                self.wrong.append(f"{instance_id}: {type(error).__name__}: {error}")
                continue
            self.figures["completed"] += result == STEPS

    async def _insist(self, call: Callable[[], Any]) -> Any:
        while True:
            try:
                return await call()
            except (StorageUnavailableError, OutcomeUnknownError):
                self.figures["asked again"] += 1
                await asyncio.sleep(0.05)


class Faults:
    """Restarts the server and kills backends, in turn."""

    def __init__(self, server: Server, schema: str, chance: random.Random) -> None:
        self._server = server
        self._schema = schema
        self._chance = chance
        self._pause = threading.Event()
        self.killed = 0
        self.first_commits: list[float] = []

    def kill(self) -> None:
        """Kill some backends of workers and clients."""
        with suppress(psycopg.Error), self._server.connect() as admin:
            pids = [
                pid for (pid,) in admin.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'perdure'")
            ]
            for pid in self._chance.sample(pids, min(KILLS_AT_ONCE, len(pids))):
                admin.execute("SELECT pg_terminate_backend(%s)", (pid,))
                self.killed += 1

    def restart(self) -> None:
        """Crash the server, or stop it in order, start it again, and wait for the next commit."""
        self._server.stop(self._chance.choice(["immediate", "fast"]))
        self._server.start()
        accepted = time.monotonic()
        with self._server.connect() as admin:
            before = self._turns(admin)
            while self._turns(admin) == before and time.monotonic() < accepted + PATIENCE_S:
                self._pause.wait(0.01)
        self.first_commits.append(time.monotonic() - accepted)

    def _turns(self, admin: Any) -> int:
        count = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(self._schema, "history"))
        [[turns]] = admin.execute(count).fetchall()
        return int(turns)


async def go(restarts: int, kills: int, seed: int) -> bool:
    """Do it; returns whether all went well."""
    server = Server(durable=True)
    schema = server.take_schema()
    url = server.url(schema=schema)
    begun = time.monotonic()
    try:
        with ExitStack() as processes:
            async with Client(url) as client:
                for _ in range(WORKERS):
                    command = [sys.executable, "-m", "tests.storage.postgres.fleet", url]
                    process = processes.enter_context(
                        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
                    )
                    processes.callback(process.kill)
                    # One that is still opening the store gives up when the server is away.
                    await asyncio.to_thread(_wait_for, process)
                load, faults = Load(client), Faults(server, schema, random.Random(seed))  # noqa: S311 - to be repeated
                running = asyncio.create_task(load.run())
                while faults.killed < kills or len(faults.first_commits) < restarts:
                    await asyncio.sleep(0.2)
                    if faults.killed < kills:
                        await asyncio.to_thread(faults.kill)
                    if (
                        len(faults.first_commits) < restarts
                        and faults.killed >= len(faults.first_commits) * kills / restarts
                    ):
                        await asyncio.to_thread(faults.restart)
                load.stopping = True
                await running
    finally:
        server.remove()
    figures, waits = load.figures, sorted(faults.first_commits)
    sys.stdout.write(
        f"{restarts} restarts and {faults.killed} killed backends in {time.monotonic() - begun:.0f} s: "
        f"{figures['started']} started, {figures['completed']} completed, {len(load.wrong)} failed or lost; calls that "
        f"were asked again: {figures['asked again']}; first commit after a restart: {waits[len(waits) // 2]:.2f} s "
        f"(median), {waits[-1]:.2f} s (longest)\n"
    )
    for each in load.wrong:
        sys.stdout.write(f"  {each}\n")
    return not load.wrong and figures["started"] == figures["completed"]


def _wait_for(process: "subprocess.Popen[str]") -> None:
    if process.stdout is None or process.stdout.readline() != "ready\n":
        raise RuntimeError("a worker ended before it was ready: run python -m tests.storage.postgres.fleet to see why")


def main() -> int:
    """Do what the arguments say; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.postgres", description=__doc__)
    parser.add_argument("--restarts", type=int, default=20, help="how often the server restarts (20)")
    parser.add_argument("--kills", type=int, default=300, help="how many backends are killed (300)")
    parser.add_argument("--seed", type=int, default=1, help="which backends, and how it stops (1)")
    options = parser.parse_args()
    return 0 if asyncio.run(go(options.restarts, options.kills, options.seed)) else 1


if __name__ == "__main__":
    sys.exit(main())
