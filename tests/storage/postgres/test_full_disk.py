"""The disk of a server is full: what runs waits, nothing fails, and it goes on when there is room."""

import asyncio
import random
from contextlib import suppress

import psycopg
import pytest

from examples.toygres.cluster.errors import ClusterError
from perdure import ExternalEvent, OrchestrationContext, Registry, Runtime, activity, orchestration
from perdure.errors import StorageFullError
from perdure.storage.postgres import PostgresStorage
from tests.storage.postgres.server import Server
from tests.storage.postgres.work import batch, start

GO = ExternalEvent[str]("go")
ORCHESTRATIONS = 5
MEGABYTES = 32
LARGE = random.Random(1).randbytes(250_000).hex()  # noqa: S311 - only that it can't be packed matters


@activity(name="repeat")
async def repeat(text: str) -> str:
    return text


@orchestration(name="wait-and-repeat")
async def wait_and_repeat(ctx: OrchestrationContext) -> str:
    return await ctx.schedule_activity(repeat, await ctx.schedule_wait(GO))


@pytest.fixture
def admin():
    """A connection to a server whose tables are on a small disk; what is in the table "filler" can be dropped."""
    server = Server()
    try:
        try:
            disk = server.restart_with_a_small_disk(MEGABYTES)
        except ClusterError as error:
            pytest.skip(f"needs a disk of its own: {error}")
        with server.connect() as connection:
            connection.execute(f"CREATE TABLESPACE small LOCATION '{disk}'".encode())
            connection.execute("ALTER ROLE perdure SET default_tablespace = 'small'")
        with server.connect() as connection:
            yield connection, server.url()
    finally:
        server.remove()


def fill(admin):
    """Use up the disk, to its last page."""
    admin.execute("CREATE TABLE filler (block text) TABLESPACE small")
    admin.execute("ALTER TABLE filler ALTER block SET STORAGE PLAIN")
    for rows in (1_000, 100, 10, 1):
        with suppress(psycopg.errors.DiskFull):
            while True:
                admin.execute("INSERT INTO filler SELECT repeat('x', 8000) FROM generate_series(1, %s)", [rows])


def test_a_commit_that_finds_no_room_leaves_nothing_and_says_so(admin):
    connection, url = admin
    storage = PostgresStorage(url)
    storage.commit(batch(start("before")))
    fill(connection)
    with pytest.raises(StorageFullError, match="has no room"):
        storage.commit(batch(*(start(f"order-{number}") for number in range(5_000))))
    assert storage.get("order-0") is None
    connection.execute("DROP TABLE filler")
    storage.commit(batch(start("after")))
    assert sorted(storage.get_many(["before", "after", "order-0"])) == ["after", "before"]
    storage.close()


async def test_what_runs_waits_for_room_and_goes_on(admin, caplog):
    connection, url = admin
    async with Runtime(url, Registry(repeat, wait_and_repeat)) as runtime:
        handles = [await runtime.client.start_orchestration(wait_and_repeat) for _ in range(ORCHESTRATIONS)]
        await asyncio.to_thread(fill, connection)
        raised = [asyncio.create_task(raise_until_there_is_room(each)) for each in handles]
        while "has no room" not in caplog.text:
            await asyncio.sleep(0)
        await asyncio.to_thread(connection.execute, "DROP TABLE filler")
        await asyncio.gather(*raised)
        assert await asyncio.gather(*(each.result(timeout=60) for each in handles)) == [LARGE] * ORCHESTRATIONS


async def raise_until_there_is_room(handle):
    while True:
        with suppress(StorageFullError):
            return await handle.raise_event(GO, LARGE, dedup_key="once")
