"""Starts and events in a transaction of the user's own: there if and only if it commits, over any connection."""

from contextlib import asynccontextmanager, contextmanager, suppress

import asyncpg
import psycopg
import pytest
import sqlalchemy
from psycopg import sql
from sqlalchemy import orm
from sqlalchemy.ext import asyncio as sqlalchemy_asyncio

from perdure import (
    Client,
    ExternalEvent,
    InstanceClosedError,
    InstanceExistsError,
    InstanceNotFoundError,
    InstanceReplacedError,
    OrchestrationContext,
    OrchestrationTerminatedError,
    Registry,
    Runtime,
    Status,
    StorageBusyError,
    StorageError,
    SyncClient,
    UsageError,
    orchestration,
)
from perdure.storage.postgres import PostgresStorage
from tests.storage.postgres.work import batch, register, start

GO = ExternalEvent[str]("go")


@orchestration(name="greet")
async def greet(ctx: OrchestrationContext, name: str) -> str:
    return f"{await ctx.schedule_wait(GO)} {name}"


async def terminated(handle):
    await handle.terminate()
    with pytest.raises(OrchestrationTerminatedError):
        await handle.result(timeout=10)


class RollBackError(Exception):
    """The user's own code fails."""


@asynccontextmanager
async def over_psycopg(dsn):
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        yield connection


@asynccontextmanager
async def over_psycopg_in_a_block(dsn):
    connection = await psycopg.AsyncConnection.connect(dsn, autocommit=True)
    async with connection, connection.transaction():
        yield connection


@asynccontextmanager
async def over_synchronous_psycopg(dsn):
    with psycopg.connect(dsn) as connection:
        yield connection


@asynccontextmanager
async def over_asyncpg(dsn):
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def over_a_pool_of_asyncpg(dsn):
    async with asyncpg.create_pool(dsn, min_size=1) as pool, pool.acquire() as connection, connection.transaction():
        yield connection


def _engine(dsn, driver):
    return sqlalchemy_asyncio.create_async_engine(dsn.replace("postgresql:", f"postgresql+{driver}:"))


@asynccontextmanager
async def over_sqlalchemy(dsn, driver="asyncpg"):
    engine = _engine(dsn, driver)
    try:
        async with engine.begin() as connection:
            yield connection
    finally:
        await engine.dispose()


@asynccontextmanager
async def over_a_session_of_sqlalchemy(dsn):
    engine = _engine(dsn, "psycopg")
    try:
        async with sqlalchemy_asyncio.AsyncSession(engine) as session, session.begin():
            yield session
    finally:
        await engine.dispose()


KINDS = [
    over_psycopg, over_psycopg_in_a_block, over_synchronous_psycopg, over_asyncpg, over_a_pool_of_asyncpg,
    over_sqlalchemy, over_a_session_of_sqlalchemy,
]  # fmt: skip


@pytest.fixture
def dsn(server):
    return server.url()


@pytest.fixture
async def runtime(url):
    async with Runtime(url, Registry(greet)) as runtime:
        yield runtime


@pytest.fixture
def client(runtime):
    return runtime.client


@pytest.mark.parametrize("begun", KINDS, ids=lambda each: each.__name__)
async def test_it_begins_with_the_commit_and_not_without(client, dsn, begun):
    async with begun(dsn) as connection:
        kept = await client.start_orchestration(greet, "Ada", instance_id="kept", connection=connection)
        await kept.raise_event(GO, "hello", connection=connection)
        with pytest.raises(InstanceNotFoundError):
            await kept.status()
    with suppress(RollBackError):
        async with begun(dsn) as connection:
            lost = await client.start_orchestration(greet, "Ada", instance_id="lost", connection=connection)
            raise RollBackError
    assert await kept.result(timeout=10) == "hello Ada"
    with pytest.raises(InstanceNotFoundError):
        await lost.status()


@contextmanager
def synchronously_over_psycopg(dsn):
    with psycopg.connect(dsn) as connection:
        yield connection


@contextmanager
def synchronously_over_a_session(dsn):
    engine = sqlalchemy.create_engine(dsn.replace("postgresql:", "postgresql+psycopg:"))
    with orm.Session(engine) as session, session.begin():
        yield session
    engine.dispose()


@pytest.mark.parametrize("begun", [synchronously_over_psycopg, synchronously_over_a_session])
def test_the_synchronous_client_takes_synchronous_connections(url, dsn, begun):
    with SyncClient(url) as client, begun(dsn) as connection:
        handle = client.start_orchestration(greet, "Ada", instance_id="kept", connection=connection)
        handle.raise_event(GO, "hello", connection=connection)
        with pytest.raises(InstanceNotFoundError):
            handle.status()
    with SyncClient(url) as client:
        assert client.get_status("kept").status is Status.PENDING


async def test_the_synchronous_client_refuses_a_connection_of_an_event_loop(url, dsn):
    import asyncio  # noqa: PLC0415 - of this test alone

    def start_with(connection):
        with SyncClient(url) as client:
            client.start_orchestration(greet, "Ada", connection=connection)

    async with over_asyncpg(dsn) as connection:
        with pytest.raises(UsageError, match="belongs to an event loop"):
            await asyncio.to_thread(start_with, connection)


