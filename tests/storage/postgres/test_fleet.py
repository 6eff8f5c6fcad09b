"""The whole engine on PostgreSQL: workers in several processes, a client, and a worker that is killed."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import ExitStack

import pytest

from perdure import Client, Runtime
from perdure.storage.postgres import PostgresStorage
from tests.storage.postgres.fleet import count_up, gather_at, registry


@pytest.fixture
def spawn(url):
    """Starts a worker process."""
    PostgresStorage(url).close()
    with ExitStack() as processes:

        def spawn():
            command = [sys.executable, "-m", "tests.storage.postgres.fleet", url]
            process = processes.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            processes.callback(process.kill)
            assert process.stdout.readline() == "ready\n"
            return process

        yield spawn


async def test_the_same_program_runs_on_postgres(url):
    async with Runtime(url, registry) as runtime:
        handle = await runtime.client.start_orchestration(count_up, 20)
        assert await handle.result() == 20


async def test_work_of_a_worker_that_is_killed_is_done_by_the_others(url, spawn):
    first, second = spawn(), spawn()
    async with Client(url) as client:
        handles = await asyncio.gather(*[client.start_orchestration(count_up, 30) for _ in range(40)])
        os.kill(first.pid, signal.SIGKILL)
        assert await asyncio.gather(*[handle.result() for handle in handles]) == [30] * 40
    assert second.poll() is None


async def test_surplus_activities_spread_over_the_fleet(url, spawn, tmp_path):
    fleet = {spawn().pid, spawn().pid}
    async with Client(url) as client:
        # More than one worker has slots for, and each of them holds its slot until the other worker has one too.
        handle = await client.start_orchestration(gather_at, str(tmp_path), 20)
        assert set(await handle.result()) == fleet
