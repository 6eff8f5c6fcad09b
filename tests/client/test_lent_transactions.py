"""Transactions that a SQLite store lends: rows of one's own and starts, together or not at all."""

import sqlite3
from contextlib import suppress

import apsw
import pytest

from perdure import (
    Client,
    ExternalEvent,
    InstanceExistsError,
    InstanceNotFoundError,
    OrchestrationContext,
    Registry,
    Runtime,
    StorageError,
    SyncClient,
    UsageError,
    orchestration,
)

GO = ExternalEvent[str]("go")
COUNT_UP = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@orchestration(name="greet")
async def greet(ctx: OrchestrationContext, name: str) -> str:
    return f"{await ctx.schedule_wait(GO)} {name}"


class RollBackError(Exception):
    """The user's own code fails."""


@pytest.fixture
async def client(database):
    async with Runtime(database, Registry(greet)) as runtime:
        async with runtime.client.transaction() as tx:
            tx.execute("CREATE TABLE orders (id TEXT PRIMARY KEY)")
        yield runtime.client


async def _orders(client):
    async with client.transaction() as tx:
        return [id_ for (id_,) in tx.execute("SELECT id FROM orders ORDER BY id")]


async def test_rows_and_starts_land_together(client):
    async with client.transaction() as tx:
        tx.executemany("INSERT INTO orders VALUES (?)", [("one",), ("two",)])
        handle = await client.start_orchestration(greet, "Ada", instance_id="one", connection=tx)
        await handle.raise_event(GO, "hello", connection=tx)
        with pytest.raises(InstanceNotFoundError):
            await handle.status()
    assert await handle.result(timeout=10) == "hello Ada"
    assert await _orders(client) == ["one", "two"]


async def test_an_error_leaves_nothing_of_either(client):
    with suppress(RollBackError):
        async with client.transaction() as tx:
            tx.execute("INSERT INTO orders VALUES (:id)", {"id": "one"})
            handle = await client.start_orchestration(greet, "Ada", instance_id="one", connection=tx)
            raise RollBackError
    with pytest.raises(InstanceNotFoundError):
        await handle.status()
    assert await _orders(client) == []


async def test_a_taken_id_is_told_and_the_transaction_goes_on(client):
    await client.start_orchestration(greet, "Ada", instance_id="one")
    async with client.transaction() as tx:
        with pytest.raises(InstanceExistsError):
            await client.start_orchestration(greet, "Bob", instance_id="one", connection=tx)
        with pytest.raises(UsageError, match="terminate it first"):
            await client.start_orchestration(
                greet, "Bob", instance_id="one", on_conflict="terminate_and_restart", connection=tx
            )
        tx.execute("INSERT INTO orders VALUES ('one')")
    assert await _orders(client) == ["one"]


async def test_a_statement_that_fails_is_told_and_the_transaction_goes_on(client):
    async with client.transaction() as tx:
        tx.execute("INSERT INTO orders VALUES ('one')")
        with pytest.raises(apsw.ConstraintError):
            tx.execute("INSERT INTO orders VALUES ('one')")
    assert await _orders(client) == ["one"]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM instances",
        "UPDATE history SET data = x''",
        "DROP TABLE messages",
        "DROP INDEX messages_by_due",
        "ALTER TABLE tasks RENAME TO mine",
        "CREATE TRIGGER mine AFTER INSERT ON history BEGIN SELECT 1; END",
        "CREATE TEMP TABLE instances (id TEXT)",
        "COMMIT",
        "ROLLBACK",
        "ATTACH 'other.db' AS other",
        "PRAGMA synchronous = 0",
    ],
)
async def test_what_is_the_stores_own_is_refused(client, statement):
    async with client.transaction() as tx:
        tx.execute("INSERT INTO orders VALUES ('one')")
        with pytest.raises(UsageError, match="statement"):
            tx.execute(statement)
    assert await _orders(client) == ["one"]