async def test_a_taken_id_is_told_in_the_transaction_which_goes_on(client, dsn):
    await client.start_orchestration(greet, "Ada", instance_id="taken")
    async with over_psycopg(dsn) as connection:
        with pytest.raises(InstanceExistsError):
            await client.start_orchestration(greet, "Bob", instance_id="taken", connection=connection)
        used = await client.start_orchestration(
            greet, "Bob", instance_id="taken", on_conflict="use_existing", connection=connection
        )
        await client.start_orchestration(greet, "Bob", instance_id="other", connection=connection)
        with pytest.raises(InstanceExistsError):
            await client.start_orchestration(greet, "Bob", instance_id="other", connection=connection)
    await used.raise_event(GO, "hello")
    assert await used.result(timeout=10) == "hello Ada"
    assert (await client.get_status("other")).name == "greet"


async def test_a_closed_instance_is_replaced_with_the_commit(client, dsn):
    old = await client.start_orchestration(greet, "Ada", instance_id="order")
    await terminated(old)
    async with over_asyncpg(dsn) as connection:
        new = await client.start_orchestration(
            greet, "Bob", instance_id="order", on_conflict="restart_if_closed", connection=connection
        )
        assert (await old.status()).status is Status.TERMINATED
    await new.raise_event(GO, "hello")
    assert await new.result(timeout=10) == "hello Bob"


async def test_what_would_hold_up_a_running_instance_is_refused(client, dsn):
    async with over_asyncpg(dsn) as connection:
        with pytest.raises(UsageError, match="terminate it first"):
            await client.start_orchestration(
                greet, "Bob", instance_id="order", on_conflict="terminate_and_restart", connection=connection
            )


async def test_who_loses_a_race_for_an_id_is_told_when_the_winner_commits(client, url, dsn):
    import asyncio  # noqa: PLC0415 - of this test alone

    async with over_psycopg(dsn) as loser:
        async with over_asyncpg(dsn) as winner:
            await client.start_orchestration(greet, "Ada", instance_id="one", connection=winner)
            waits = asyncio.create_task(client.start_orchestration(greet, "Bob", instance_id="one", connection=loser))
            with psycopg.connect(dsn, autocommit=True) as observer:
                while not observer.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchall():
                    await asyncio.sleep(0)
        with pytest.raises(InstanceExistsError):
            await waits
        assert await (await loser.execute("SELECT 1")).fetchone() == (1,)


async def test_an_event_in_an_open_transaction_holds_up_nobody(client, dsn):
    handle = await client.start_orchestration(greet, "Ada", instance_id="order")
    async with over_asyncpg(dsn) as connection:
        await handle.raise_event(GO, "late", dedup_key="late", connection=connection)
        await handle.raise_event(GO, "hello")
        assert await handle.result(timeout=10) == "hello Ada"


@orchestration(name="collect")
async def collect(ctx: OrchestrationContext) -> list[str]:
    first = await ctx.schedule_wait(GO)
    ctx.set_custom_status("one")
    return [first, await ctx.schedule_wait(GO)]


async def test_what_is_committed_late_is_read_late_and_not_lost(url, dsn):
    async with Runtime(url, Registry(collect)) as runtime:
        handle = await runtime.client.start_orchestration(collect)
        async with over_asyncpg(dsn) as connection:
            await handle.raise_event(GO, "sent first", connection=connection)
            await handle.raise_event(GO, "sent second")
            await handle.wait_for_status_change(timeout=10)
        assert await handle.result(timeout=10) == ["sent second", "sent first"]


async def test_an_event_for_who_has_ended_or_never_was_is_refused(client, dsn):
    handle = await client.start_orchestration(greet, "Ada", instance_id="order")
    await terminated(handle)
    async with over_asyncpg(dsn) as connection:
        with pytest.raises(InstanceClosedError):
            await handle.raise_event(GO, "hello", connection=connection)
        with pytest.raises(InstanceNotFoundError):
            await client.raise_event("nobody", GO, "hello", connection=connection)


async def test_nor_does_one_for_who_was_replaced_reach_another(client, dsn):
    old = await client.start_orchestration(greet, "Ada", instance_id="order")
    await terminated(old)
    async with over_asyncpg(dsn) as connection:
        new = await client.start_orchestration(
            greet, "Bob", instance_id="order", on_conflict="restart_if_closed", connection=connection
        )
        # What is open here nobody else sees: for others the old one has ended, and is gone with the commit.
        with pytest.raises(InstanceNotFoundError):
            await old.raise_event(GO, "no", connection=connection)
        await new.raise_event(GO, "hello", connection=connection)
    with pytest.raises(InstanceReplacedError):
        await old.raise_event(GO, "no")
    assert await new.result(timeout=10) == "hello Bob"


async def test_a_key_that_was_sent_before_sends_nothing(client, dsn):
    handle = await client.start_orchestration(greet, "Ada", instance_id="order")
    async with over_asyncpg(dsn) as connection:
        await handle.raise_event(GO, "first", dedup_key="key", connection=connection)
        await handle.raise_event(GO, "second", dedup_key="key", connection=connection)
    assert await handle.result(timeout=10) == "first Ada"


