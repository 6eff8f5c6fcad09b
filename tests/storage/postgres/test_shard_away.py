"""One of two databases is away for a while: the other one's instances go on, and what is between them arrives later."""

import asyncio
from contextlib import contextmanager

import pytest

from perdure import Client, ExternalEvent, OrchestrationContext, Registry, Runtime, activity, orchestration
from perdure.errors import StorageUnavailableError
from tests.storage.postgres.proxy import Proxy
from tests.storage.postgres.server import Server
from tests.storage.postgres.sharded import on

WORDS = 60
SAID = ExternalEvent[int]("said")
HERE, THERE = on(0, "here"), on(1, "there")


@activity(name="next-word")
async def next_word(word: int) -> int:
    return word + 1


@orchestration(name="talk")
async def talk(ctx: OrchestrationContext, listener: str) -> int:
    """Says one word after the other to an instance of the other shard."""
    word = 0
    while word < WORDS:
        ctx.raise_event(listener, SAID, word)
        word = await ctx.schedule_activity(next_word, word)
    return word


@orchestration(name="listen")
async def listen(ctx: OrchestrationContext) -> list[int]:
    return [await ctx.schedule_wait(SAID) for _ in range(WORDS)]


registry = Registry(next_word, talk, listen)


@pytest.fixture(scope="module")
def other():
    """A server of its own for the second database."""
    server = Server()
    yield server
    server.remove()


class Far:
    """The second database, and what may happen to it."""

    def __init__(self, server, proxy):
        self.server = server
        self.proxy = proxy
        self.schema = server.take_schema()
        self.url = server.url(schema=self.schema, port=proxy.port)

    @contextmanager
    def stopped(self):
        """The server is not there."""
        self.server.stop()
        try:
            yield
        finally:
            self.server.start()

    @contextmanager
    def silent(self):
        """Connections are there, and nothing passes; in the end they are gone."""
        self.proxy.mode = "silent"
        yield
        self.proxy.mode = ""
        self.proxy.cut_all()

    @contextmanager
    def read_only(self):
        """The server takes no message, as a replica would say it."""
        with self._admin() as admin:
            admin.execute(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '25006'; END $$"
            )
            admin.execute("CREATE TRIGGER replica BEFORE INSERT ON received FOR EACH ROW EXECUTE FUNCTION refuse()")
            yield
            admin.execute("DROP FUNCTION refuse CASCADE")

    @contextmanager
    def slow(self):
        """So slow that nothing arrives."""
        with self._admin() as admin, admin.transaction():
            admin.execute("LOCK TABLE received IN EXCLUSIVE MODE")
            yield

    @contextmanager
    def _admin(self):
        with self.server.connect() as admin:
            admin.execute("SELECT set_config('search_path', %s, false)", [self.schema])
            yield admin


@pytest.fixture
def far(other):
    proxy = Proxy(other.port)
    yield Far(other, proxy)
    proxy.close()


@pytest.fixture
def impatient(monkeypatch):
    """That something waits is told sooner than in production."""
    monkeypatch.setattr("perdure._runtime.courier.OVERDUE_US", 500_000)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("trouble", [Far.stopped, Far.silent, Far.read_only, Far.slow])
async def test_one_database_goes_on_while_the_other_is_away_and_what_is_between_them_arrives_later(
    url, far, caplog, trouble
):
    caplog.set_level("INFO", "perdure.runtime")
    async with Runtime([url, far.url], registry) as runtime:
        client = runtime.client
        listener = await client.start_orchestration(listen, instance_id=THERE)
        with trouble(far):
            failed = _failed(runtime)
            talker = await client.start_orchestration(talk, THERE, instance_id=HERE)
            assert await talker.result(timeout=60) == WORDS
            await _is_told("from shard 0 to shard 1 waits there", caplog)
            assert caplog.text.count("from shard 0 to shard 1 waits there") == 1
            # Each of so many turns has sent something, and not each of them has tried the other database.
            assert _failed(runtime) - failed < WORDS / 2
        assert await listener.result(timeout=60) == list(range(WORDS))
        await _is_told("what waited in shard 0 for shard 1 is delivered again", caplog)


@pytest.mark.parametrize("mode", ["cut before", "cut after"])
async def test_a_connection_that_is_cut_while_something_arrives_loses_nothing_and_repeats_nothing(url, far, mode):
    async with Runtime([url, far.url], registry) as runtime:
        listener = await runtime.client.start_orchestration(listen, instance_id=THERE)
        await runtime.client.start_orchestration(talk, THERE, instance_id=HERE)
        for cuts in range(1, 6):
            far.proxy.mode = mode
            while far.proxy.cuts < cuts and not await _has_ended(listener):
                await asyncio.sleep(0)
        far.proxy.mode = ""
        assert await listener.result(timeout=60) == list(range(WORDS))
        assert far.proxy.cuts


async def test_what_waits_is_told_of_and_who_asks_both_databases_is_refused_while_one_is_away(url, far):
    async with Runtime([url, far.url], registry) as runtime, Client([url, far.url]) as client:
        listener = await client.start_orchestration(listen, instance_id=THERE)
        with far.stopped():
            talker = await client.start_orchestration(talk, THERE, instance_id=HERE)
            assert await talker.result(timeout=60) == WORDS
            assert (await talker.status()).output == WORDS
            for asked in (client.get_queues, client.list_instances, client.count_instances, listener.status):
                with pytest.raises(StorageUnavailableError, match=str(far.proxy.port)):
                    await asked()
            with pytest.raises(StorageUnavailableError, match=str(far.proxy.port)):
                await Client([url, far.url]).__aenter__()
        with far.slow():
            await runtime.client.start_orchestration(talk, THERE, instance_id=on(0, "again"))
            while (await client.get_queues()).undelivered < WORDS:
                await asyncio.sleep(0)
            assert (await client.get_queues()).undelivered_age is not None
        await listener.result(timeout=60)
        while (await client.get_queues()).undelivered:
            await asyncio.sleep(0)


def _failed(runtime):
    """How many commits and reads have failed."""
    return sum(sum(each.errors.values()) for each in runtime.metrics().storage if each.call in {"commit", "parcels"})


async def _is_told(what, caplog):
    while what not in caplog.text:
        await asyncio.sleep(0)


async def _has_ended(handle):
    return (await handle.status()).status.is_closed