async def test_the_stores_tables_can_be_read(client):
    await client.start_orchestration(greet, "Ada", instance_id="one")
    async with client.transaction() as tx:
        assert tx.execute("SELECT id FROM instances") == [("one",)]


async def test_a_statement_that_rolls_back_ends_it(client):
    async def insert_twice():
        async with client.transaction() as tx:
            tx.execute("INSERT INTO orders VALUES ('one')")
            with suppress(apsw.ConstraintError):
                tx.execute("INSERT OR ROLLBACK INTO orders VALUES ('one')")

    with pytest.raises(UsageError, match="rolled this transaction back"):
        await insert_twice()
    assert await _orders(client) == []


async def test_it_is_taken_back_after_its_time_also_from_a_statement(client):
    async def count_up():
        async with client.transaction(timeout=0.02) as tx:
            tx.execute("INSERT INTO orders VALUES ('one')")
            tx.execute(COUNT_UP)

    with pytest.raises(TimeoutError, match=r"longer than 0\.02 s"):
        await count_up()
    assert await _orders(client) == []


async def test_between_statements_it_is_taken_back_too(client):
    async def go_on(tx):
        while True:
            tx.execute("SELECT 1")

    async def take_long():
        async with client.transaction(timeout=0.02) as tx:
            with suppress(TimeoutError):
                await go_on(tx)
            # Others write again, while the block has not ended.
            await client.start_orchestration(greet, "Ada", instance_id="one")
            await client.start_orchestration(greet, "Ada", instance_id="two", connection=tx)

    with pytest.raises(TimeoutError, match="only writer"):
        await take_long()
    assert (await client.get_status("one")).instance_id == "one"
    with pytest.raises(InstanceNotFoundError):
        await client.get_status("two")


async def test_after_its_block_it_can_not_be_used(client):
    async with client.transaction() as tx:
        pass
    with pytest.raises(UsageError, match="is committed"):
        tx.execute("SELECT 1")


@pytest.mark.parametrize("timeout", [0, 6, -1])
async def test_a_time_that_is_none_is_refused(client, timeout):
    with pytest.raises(UsageError, match="timeout"):
        async with client.transaction(timeout=timeout):
            pass


async def test_only_what_the_store_lends_is_taken(client, tmp_path):
    with sqlite3.connect(tmp_path / "other.db") as other, pytest.raises(UsageError, match="lends itself"):
        await client.start_orchestration(greet, "Ada", connection=other)
    other.close()
    async with Client(f"sqlite:///{tmp_path / 'second.db'}") as second, second.transaction() as tx:
        with pytest.raises(UsageError, match="second"):
            await client.start_orchestration(greet, "Ada", connection=tx)


async def test_a_store_in_memory_has_none():
    async with Runtime("memory://", Registry(greet)) as runtime:
        with pytest.raises(UsageError, match="only a store in a SQLite file"):
            async with runtime.client.transaction():
                pass
        with pytest.raises(UsageError, match="in memory"):
            await runtime.client.start_orchestration(greet, "Ada", connection=object())


async def test_a_store_that_is_closed_lends_nothing(database):
    async with Client(database) as client, client.transaction() as tx:
        tx.execute("SELECT 1")
        lent = tx
    with pytest.raises(UsageError):
        lent.execute("SELECT 1")
    with pytest.raises((UsageError, StorageError)):
        async with client.transaction():
            pass


def test_the_synchronous_client_has_it_too(database):
    with SyncClient(database) as client:
        with client.transaction() as tx:
            tx.execute("CREATE TABLE orders (id TEXT)")
            tx.execute("INSERT INTO orders VALUES ('one')")
            client.start_orchestration(greet, "Ada", instance_id="one", connection=tx)
        with suppress(RollBackError), client.transaction() as tx:
            tx.execute("DELETE FROM orders")
            raise RollBackError
        with client.transaction() as tx:
            assert tx.execute("SELECT id FROM orders") == [("one",)]
        assert client.get_status("one").instance_id == "one"
