"""Transactional activities on SQLite: what they do to the file and how they end is one commit, exactly once."""

import asyncio
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import apsw
import pytest

from perdure import (
    ActivityContext,
    ActivityTimeoutError,
    Backoff,
    InstanceNotFoundError,
    OrchestrationContext,
    OrchestrationError,
    RegistrationError,
    Registry,
    RetryPolicy,
    Runtime,
    UsageError,
    activity,
    orchestration,
)
from perdure.storage.sqlite import SqliteStorage
from perdure.testing import Environment, activity_context
from tests.runtime.transactional_program import PLACES
from tests.storage.sqlite.failing_disk import Disk

PROGRAM = Path(__file__).with_name("transactional_program.py")
NO_PAUSE = RetryPolicy(3, backoff=Backoff.none())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "shop.db"


@activity(name="book", transactional=True)
async def book(ctx: ActivityContext, place: int) -> int:
    ctx.connection.execute("INSERT INTO bookings VALUES (?)", (place,))
    return place


@activity(name="book-in-thread", transactional=True)
def book_in_thread(ctx: ActivityContext, place: int) -> int:
    ctx.connection.execute("INSERT INTO bookings VALUES (?)", (place,))
    return place


@activity(name="refuse", transactional=True)
async def refuse(ctx: ActivityContext, place: int) -> int:
    ctx.connection.execute("INSERT INTO bookings VALUES (?)", (place,))
    if ctx.attempt == 1:
        raise ValueError("not yet")
    return place


@activity(name="dawdle", transactional=True)
async def dawdle(ctx: ActivityContext, place: int) -> int:
    ctx.connection.execute("INSERT INTO bookings VALUES (?)", (place,))
    await asyncio.Event().wait()
    return place


@activity(name="look")
async def look(ctx: ActivityContext) -> str:
    try:
        return str(ctx.connection)
    except UsageError as error:
        return str(error)


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


@orchestration(name="look")
async def look_around(ctx: OrchestrationContext) -> str:
    return await ctx.schedule_activity(look)


@orchestration(name="crowd")
async def crowd(ctx: OrchestrationContext) -> int:
    kinds = [(book, book_in_thread)[place % 2] for place in range(20)]
    return len(await asyncio.gather(*(ctx.schedule_activity(each, place) for place, each in enumerate(kinds))))


REGISTRY = Registry(book, book_in_thread, refuse, dawdle, look, one, insist, give_up, look_around, crowd)


@pytest.fixture
async def client(path):
    async with Runtime(f"sqlite:///{path}", REGISTRY) as runtime:
        async with runtime.client.transaction() as tx:
            tx.execute("CREATE TABLE bookings (place INTEGER)")
        yield runtime.client


async def _booked(client):
    async with client.transaction() as tx:
        return [place for (place,) in tx.execute("SELECT place FROM bookings ORDER BY place")]


@pytest.mark.parametrize("name", ["book", "book-in-thread"])
async def test_what_it_writes_is_there_with_its_result(client, name):
    handle = await client.start_orchestration(one, name, 7)
    assert await handle.result(timeout=10) == 7
    assert await _booked(client) == [7]


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


async def test_what_it_starts_begins_with_its_commit_and_not_without(client):
    handle = await client.start_orchestration(hands_on)
    assert await handle.result(timeout=10) == 5
    assert await client.get_handle("next-2").result(timeout=10) == 5
    with pytest.raises(InstanceNotFoundError):
        await client.get_status("next-1")
    assert await _booked(client) == [5]


async def test_a_failed_attempt_leaves_nothing_and_the_next_one_does(client):
    handle = await client.start_orchestration(insist)
    assert await handle.result(timeout=10) == 1
    assert await _booked(client) == [1]


async def test_an_error_that_is_final_leaves_nothing(client):
    handle = await client.start_orchestration(one, "refuse", 1)
    with pytest.raises(Exception, match="not yet"):
        await handle.result(timeout=10)
    assert await _booked(client) == []


async def test_a_timeout_rolls_back(client):
    handle = await client.start_orchestration(give_up)
    assert await handle.result(timeout=10) == "too late"
    assert await _booked(client) == []


async def test_many_at_once_wait_for_each_other_without_holding_up_the_loop(client):
    handle = await client.start_orchestration(crowd)
    assert await handle.result(timeout=20) == 20
    assert await _booked(client) == list(range(20))


async def test_one_that_takes_too_long_is_rolled_back_and_fails(client, monkeypatch):
    monkeypatch.setattr("perdure.storage.sqlite.storage.LENT_US", 20_000)

    handle = await client.start_orchestration(one, "count", 1)
    with pytest.raises(Exception, match="only writer"):
        await handle.result(timeout=10)
    assert await _booked(client) == []