def test_what_came_to_an_instance_that_had_ended_by_then_is_removed(url, dsn, server):
    storage = PostgresStorage(url)
    schema = url.partition("schema=")[2]
    storage.commit(batch(start("order")))
    worker = register(storage)
    with SyncClient(url) as client:
        with psycopg.connect(dsn) as connection:
            client.raise_event("order", GO, "hello", connection=connection)
            client.terminate("order")
            with Worker(storage, worker) as owner:
                owner.end()
        with server.connect() as observer:
            count = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, "messages"))
            assert observer.execute(count).fetchone() == (1,)
            storage.reap(worker)
            assert observer.execute(count).fetchone() == (0,)
    storage.close()


class Worker:
    """Ends the one instance that there is to be claimed."""

    def __init__(self, storage, worker):
        self._storage, self._worker = storage, worker

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def end(self):
        from perdure._work import HistoryRow, InstanceChange, Turn  # noqa: PLC0415 - of this test alone

        [claimed] = self._storage.commit(batch(worker=self._worker, claim=True)).work.instances
        turn = Turn(
            incarnation=claimed.record.incarnation,
            execution=1,
            base=0,
            history=HistoryRow(first=1, last=1, at=0, data=b"", crc=0),
            consumed=tuple(message.seq for message in claimed.messages),
            change=InstanceChange(status=Status.TERMINATED),
        )
        self._storage.commit(batch(turn, worker=self._worker))


async def test_a_connection_without_a_transaction_is_refused(client, dsn):
    connection = await asyncpg.connect(dsn)
    with pytest.raises(UsageError, match="in no transaction"):
        await client.start_orchestration(greet, "Ada", connection=connection)
    await connection.close()
    with psycopg.connect(dsn, autocommit=True) as alone, pytest.raises(UsageError, match="in no transaction"):
        await client.start_orchestration(greet, "Ada", connection=alone)


async def test_a_failed_transaction_is_refused(client, dsn):
    with psycopg.connect(dsn) as connection:
        with pytest.raises(psycopg.Error):
            connection.execute("SELECT 1 / 0")
        with pytest.raises(UsageError, match="has failed: roll it back"):
            await client.start_orchestration(greet, "Ada", connection=connection)


@pytest.mark.parametrize("begun", [over_psycopg, over_asyncpg])
async def test_a_connection_to_another_database_is_refused_and_goes_on(client, server, begun):
    async with begun(server.url("template1")) as connection:
        with pytest.raises(UsageError, match="another database"):
            await client.start_orchestration(greet, "Ada", connection=connection)
        await connection.execute("SELECT 1")


@pytest.mark.parametrize("connection", [object(), "postgresql://localhost"])
async def test_what_is_no_connection_is_refused(client, connection):
    with pytest.raises(UsageError, match="pass an asyncpg, psycopg or SQLAlchemy connection"):
        await client.start_orchestration(greet, "Ada", connection=connection)


async def test_a_role_without_rights_is_told_and_its_transaction_goes_on(url, server, dsn):
    with server.connect() as admin:
        admin.execute("DROP ROLE IF EXISTS stranger")
        admin.execute("CREATE ROLE stranger LOGIN")
    async with Client(url) as client, over_asyncpg(server.url(user="stranger")) as connection:
        with pytest.raises(StorageError, match="grant it"):
            await client.start_orchestration(greet, "Ada", connection=connection)


async def test_a_repeatable_read_that_can_not_see_the_winner_is_to_be_begun_anew(client, dsn):
    with psycopg.connect(dsn) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.execute("SELECT count(*) FROM pg_class")
        await client.start_orchestration(greet, "Ada", instance_id="order")
        with pytest.raises(StorageBusyError):
            await client.start_orchestration(greet, "Bob", instance_id="order", connection=connection)
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize(("own", "then"), [("0", "10s"), ("1h", "10s"), ("2500ms", "2500ms")])
async def test_who_has_taken_an_id_may_not_idle_on_it_for_long(client, dsn, own, then):
    idling = "SHOW idle_in_transaction_session_timeout"
    with psycopg.connect(dsn) as connection:
        connection.execute("SELECT set_config('idle_in_transaction_session_timeout', %s, false)", (own,))
        connection.commit()
        await client.start_orchestration(greet, "Ada", connection=connection)
        assert connection.execute(idling).fetchone() == (then,)
        connection.commit()
        before = connection.execute(idling).fetchone()
        connection.rollback()
        with pytest.raises(InstanceNotFoundError):
            await client.raise_event("nobody", GO, "hello", connection=connection)
        assert connection.execute(idling).fetchone() == before


async def test_how_long_the_users_own_statements_wait_is_left_as_it_was(client, dsn):
    with psycopg.connect(dsn) as connection:
        connection.execute("SET LOCAL lock_timeout = '1234ms'")
        await client.start_orchestration(greet, "Ada", connection=connection)
        assert connection.execute("SHOW lock_timeout").fetchone() == ("1234ms",)
