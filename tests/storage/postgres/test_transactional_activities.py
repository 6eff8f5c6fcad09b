"""Transactional activities on PostgreSQL: what they do to the database and how they end is one commit, exactly once."""

import asyncio
import signal
import subprocess
import sys

import pytest

from perdure import (
    ActivityContext,
    ActivityTimeoutError,
    Backoff,
    InstanceNotFoundError,
    OrchestrationCancelledError,
    OrchestrationContext,
    Registry,
    RetryPolicy,
    Runtime,
    activity,
    orchestration,
)
from perdure.storage.postgres import PostgresStorage
from tests.runtime.test_transactional_activities import PROGRAM
from tests.runtime.transactional_program import PLACES
from tests.storage.postgres.proxy import LENT_COMMIT, Proxy

NO_PAUSE = RetryPolicy(3, backoff=Backoff.none())
INSERT = "INSERT INTO public.bookings VALUES (%s)"


@activity(name="book", transactional=True)
async def book(ctx: ActivityContext, place: int) -> int:
    await ctx.connection.execute(INSERT, (place,))
    return place


@activity(name="book-in-thread", transactional=True)
def book_in_thread(ctx: ActivityContext, place: int) -> int:
    ctx.connection.execute(INSERT, (place,))
    return place


@activity(name="refuse", transactional=True)
async def refuse(ctx: ActivityContext, place: int) -> int:
    await ctx.connection.execute(INSERT, (place,))
    if ctx.attempt == 1:
        raise ValueError("not yet")
    return place


@activity(name="dawdle", transactional=True)
async def dawdle(ctx: ActivityContext, place: int) -> int:
    await ctx.connection.execute(INSERT, (place,))
    await asyncio.Event().wait()
    return place


@activity(name="end-it", transactional=True)
async def end_it(ctx: ActivityContext, how: str) -> None:
    match how:
        case "commit":
            await ctx.connection.commit()
        case "rollback":
            await ctx.connection.rollback()
        case "sql":
            await ctx.connection.execute("ROLLBACK")
        case "begun anew":
            await ctx.connection.execute("ROLLBACK")
            await ctx.connection.execute("BEGIN")


@activity(name="twice", transactional=True)
async def twice(ctx: ActivityContext, place: int) -> int:
    await ctx.connection.execute("INSERT INTO public.deferred VALUES (%s), (%s)", (place, place))
    return place


@orchestration(name="one")
async def one(ctx: OrchestrationContext, name: str, place: int) -> int:
    return await ctx.schedule_activity(name, place, returns=int)


@orchestration(name="insist")
async def insist(ctx: OrchestrationContext) -> int:
    return await ctx.schedule_activity(refuse, 1, retry=NO_PAUSE)


@orchestration(name="give-up")
async def give_up(ctx: OrchestrationContext) -> str:
    try:
        await ctx.schedule_activity(dawdle, 1, retry=RetryPolicy(1, attempt_timeout=0.05))
    except ActivityTimeoutError:
        return "too late"
    return "in time"


@orchestration(name="ends-it")
async def ends_it(ctx: OrchestrationContext, how: str) -> None:
    await ctx.schedule_activity(end_it, how)


REGISTRY = Registry(book, book_in_thread, refuse, dawdle, end_it, twice, one, insist, give_up, ends_it)


@pytest.fixture
def table(server):
    """The user's own."""
    with server.connect() as admin:
        admin.execute("CREATE TABLE public.bookings (place bigint)")
        admin.execute("CREATE TABLE public.deferred (place bigint UNIQUE DEFERRABLE INITIALLY DEFERRED)")
        yield lambda: [place for (place,) in admin.execute("SELECT place FROM public.bookings ORDER BY place")]
        admin.execute("DROP TABLE public.bookings, public.deferred")


@pytest.fixture
async def client(url, table):
    async with Runtime(url, REGISTRY) as runtime:
        yield runtime.client


@pytest.mark.parametrize("name", ["book", "book-in-thread"])
async def test_what_it_writes_is_there_with_its_result(client, table, name):
    for place in (1, 2):
        handle = await client.start_orchestration(one, name, place)
        assert await handle.result(timeout=10) == place
    assert table() == [1, 2]


@activity(name="hand-on", transactional=True)
async def hand_on(ctx: ActivityContext, place: int) -> int:
    next_id = f"next-{ctx.attempt}"
    await ctx.client.start_orchestration(one, "book", place, instance_id=next_id, connection=ctx.connection)
    if ctx.attempt == 1:
        raise ValueError("not yet")
    return place


@orchestration(name="hands-on")
async def hands_on(ctx: OrchestrationContext) -> int:
    return await ctx.schedule_activity(hand_on, 5, retry=NO_PAUSE)


async def test_what_it_starts_begins_with_its_commit_and_not_without(url, table):
    async with Runtime(url, Registry(REGISTRY, hand_on, hands_on)) as runtime:
        handle = await runtime.client.start_orchestration(hands_on)
        assert await handle.result(timeout=10) == 5
        assert await runtime.client.get_handle("next-2").result(timeout=10) == 5
        with pytest.raises(InstanceNotFoundError):
            await runtime.client.get_status("next-1")
    assert table() == [5]


