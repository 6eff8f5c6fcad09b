"""One item that storage can't take harms its own instance and no other, and a fault of the store harms none."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import apsw
import pytest

from perdure import (
    ActivityError,
    Client,
    DatabaseCorruptError,
    ExternalEvent,
    OrchestrationContext,
    Registry,
    Runtime,
    Status,
    StorageError,
    activity,
    orchestration,
)
from perdure._work import Batch, Deliver, Hold, Item, StartInstance, TaskDone, Turn
from perdure.testing import Environment
from tests.runtime.test_failing_storage import insist

GO = ExternalEvent[str]("go")
BAD = b"poison"

Chokes = Callable[[Item], bool]


class Choking:
    """A storage that fails, with an error that no storage should raise, when a batch has an item of a kind."""

    def __init__(self, inner: Any, chokes: Chokes, error: Exception) -> None:
        self.inner = inner
        self.chokes = chokes
        self.error = error
        self.choked = 0
        self.unclaimable = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def commit(self, batch: Batch) -> Any:
        if any(map(self.chokes, batch.items)) or (self.unclaimable and batch.claim is not None):
            self.choked += 1
            raise self.error
        return self.inner.commit(batch)


class ChokingEnvironment(Environment):
    """An environment on such a storage."""

    def __init__(self, registry: Registry, chokes: Chokes, error: Exception | None = None) -> None:
        super().__init__(registry)
        self.chokes = chokes
        self.error = error or apsw.ConstraintError("NOT NULL constraint failed")

    def _make_storage(self) -> Any:
        self.choking = Choking(super()._make_storage(), self.chokes, self.error)
        return self.choking


@activity(name="write")
async def write(text: str) -> str:
    return text


@orchestration(name="note")
async def note(ctx: OrchestrationContext, text: str) -> str:
    """Waits until it is told to go, and writes what it was told, too."""
    word = await ctx.schedule_wait(GO)
    return await ctx.schedule_activity(write, f"{text} {word}")


@orchestration(name="write-at-once")
async def write_at_once(ctx: OrchestrationContext, text: str) -> str:
    return await ctx.schedule_activity(write, text)


def writes(turn: Item) -> bool:
    """A turn whose events have the bad word."""
    return isinstance(turn, Turn) and turn.history is not None and BAD in turn.history.data


def begins(item: Item) -> bool:
    """The creation of an instance with the bad word, whoever asks for it."""
    create = item.create if isinstance(item, Turn | Hold) else item.new if isinstance(item, StartInstance) else None
    return create is not None and BAD in create.start


def keeps(item: Item) -> bool:
    """A turn or a hold with the bad word in what it was told."""
    return writes(item) or (isinstance(item, Hold) and any(BAD in body for body in item.messages))


@pytest.mark.parametrize("error", [apsw.ConstraintError("it is in the way"), DatabaseCorruptError("it is in the way")])
async def test_the_instance_of_a_turn_that_storage_cannot_take_is_held_and_all_others_go_on(error):
    async with ChokingEnvironment(Registry(write, note), writes, error) as env:
        handles = [await env.client.start_orchestration(note, f"n-{n}", instance_id=f"n-{n}") for n in range(6)]
        words = ["poison" if n == 3 else "fine" for n in range(6)]
        await asyncio.gather(*(handle.raise_event(GO, word) for handle, word in zip(handles, words, strict=True)))
        await env.advance(1)
        statuses = [await handle.status() for handle in handles]
    assert [each.status for each in statuses] == [Status.HELD if n == 3 else Status.COMPLETED for n in range(6)]
    assert f"while it takes all else: {type(error).__name__}: it is in the way" in str(statuses[3].held_because)


async def test_work_that_cannot_be_claimed_stops_nothing_of_what_is_here():
    damage = DatabaseCorruptError("planned")
    async with ChokingEnvironment(Registry(write, note, write_at_once), lambda _: False, damage) as env:
        handle = await env.client.start_orchestration(note, "n")
        env.choking.unclaimable = True
        await handle.raise_event(GO, "on", dedup_key="once")
        assert await (await env.client.start_orchestration(write_at_once, "m")).result() == "m"
        await env.advance(5)
        # It is tried again, but not again and again.
        assert 2 < env.choking.choked < 15


async def test_a_held_culprit_goes_on_with_everything_it_was_told_when_the_store_can_take_it():
    async with ChokingEnvironment(Registry(write, note), writes) as env:
        handle = await env.client.start_orchestration(note, "n")
        await handle.raise_event(GO, "poison")
        await env.advance(1)
        assert (await handle.status()).status is Status.HELD
        env.choking.chokes = lambda _: False
        env._engine.register()  # noqa: SLF001 - as a worker with mended code would
        assert await handle.result() == "n poison"


async def test_what_was_told_and_cannot_be_kept_is_answered_and_its_instance_is_held_without_it():
    async with ChokingEnvironment(Registry(write, note), keeps) as env:
        handle = await env.client.start_orchestration(note, "n")
        with pytest.raises(StorageError, match="can't take what this request has led to: ConstraintError"):
            await handle.raise_event(GO, "poison")
        assert (await handle.status()).status is Status.HELD


async def test_a_start_that_storage_cannot_take_is_answered_and_the_id_stays_free():
    async with ChokingEnvironment(Registry(write, note), begins) as env:
        bad = asyncio.ensure_future(env.client.start_orchestration(note, "poison", instance_id="bad"))
        good = await env.client.start_orchestration(note, "n", instance_id="good")
        with pytest.raises(StorageError, match="can't take"):
            await bad
        await good.raise_event(GO, "on")
        assert await good.result() == "n on"
        assert await (await env.client.start_orchestration(note, "n", instance_id="bad")).status()


async def test_a_request_that_storage_cannot_take_is_answered_and_others_are_not():
    def chokes(item: Item) -> bool:
        return isinstance(item, Deliver) and BAD in item.body

    async with ChokingEnvironment(Registry(write, note), chokes) as env:
        handle = await env.client.start_orchestration(note, "n")
        answers = await asyncio.gather(
            handle.raise_event(GO, "poison", dedup_key="1"),
            handle.raise_event(GO, "on", dedup_key="2"),
            return_exceptions=True,
        )
        assert await handle.result() == "n on"
    assert isinstance(answers[0], StorageError)
    assert "nothing of it was applied: ConstraintError" in str(answers[0])
    assert answers[1] is None


async def test_the_end_of_an_activity_that_storage_cannot_take_fails_the_activity_in_words(tmp_path):
    """On a worker that runs an activity for another: its outcome goes to the store as an item of its own."""
    path = tmp_path / "store.db"

    @orchestration(name="ask")
    async def ask(ctx: OrchestrationContext) -> str:
        try:
            return await ctx.schedule_activity("write", "poison", returns=str)
        except ActivityError as error:
            return str(error)

    class ChokingRuntime(Runtime):
        def _make_storage(self) -> Any:
            return Choking(super()._make_storage(), lambda i: isinstance(i, TaskDone) and BAD in i.body, TypeError("?"))

    url = f"sqlite:///{path}"
    async with Runtime(url, Registry(ask)) as here, ChokingRuntime(url, Registry(write)):
        assert "can't be stored: TypeError: ?" in await (await here.client.start_orchestration(ask)).result()


@pytest.mark.parametrize("error", [TypeError("a defect of the storage"), DatabaseCorruptError("planned")])
async def test_a_store_that_is_itself_at_fault_holds_nothing(database, error):
    class Broken(Runtime):
        def _make_storage(self) -> Any:
            return Choking(super()._make_storage(), lambda _: False, error)

    async with Broken(database, Registry(write, note)) as runtime:
        handles = [await runtime.client.start_orchestration(note, "n", instance_id=f"n-{n}") for n in range(3)]
        storage = runtime._storage  # noqa: SLF001 - the one that chokes
        inner, left = storage.inner.commit, [12]

        def commit(batch: Batch) -> Any:
            if left[0]:
                left[0] -= 1
                raise error
            return inner(batch)

        storage.commit = commit
        for handle in handles:
            await insist(partial(handle.raise_event, GO, "on", dedup_key="once"))
        assert [await handle.result() for handle in handles] == ["n on"] * 3


async def test_a_choke_that_passes_blames_nobody():
    left = [2]

    def chokes(item: Item) -> bool:
        if writes(item) and left[0]:
            left[0] -= 1
            return True
        return False

    async with ChokingEnvironment(Registry(write, note), chokes, TypeError("?")) as env:
        handle = await env.client.start_orchestration(note, "n")
        await handle.raise_event(GO, "poison")
        assert await handle.result() == "n poison"


async def test_a_client_without_a_worker_answers_the_culprit_and_lets_the_others_pass(database):
    async with Client(database) as client:
        gateway = client._gateway  # noqa: SLF001 - where its storage is
        gateway._storage = Choking(gateway._storage, begins, TypeError("?"))  # noqa: SLF001 - the same
        inputs = ["poison" if n == 2 else "fine" for n in range(4)]
        answers = await asyncio.gather(
            *(client.start_orchestration(note, text, instance_id=f"i-{n}") for n, text in enumerate(inputs)),
            return_exceptions=True,
        )
    assert [isinstance(each, StorageError) for each in answers] == [False, False, True, False]
    assert "TypeError: ?" in str(answers[2])
