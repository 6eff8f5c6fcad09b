"""One store on two databases whose list is wrong, or of which one was restored: refused in words, or it goes on."""

import shutil
from pathlib import Path

import pytest
from psycopg import sql

from perdure import (
    Client,
    ExternalEvent,
    OrchestrationContext,
    OrchestrationError,
    Registry,
    Runtime,
    UsageError,
    orchestration,
)
from perdure._ports import SystemClock, SystemEntropy
from perdure.storage import open_storages
from tests.storage.postgres.sharded import child, on, parent, shout

SAID = ExternalEvent[str]("said")
HERE, THERE = on(0, "here"), on(1, "there")


@orchestration(name="pass-on")
async def pass_on(ctx: OrchestrationContext, receiver: str) -> None:
    """Says on the other shard what is said to it."""
    while (word := await ctx.schedule_wait(SAID)) != "end":
        ctx.raise_event(receiver, SAID, word)
    ctx.raise_event(receiver, SAID, "end")


@orchestration(name="hear")
async def hear(ctx: OrchestrationContext) -> list[str]:
    """What was said, up to the word "end"."""
    heard = []
    while (word := await ctx.schedule_wait(SAID)) != "end":
        heard.append(word)
        ctx.set_custom_status(",".join(heard))
    return heard


registry = Registry(shout, child, parent, pass_on, hear)


def test_a_list_in_another_order_is_refused(urls):
    _close(_open(urls))
    with pytest.raises(UsageError, match="the list has it as number 0"):
        _open(urls[::-1])


def test_a_list_with_another_number_of_databases_is_refused(urls):
    _close(_open(urls))
    with pytest.raises(UsageError, match="shard 0 of 2, and the list names 3"):
        _open([*urls, "memory://"])


def test_a_database_that_is_named_twice_is_refused(urls):
    with pytest.raises(UsageError, match="name each once"):
        _open([urls[0], urls[0]])


def test_who_names_a_database_twice_at_first_has_made_nothing_of_it(urls, tmp_path):
    again = urls[0].replace("127.0.0.1", "localhost")
    if again == urls[0]:
        file = Path(urls[0].removeprefix("sqlite:///"))
        file.touch()
        (tmp_path / "link.db").symlink_to(file)
        again = f"sqlite:///{tmp_path}/link.db"
    with pytest.raises(UsageError, match="number 1 of the list, is named before in the list, too: name each once"):
        _open([urls[0], again])
    _close(_open(urls))


@pytest.mark.parametrize("left_out", [0, 1, 2])
def test_a_list_from_which_a_database_was_left_out_is_refused(urls, tmp_path, left_out):
    urls = [*urls, f"sqlite:///{tmp_path}/third.db"]
    _close(_open(urls))
    with pytest.raises(UsageError, match="of 3, and the list names 2 databases: name all 3 in their order"):
        _open([*urls[:left_out], *urls[left_out + 1 :]])
    _close(_open(urls))


def test_paths_with_a_comma_between_them_are_not_taken_for_one_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for wrong in ("left.db,right.db", "sqlite:///left.db,right.db"):
        with pytest.raises(UsageError, match="one path with a comma in it: to name several files write sqlite:///"):
            _open(wrong)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a, b").mkdir()
    _close(_open("a, b/left.db"))


async def test_a_client_whose_list_is_another_than_that_of_the_workers_is_refused_and_they_go_on(urls):
    async with Runtime(urls, registry) as runtime:
        for wrong in (urls[::-1], urls[:1], urls[1:], [urls[0], urls[0]], [*urls, urls[0]]):
            with pytest.raises(UsageError):
                await Client(wrong).__aenter__()
        handle = await runtime.client.start_orchestration(parent, THERE, instance_id=HERE)
        assert await handle.result() == "FAR"


