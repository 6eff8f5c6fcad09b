"""A runtime or a client that has closed leaves no thread, no task and no open file behind."""

import asyncio
import gc
import logging
import threading
import weakref
from contextlib import suppress
from pathlib import Path

import pytest

from perdure import (
    Client,
    OrchestrationContext,
    OutcomeUnknownError,
    Registry,
    ResultTimeoutError,
    Runtime,
    SyncClient,
    activity,
    orchestration,
)
from perdure.testing import Environment
from tests.runtime.faulty import LOST_AFTER, FaultyEnvironment


@activity(name="note")
async def note(text: str) -> str:
    return text


@activity(name="thread-note")
def thread_note(text: str) -> str:
    return text


@orchestration(name="both")
async def both(ctx: OrchestrationContext, text: str) -> list[str]:
    return [await ctx.schedule_activity(note, text), await ctx.schedule_activity(thread_note, text)]


@orchestration(name="never")
async def never(ctx: OrchestrationContext) -> None:
    await ctx.schedule_wait("never")


REGISTRY = Registry(note, thread_note, both, never)


def what_is_open() -> list[str]:
    found = []
    for each in list(Path("/proc/self/fd").iterdir()):
        with suppress(OSError):
            found.append(str(each.readlink()))
    return found


def open_files(folder) -> list[str]:
    return [each for each in what_is_open() if each.startswith(str(folder))]


def open_sockets() -> set[str]:
    return {each for each in what_is_open() if each.startswith("socket:")}


class Before:
    """What there was before; `left` is what there is more now."""

    def __init__(self, folder) -> None:
        self.folder = folder
        self.threads = set(threading.enumerate())
        self.tasks = asyncio.all_tasks()
        self.sockets = open_sockets()

    async def left(self) -> list[str]:
        gc.collect()
        threads = [thread.name for thread in threading.enumerate() if thread not in self.threads and _is_ours(thread)]
        tasks = [task.get_name() for task in asyncio.all_tasks() - self.tasks]
        return [*threads, *tasks, *open_files(self.folder), *(open_sockets() - self.sockets)]


def _is_ours(thread: threading.Thread) -> bool:
    # The event loop's own pool for blocking calls lives as long as the loop.
    return not thread.name.startswith("asyncio_")


@pytest.fixture
def before(tmp_path) -> Before:
    return Before(tmp_path)


async def work(runtime: Runtime) -> None:
    handle = await runtime.client.start_orchestration(both, "a")
    assert await handle.result() == ["a", "a"]
    other = await runtime.client.start_orchestration(never)
    with pytest.raises(ResultTimeoutError):
        await other.result(timeout=0.01)
    async for _ in other.watch():
        break


async def test_a_runtime_leaves_nothing(url, tmp_path):
    before = Before(tmp_path)
    async with Runtime(url, REGISTRY) as runtime:
        await work(runtime)
    assert await before.left() == []


async def test_a_runtime_whose_program_fails_leaves_nothing(url, tmp_path):
    before = Before(tmp_path)

    async def program() -> None:
        async with Runtime(url, REGISTRY) as runtime:
            await work(runtime)
            raise KeyError

    with pytest.raises(KeyError):
        await program()
    assert await before.left() == []


async def test_a_runtime_that_could_not_open_leaves_nothing(tmp_path):
    before = Before(tmp_path)
    (tmp_path / "shop.db").write_bytes(b"this is no database" * 1000)
    with pytest.raises(Exception, match="shop.db"):
        await Runtime(tmp_path / "shop.db", REGISTRY).__aenter__()
    assert await before.left() == []


async def test_a_shutdown_that_is_cancelled_leaves_nothing(url, tmp_path):
    before = Before(tmp_path)
    running, closing = asyncio.Event(), asyncio.Event()

    @activity(name="hang")
    async def hang() -> None:
        running.set()
        await asyncio.Event().wait()

    @orchestration(name="hanging")
    async def hanging(ctx: OrchestrationContext) -> None:
        await ctx.schedule_activity(hang)

    async def program() -> None:
        async with Runtime(url, Registry(hang, hanging), grace=60) as runtime:
            await runtime.client.start_orchestration(hanging)
            await running.wait()
            closing.set()

    task = asyncio.create_task(program())
    await closing.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await before.left() == []


async def test_a_client_leaves_nothing(database, tmp_path):
    before = Before(tmp_path)
    async with Runtime(database, REGISTRY), Client(database) as client:
        handle = await client.start_orchestration(both, "a")
        assert await handle.result() == ["a", "a"]
        with pytest.raises(ResultTimeoutError):
            await (await client.start_orchestration(never)).result(timeout=0.01)
    assert await before.left() == []


async def test_an_environment_leaves_nothing(tmp_path):
    before = Before(tmp_path)
    async with Environment(REGISTRY) as env:
        assert await env.run(both, "a") == ["a", "a"]
        await env.client.start_orchestration(never)
    assert await before.left() == []


def test_a_synchronous_client_leaves_nothing(database, tmp_path):
    threads = set(threading.enumerate())
    with SyncClient(database) as client:
        client.start_orchestration(never)
    assert [thread.name for thread in threading.enumerate() if thread not in threads] == []
    assert open_files(tmp_path) == []


async def test_an_abandoned_watch_leaves_nothing(url, tmp_path):
    before = Before(tmp_path)
    async with Runtime(url, REGISTRY) as runtime:
        handle = await runtime.client.start_orchestration(never)

        async def follow() -> None:
            async for _ in handle.watch():
                pass

        following = asyncio.create_task(follow())
        await handle.status()
        following.cancel()
        await asyncio.wait([following])
    assert await before.left() == []


async def test_an_error_that_a_client_was_told_is_let_go_of(caplog):
    # What is logged would be kept by the tests' own handler.
    caplog.set_level(logging.CRITICAL, "perdure.runtime")
    async with FaultyEnvironment(REGISTRY, {("commit", number): LOST_AFTER for number in range(1, 20)}) as env:

        async def try_to_start() -> weakref.ref[BaseException]:
            with pytest.raises(OutcomeUnknownError) as caught:
                await env.client.start_orchestration(never)
            return weakref.ref(caught.value)

        first = await try_to_start()
        # The latest one may still be in somebody's hands.
        await try_to_start()
        gc.collect()
        assert first() is None
