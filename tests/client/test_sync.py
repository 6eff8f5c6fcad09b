"""The synchronous client: the same verbs, blocking, for programs without an event loop."""

import threading
from datetime import timedelta

import pytest

from perdure import (
    ExternalEvent,
    InstanceExistsError,
    InstanceNotFoundError,
    Key,
    OrchestrationCancelledError,
    OrchestrationContext,
    OrchestrationTerminatedError,
    Query,
    Registry,
    ResultTimeoutError,
    Runtime,
    Status,
    SyncClient,
    Update,
    UsageError,
    orchestration,
)

TWICE = Query[int, int]("twice")
HALVE = Update[int, int]("halve")
SINCE = Key[int]("since")
GO = ExternalEvent[str]("go")


@orchestration(name="echo")
async def echo(ctx: OrchestrationContext, text: str) -> str:
    return text


@orchestration(name="wait")
async def wait(ctx: OrchestrationContext) -> str:
    ctx.set_custom_status("waiting")
    ctx.kv.set(SINCE, 7)
    ctx.on_query(TWICE, lambda number: 2 * number)
    ctx.on_update(HALVE, lambda number: number // 2)
    return await ctx.schedule_wait(GO)


@pytest.fixture
def worker(database):
    """A worker on the file, on a thread of its own."""
    import asyncio  # noqa: PLC0415 - the test itself has no loop

    ready, stop = threading.Event(), threading.Event()

    async def serve() -> None:
        async with Runtime(database, Registry(echo, wait)):
            ready.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(20)
    yield database
    stop.set()
    thread.join()


def test_many_are_started_at_once(worker):
    with SyncClient(worker) as client:
        handles = client.start_many(echo, [("a", "tea"), ("b", "milk")])
        assert [(each.instance_id, each.result(timeout=10)) for each in handles] == [("a", "tea"), ("b", "milk")]


def test_every_verb(worker):
    with SyncClient(worker) as client:
        assert client.start_orchestration(echo, "hello").result() == "hello"
        handle = client.start_orchestration(wait, instance_id="i")
        with pytest.raises(InstanceExistsError):
            client.start_orchestration(wait, instance_id="i")
        with pytest.raises(ResultTimeoutError):
            handle.result(timeout=timedelta(milliseconds=10))
        assert handle.wait_for_status_change(timeout=20).custom_status == "waiting"
        assert handle.wait_for_kv(SINCE) == handle.kv(SINCE) == 7
        assert (handle.query(TWICE, 4), handle.update(HALVE, 4), handle.update("halve", 9)) == (8, 2, 4)
        assert handle.kv_all() == {"since": 7}
        client.raise_event("i", GO, "on")
        assert handle.result() == "on"
        assert client.get_handle("i", wait).result() == "on"
        assert handle.status().status is Status.COMPLETED
        assert client.get_status("i").custom_status == "waiting"
        assert [event.kind for event in client.history("i")][-1] == "Completed"
        assert [each.instance_id for each in client.list_instances(name="wait").items] == ["i"]
        assert [each.orchestrations for each in client.list_workers()] == [("echo@1.0.0", "wait@1.0.0")]
        assert client.delete("i") == 1
        with pytest.raises(InstanceNotFoundError):
            client.get_status("i")


def test_steering(worker):
    with SyncClient(worker) as client:
        handles = [client.start_orchestration(wait, instance_id=f"i-{n}") for n in range(4)]
        handles[0].cancel("by handle")
        client.cancel("i-1", "by id")
        handles[2].terminate("by handle")
        client.terminate("i-3", "by id")
        for handle, error, reason in zip(
            handles,
            [OrchestrationCancelledError] * 2 + [OrchestrationTerminatedError] * 2,
            ["by handle", "by id"] * 2,
            strict=True,
        ):
            with pytest.raises(error, match=reason):
                handle.result()
        handle = client.start_orchestration(wait)
        handle.raise_event(GO, "on", dedup_key="once")
        assert handle.result() == "on"


def test_many_threads_share_one(worker):
    with SyncClient(worker) as client:
        results: list[str] = []
        threads = [
            threading.Thread(target=lambda n=n: results.append(client.start_orchestration(echo, str(n)).result()))
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(results) == [str(n) for n in range(8)]


def test_it_says_when_it_is_not_open(database):
    client = SyncClient(database)
    with pytest.raises(UsageError, match="with SyncClient"):
        client.get_status("i")
    with client, pytest.raises(UsageError, match="already open"):
        client.__enter__()
    with pytest.raises(UsageError, match="with SyncClient"):
        client.get_status("i")


async def test_it_refuses_to_block_an_event_loop(database):
    with pytest.raises(UsageError, match="async with Client"), SyncClient(database):
        raise AssertionError


def test_a_file_that_is_none_is_an_error_of_the_opening(tmp_path):
    (tmp_path / "shop.db").write_bytes(b"this is no database" * 1000)
    threads = set(threading.enumerate())
    with pytest.raises(Exception, match="shop.db"):
        SyncClient(tmp_path / "shop.db").__enter__()
    assert set(threading.enumerate()) == threads