@activity(name="count", transactional=True)
def count(ctx: ActivityContext, place: int) -> int:
    ctx.connection.execute("INSERT INTO bookings VALUES (?)", (place,))
    with suppress(TimeoutError):
        while True:
            ctx.connection.execute("SELECT 1")
    return place


REGISTRY = Registry(REGISTRY, count, hand_on, hands_on)


async def test_an_ordinary_activity_has_no_connection(client):
    handle = await client.start_orchestration(look_around)
    assert "transactional=True" in await handle.result(timeout=10)


def test_a_transactional_activity_takes_a_context():
    with pytest.raises(RegistrationError, match=r"its connection is ctx\.connection"):

        @activity(transactional=True)
        def without() -> None: ...


async def test_in_an_environment_it_is_faked():
    async with Environment(REGISTRY) as environment:
        environment.fake(book, lambda place: place + 1)
        assert await environment.run(one, "book", 1) == 2


@pytest.mark.parametrize("end", ["commit", "rollback", "close"])
async def test_its_end_is_not_for_the_activity_to_make(path, end):
    @activity(name="end-it", transactional=True)
    async def end_it(ctx: ActivityContext) -> None:
        ctx.connection.execute("INSERT INTO bookings VALUES (1)")
        getattr(ctx.connection, end)()

    @orchestration(name="try-it")
    async def try_it(ctx: OrchestrationContext) -> None:
        await ctx.schedule_activity(end_it, retry=RetryPolicy(2, backoff=Backoff.none()))

    async with Runtime(path, Registry(end_it, try_it)) as runtime:
        async with runtime.client.transaction() as tx:
            tx.execute("CREATE TABLE bookings (place INTEGER)")
        handle = await runtime.client.start_orchestration(try_it)
        with pytest.raises(OrchestrationError, match=f"has no '{end}': it is committed with the activity's result"):
            await handle.result()
        async with runtime.client.transaction() as tx:
            assert tx.execute("SELECT place FROM bookings") == []
            with pytest.raises(AttributeError, match="has no 'cursor': it has execute, which returns all rows"):
                tx.cursor()


async def test_a_unit_test_brings_its_own_connection(tmp_path):
    with apsw.Connection(str(tmp_path / "own.db")) as own:
        own.execute("CREATE TABLE bookings (place INTEGER)")
        assert await book.fn(activity_context(connection=own), 7) == 7
        assert own.execute("SELECT place FROM bookings").get == 7


def test_a_worker_that_is_killed_before_and_after_the_commit_has_booked_each_place_once(path, tmp_path):
    url = f"sqlite:///{path}"
    with sqlite_tables(path):
        pass
    said, deaths = "", 0
    while "done" not in said:
        with subprocess.Popen(
            [sys.executable, PROGRAM, url, "sqlite", tmp_path], stdout=subprocess.PIPE, text=True
        ) as process:
            said = process.stdout.read()
        deaths += process.returncode == -signal.SIGKILL
    assert deaths == 2
    with sqlite_tables(path) as storage:
        lent = storage.lend(1_000_000)
        asyncio.run(lent.open())
        assert lent.execute("SELECT place FROM bookings ORDER BY place") == [(place,) for place in range(PLACES)]
        lent.roll_back()


class sqlite_tables:  # noqa: N801 - used as a block
    """The store's file with the table of bookings."""

    def __init__(self, path):
        self._path = path

    def __enter__(self):
        self._storage = SqliteStorage(self._path)

        async def make():
            lent = self._storage.lend(1_000_000)
            await lent.open()
            lent.execute("CREATE TABLE IF NOT EXISTS bookings (place INTEGER)")
            lent.commit()

        asyncio.run(make())
        return self._storage

    def __exit__(self, *_):
        self._storage.close()


async def test_a_commit_that_broke_off_on_the_disk_is_in_history_as_often_as_in_the_table(path):
    disk = Disk()
    try:
        async with Runtime(f"sqlite:///{path}", Registry(REGISTRY, break_disk, one)) as runtime:
            async with runtime.client.transaction() as tx:
                tx.execute("CREATE TABLE bookings (place INTEGER)")
            STATE["disk"] = disk
            handle = await runtime.client.start_orchestration(one, "break-disk", 1)
            assert await handle.result(timeout=30) == 1
            assert STATE["runs"] > 1
            assert await _booked(runtime.client) == [1]
    finally:
        disk.unregister()


STATE = {"disk": None, "runs": 0}


@activity(name="break-disk", transactional=True)
async def break_disk(ctx: ActivityContext, place: int) -> int:
    ctx.connection.execute("INSERT INTO bookings VALUES (?)", (place,))
    STATE["runs"] += 1
    # The first commit, which is that of this transaction, fails while it reaches the disk.
    STATE["disk"].sync_error = apsw.IOError("the disk is gone") if STATE["runs"] == 1 else None
    if STATE["runs"] == 1:
        threading.Timer(0.2, _mend).start()
    return place


def _mend():
    STATE["disk"].sync_error = None
