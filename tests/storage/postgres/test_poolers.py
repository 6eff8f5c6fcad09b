"""A pooler between a store and its server: it is noticed, no session is relied on, and its own troubles pass."""

import asyncio

import pytest

from perdure import OrchestrationContext, Registry, Runtime, activity, orchestration
from perdure._work import APPLIED
from perdure.errors import StorageError, StorageUnavailableError
from perdure.storage.postgres import PostgresStorage
from tests.storage.postgres.pooler import Pooler
from tests.storage.postgres.server import Server
from tests.storage.postgres.work import batch, register, start

ORCHESTRATIONS = 40


@pytest.fixture
def pooler(server):
    pooler = Pooler(server.port, user="perdure", database="postgres")
    yield pooler
    pooler.close()


@pytest.fixture
def pooled(url, server, pooler):
    """The URL of an empty store behind the pooler."""
    return url.replace(str(server.port), str(pooler.port))


@activity(name="add-one")
async def add_one(number: int) -> int:
    return number + 1


@orchestration(name="count-up")
async def count_up(ctx: OrchestrationContext, number: int) -> int:
    for _ in range(5):
        number = await ctx.schedule_activity(add_one, number)
    return number


def test_one_that_shares_sessions_is_noticed_and_worked_with(url, pooled):
    storage = PostgresStorage(pooled)
    worker = register(storage)
    for number in range(10):
        assert storage.commit(batch(start(f"order-{number}"), worker=worker)).outcomes == (APPLIED,)
        assert storage.heartbeat(worker)
    assert len(storage.commit(batch(worker=worker, claim=True)).work.instances) == 10
    while not storage._listener.is_pooled:  # noqa: SLF001 - when it notices is nobody's business but this test's
        pass
    direct = PostgresStorage(url)
    storage.changed()
    direct.commit(batch(start("late")))
    while not storage.changed():
        pass
    direct.close()
    storage.unregister(worker)
    storage.close()


async def test_orchestrations_run_over_a_single_session(server, url):
    pooler = Pooler(server.port, user="perdure", database="postgres", sessions=1)
    async with Runtime(url.replace(str(server.port), str(pooler.port)), Registry(add_one, count_up)) as runtime:
        assert await _ends(await _begin(runtime)) == [number + 5 for number in range(ORCHESTRATIONS)]
    pooler.close()


async def test_orchestrations_go_on_when_it_is_restarted(pooled, pooler):
    async with Runtime(pooled, Registry(add_one, count_up)) as runtime:
        for _ in range(3):
            handles = await _begin(runtime)
            pooler.close()
            pooler.start()
            assert await _ends(handles) == [number + 5 for number in range(ORCHESTRATIONS)]


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_orchestrations_go_on_when_the_server_behind_it_was_restarted(mode):
    server = Server(durable=True)
    pooler = Pooler(server.port, user="perdure", database="postgres")
    try:
        async with Runtime(server.url(port=pooler.port), Registry(add_one, count_up)) as runtime:
            handles = await _begin(runtime)
            await asyncio.to_thread(server.stop, mode)
            await asyncio.to_thread(server.start)
            assert await _ends(handles) == [number + 5 for number in range(ORCHESTRATIONS)]
    finally:
        pooler.close()
        server.remove()


def test_who_waits_in_vain_for_a_session_is_told_by_its_words(pooled, pooler):
    storage = PostgresStorage(pooled)
    pooler.farewell = "query_wait_timeout"
    with pytest.raises(StorageUnavailableError, match="query_wait_timeout"):
        storage.commit(batch(start("order")))
    pooler.farewell = ""
    assert storage.commit(batch(start("order"))).outcomes == (APPLIED,)
    storage.close()


def test_one_without_transactions_is_refused_with_what_to_do(server, url):
    pooler = Pooler(server.port, user="perdure", database="postgres", has_transactions=False)
    with pytest.raises(StorageError, match="set its pool_mode to transaction"):
        PostgresStorage(url.replace(str(server.port), str(pooler.port)))
    pooler.close()


@pytest.mark.parametrize(
    ("words", "error", "advice"),
    [
        ("no such database: shop", StorageError, r"add it to its \[databases\]"),
        ("unsupported startup parameter: options", StorageError, "unset PGOPTIONS"),
        ("no more connections allowed (max_client_conn)", StorageUnavailableError, "raise its max_client_conn"),
        (
            "server login has been failing, try again later (server_login_retry)",
            StorageUnavailableError,
            "server_login_retry = 1",
        ),
        ("client_login_timeout (server down)", StorageUnavailableError, "can't be reached"),
    ],
)
def test_what_it_refuses_is_told_with_what_to_do(pooled, pooler, words, error, advice):
    pooler.refusal = words
    with pytest.raises(StorageError, match=advice) as caught:
        PostgresStorage(pooled)
    assert type(caught.value) is error


async def _begin(runtime):
    return [await runtime.client.start_orchestration(count_up, number) for number in range(ORCHESTRATIONS)]


async def _ends(handles):
    return await asyncio.gather(*(handle.result(timeout=60) for handle in handles))