async def test_a_failed_attempt_leaves_nothing_and_the_next_one_does(client, table):
    handle = await client.start_orchestration(insist)
    assert await handle.result(timeout=10) == 1
    assert table() == [1]


async def test_a_timeout_rolls_back(client, table):
    handle = await client.start_orchestration(give_up)
    assert await handle.result(timeout=10) == "too late"
    assert table() == []


async def test_what_is_not_wanted_any_more_rolls_back(client, table):
    handle = await client.start_orchestration(one, "dawdle", 1)
    while not any(each.running for each in (await client.get_queues()).activities):
        pass
    await handle.cancel()
    with pytest.raises(OrchestrationCancelledError):
        await handle.result(timeout=10)
    assert table() == []


@pytest.mark.parametrize("how", ["commit", "rollback", "sql", "begun anew"])
async def test_who_ends_the_transaction_himself_has_failed(client, how):
    handle = await client.start_orchestration(ends_it, how)
    with pytest.raises(Exception, match="committed with its result"):
        await handle.result(timeout=10)


async def test_what_the_database_refuses_at_the_commit_is_a_failure(client):
    handle = await client.start_orchestration(one, "twice", 1)
    with pytest.raises(Exception, match="duplicate key"):
        await handle.result(timeout=10)


async def test_a_worker_that_has_lost_its_work_leaves_nothing(url, table):
    @activity(name="lose-place", transactional=True)
    async def lose_place(ctx: ActivityContext, place: int) -> int:
        runs.append(place)
        await ctx.connection.execute(INSERT, (place,))
        if len(runs) == 1:
            other = await asyncio.to_thread(PostgresStorage, url)
            for worker in other.workers():
                await asyncio.to_thread(other.unregister, worker.worker)
            other.close()
        return place

    runs = []
    async with Runtime(url, Registry(lose_place, one)) as runtime:
        handle = await runtime.client.start_orchestration(one, "lose-place", 7)
        assert await handle.result(timeout=20) == 7
    assert len(runs) > 1
    assert table() == [7]


@pytest.mark.parametrize(("mode", "runs_expected"), [("cut before", 2), ("cut after", 1)])
async def test_a_connection_that_is_cut_at_the_commit_books_once(server, url, table, mode, runs_expected):
    @activity(name="cut", transactional=True)
    async def cut(ctx: ActivityContext, place: int) -> int:
        runs.append(place)
        await ctx.connection.execute(INSERT, (place,))
        proxy.mode = mode if len(runs) == 1 else ""
        return place

    runs = []
    proxy = Proxy(server.port)
    proxy.commit = LENT_COMMIT
    try:
        async with Runtime(url.replace(str(server.port), str(proxy.port)), Registry(cut, one)) as runtime:
            handle = await runtime.client.start_orchestration(one, "cut", 7)
            assert await handle.result(timeout=20) == 7
    finally:
        proxy.close()
    assert (proxy.cuts, len(runs)) == (1, runs_expected)
    assert table() == [7]


async def test_while_no_connection_is_left_it_waits_for_one(server, table, caplog):
    with server.connect() as admin:
        admin.execute("CREATE ROLE few LOGIN")
        admin.execute("GRANT ALL ON public.bookings TO few")
        admin.execute("GRANT CREATE ON DATABASE postgres TO few")
        async with Runtime(server.url(user="few", schema="few"), REGISTRY) as runtime:
            admin.execute("ALTER ROLE few CONNECTION LIMIT 1")
            handle = await runtime.client.start_orchestration(one, "book", 7)
            while "has no connection left" not in caplog.text:
                await asyncio.sleep(0)
            admin.execute("ALTER ROLE few CONNECTION LIMIT -1")
            assert await handle.result(timeout=20) == 7
        assert table() == [7]
        admin.execute("DROP OWNED BY few CASCADE")
        admin.execute("DROP ROLE few")


async def test_a_backend_that_is_killed_in_the_middle_is_nobodys_failure(server, url, table):
    @activity(name="kill", transactional=True)
    async def kill(ctx: ActivityContext, place: int) -> int:
        runs.append(place)
        await ctx.connection.execute(INSERT, (place,))
        if len(runs) == 1:
            with server.connect() as admin:
                admin.execute("SELECT pg_terminate_backend(%s)", (ctx.connection.info.backend_pid,))
            await ctx.connection.execute(INSERT, (place,))
        return place

    runs = []
    async with Runtime(url, Registry(kill, one)) as runtime:
        handle = await runtime.client.start_orchestration(one, "kill", 7)
        assert await handle.result(timeout=20) == 7
    assert len(runs) == 2
    assert table() == [7]


def test_a_worker_that_is_killed_before_and_after_the_commit_has_booked_each_place_once(url, table, tmp_path):
    storage = PostgresStorage(url)
    said, deaths = "", 0
    while "done" not in said:
        with subprocess.Popen(
            [sys.executable, PROGRAM, url, "postgres", tmp_path], stdout=subprocess.PIPE, text=True
        ) as process:
            said = process.stdout.read()
        deaths += process.returncode == -signal.SIGKILL
        for worker in storage.workers():
            # What the lease would tell after ten seconds.
            storage.unregister(worker.worker)
    storage.close()
    assert deaths == 2
    assert table() == list(range(PLACES))
