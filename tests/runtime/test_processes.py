"""Several processes on one file, kill -9, and restarts: everything goes on exactly where it was."""

import asyncio
import signal

import pytest

from perdure import Client, ClientError, Runtime, Status
from perdure.storage.sqlite import SqliteStorage
from tests.runtime import worker_program
from tests.runtime.worker_program import GO, chain, gate, hanging, nap, parent

SOON_S = 8
"""Less than a worker's lease: whatever happens sooner needed no lease to end."""


async def test_a_client_and_a_worker_in_two_processes_share_a_file(database, spawn):
    worker = await spawn(database)
    async with Client(database) as client:
        handle = await client.start_orchestration(gate, instance_id="i")
        async for status in handle.watch():
            if status.custom_status == "open":
                break
        await handle.raise_event(GO, "through")
        assert (await handle.result()).startswith("through ")
        kinds = [event.kind async for event in client.history("i")]
        assert kinds[0] == "Started"
        assert kinds[-1] == "Completed"
    assert (await worker.hear("tally i 2")).split()[4] == "1"


async def test_what_was_started_before_any_worker_lived_is_done_when_one_comes(database, spawn):
    async with Client(database) as client:
        handles = await client.start_many(chain, [(f"i-{n}", 5) for n in range(20)])
        assert (await handles[0].status()).status is Status.PENDING
        await spawn(database)
        assert await asyncio.gather(*(handle.result() for handle in handles)) == [10] * 20


async def test_a_worker_that_is_killed_is_replaced_by_another_before_its_lease_ends(database, spawn):
    async with Client(database) as client:
        first = await spawn(database)
        handle = await client.start_orchestration(hanging, instance_id="i")
        key = (await first.hear("hang i 1")).split()[3]
        second = await spawn(database)
        await second.hear("ready")
        await first.kill()
        assert await handle.result(timeout=SOON_S) == f"{key} on delivery 2, attempt 1"
        await second.hear("hang i 2")


async def test_a_worker_that_is_killed_and_started_again_goes_on_where_it_was(database, spawn):
    async with Client(database) as client:
        handle = await client.start_orchestration(gate, instance_id="i")
        first = await spawn(database)
        async for status in handle.watch():
            if status.custom_status == "open":
                break
        await first.kill()
        await handle.raise_event(GO, "through")
        second = await spawn(database)
        assert (await handle.result(timeout=SOON_S)).startswith("through ")
        await second.hear("tally i 2")
        assert not any(line.startswith("tally i 1") for line in second.said)


async def test_a_worker_that_is_killed_again_and_again_loses_nothing_and_records_nothing_twice(database, spawn):
    ids = [f"i-{n}" for n in range(12)]
    async with Client(database) as client:
        # Far more than the three get done until they are killed, however late that is: each has to find work.
        handles = await client.start_many(chain, [(each, 50) for each in ids])
        for _ in range(3):
            worker = await spawn(database)
            for _ in range(5):
                await worker.hear("tally")
            await worker.kill()
        await spawn(database)
        assert await asyncio.gather(*(handle.result() for handle in handles)) == [1225] * 12
        for each in ids:
            events = [event async for event in client.history(each)]
            assert [event.id for event in events] == list(range(1, len(events) + 1))
            answered = [event.source for event in events if event.kind == "ActivityCompleted"]
            assert len(answered) == len(set(answered)) == 50


async def test_two_workers_on_one_file_share_the_work_and_repeat_none(database, spawn):
    workers = [await spawn(database) for _ in range(2)]
    for worker in workers:
        await worker.hear("ready")
    async with Client(database) as client:
        handles = await client.start_many(parent, [(f"i-{n}", 4) for n in range(20)])
        assert await asyncio.gather(*(handle.result() for handle in handles)) == [12] * 20
    for worker in workers:
        worker.send(signal.SIGTERM)
        assert await worker.end() == 0
    keys = [line.split()[3] for worker in workers for line in worker.said if line.startswith("tally")]
    assert len(keys) == len(set(keys)) == 20 * 4 * 3


async def test_a_worker_in_this_process_and_one_beside_it(database, spawn):
    other = await spawn(database)
    await other.hear("ready")
    async with Runtime(database, worker_program.registry) as runtime:
        handles = await runtime.client.start_many(parent, [(f"i-{n}", 3) for n in range(10)])
        assert await asyncio.gather(*(handle.result() for handle in handles)) == [9] * 10


async def test_a_timer_that_fell_due_while_no_worker_lived_fires_when_one_comes(database, spawn):
    async with Client(database) as client:
        handle = await client.start_orchestration(nap, 0.3)
        first = await spawn(database)
        await first.hear("ready")
        async for status in handle.watch():
            if status.version is not None:
                break
        await first.kill()
        await spawn(database)
        assert await handle.result(timeout=SOON_S) == "rested"


async def test_a_dead_worker_leaves_nothing_that_blocks(database, spawn, tmp_path):
    worker = await spawn(database)
    await worker.hear("ready")
    await worker.kill()
    async with Runtime(database, worker_program.registry) as runtime:
        assert await (await runtime.client.start_orchestration(chain, 3)).result() == 3
        assert len(runtime._storage.workers()) == 1  # noqa: SLF001 - workers are not listed in public yet
    storage = SqliteStorage(tmp_path / "shop.db")
    assert storage.workers() == []
    storage.close()


async def test_a_client_that_is_closed_says_so_to_those_who_wait(database):
    async with Client(database) as client:
        handle = await client.start_orchestration(chain, 3)
        waiting = asyncio.create_task(handle.result())
        await client.get_status(handle.instance_id)
    with pytest.raises(ClientError, match="closed"):
        await waiting


@pytest.mark.parametrize("closing", ["returns", "raises"])
async def test_restart_in_one_process_on_one_file(database, closing):
    async def work() -> None:
        async with Runtime(database, worker_program.registry) as runtime:
            handle = await runtime.client.start_orchestration(gate, instance_id="i", on_conflict="use_existing")
            async for status in handle.watch():
                if status.custom_status == "open":
                    break
            if closing == "raises":
                raise KeyError("the program fails")

    for _ in range(3):
        if closing == "raises":
            with pytest.raises(KeyError):
                await work()
        else:
            await work()
    async with Runtime(database, worker_program.registry) as runtime:
        handle = runtime.client.get_handle("i", gate)
        await handle.raise_event(GO, "through")
        assert (await handle.result()).startswith("through ")