async def test_shards_of_both_kinds_are_one_store(url, tmp_path):
    async with Runtime([f"sqlite:///{tmp_path}/left.db", url], registry) as runtime:
        for above, below in ((0, 1), (1, 0)):
            start = runtime.client.start_orchestration
            handle = await start(parent, on(below, f"child-{below}"), instance_id=on(above, "parent"))
            assert await handle.result() == "FAR"
        assert sum(each.count for each in await runtime.client.count_instances()) == 4


@pytest.fixture(params=["sqlite", "postgres"])
def backups(request, tmp_path):
    """Two databases of their own, of which each can be kept and put back while nobody has it open."""
    return _Files(tmp_path) if request.param == "sqlite" else _Databases(request.getfixturevalue("server"))


class _Files:
    def __init__(self, folder):
        self._files = [folder / name for name in ("left.db", "right.db")]
        self.urls = [f"sqlite:///{each}" for each in self._files]

    def keep(self, number):
        shutil.copy(self._files[number], self._files[number].with_suffix(".backup"))

    def put_back(self, number):
        for each in self._files[number].parent.glob(f"{self._files[number].name}*"):
            each.unlink()
        shutil.copy(self._files[number].with_suffix(".backup"), self._files[number])


class _Databases:
    def __init__(self, server):
        self._server = server
        self._names = [f"{server.take_schema()}-{side}" for side in ("left", "right")]
        for name in self._names:
            server.create_database(name)
        self.urls = [server.url(name) for name in self._names]

    def keep(self, number):
        self._copy(self._names[number], "backup")

    def put_back(self, number):
        self._copy("backup", self._names[number])

    def _copy(self, source, target):
        names = {"source": sql.Identifier(source), "target": sql.Identifier(target)}
        drop = sql.SQL("DROP DATABASE IF EXISTS {target} WITH (FORCE)").format(**names)
        copy = sql.SQL("CREATE DATABASE {target} TEMPLATE {source}").format(**names)
        with self._server.connect() as admin:
            admin.execute(drop)
            admin.execute(copy)


async def _say(urls, *words, until):
    """Say words to the sender, with a worker that goes when the receiver has heard these."""
    async with Runtime(urls, registry) as runtime:
        client = runtime.client
        for instance_id, definition, inputs in ((THERE, hear, ()), (HERE, pass_on, (THERE,))):
            await client.start_orchestration(definition, *inputs, instance_id=instance_id, on_conflict="use_existing")
        for word in words:
            await client.raise_event(HERE, SAID, word)
        receiver = client.get_handle(THERE)
        if "end" in words:
            assert await receiver.result() == until
            return
        while (await receiver.status()).custom_status != ",".join(until):
            pass
        while (await client.get_queues()).undelivered:
            pass


async def test_what_a_restored_sender_sends_is_not_taken_for_what_it_had_sent_before(backups):
    await _say(backups.urls, "one", until=["one"])
    backups.keep(0)
    await _say(backups.urls, "two", until=["one", "two"])
    backups.put_back(0)
    await _say(backups.urls, "three", "end", until=["one", "two", "three"])


async def test_a_restored_receiver_lacks_what_it_had_received_and_hears_what_is_sent_then(backups):
    await _say(backups.urls, "one", until=["one"])
    backups.keep(1)
    await _say(backups.urls, "two", until=["one", "two"])
    backups.put_back(1)
    await _say(backups.urls, "three", "end", until=["one", "three"])


async def test_a_restored_parent_that_asks_for_its_child_again_hears_that_the_id_is_taken(backups):
    async with Runtime(backups.urls, registry):
        pass
    backups.keep(0)
    async with Runtime(backups.urls, registry) as runtime:
        assert await (await runtime.client.start_orchestration(parent, THERE, instance_id=HERE)).result() == "FAR"
    backups.put_back(0)
    async with Runtime(backups.urls, registry) as runtime:
        handle = await runtime.client.start_orchestration(parent, THERE, instance_id=HERE)
        with pytest.raises(OrchestrationError, match="is taken"):
            await handle.result()


def _open(urls):
    return open_storages(urls, clock=SystemClock(), entropy=SystemEntropy())


def _close(storages):
    for each in storages:
        each.close()
