"""A process that forks with an open store: the child is told, and the parent goes on as if nothing had happened."""

import os

import pytest

from perdure import Client, ForkedError, OrchestrationContext, Registry, Runtime, activity, orchestration

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@activity(name="note")
async def note(text: str) -> str:
    return text


@orchestration(name="talk")
async def talk(ctx: OrchestrationContext, text: str) -> str:
    return await ctx.schedule_activity(note, text)


def in_a_child(work) -> str:
    """Run this in a forked child; what it returned, or the type and text of what it raised."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = work()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the parent reads it
            said = f"{type(error).__name__}: {error}"
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(child, 0)
    return said


async def test_the_childs_use_of_the_store_is_refused_and_the_parent_goes_on(database):
    async with Runtime(database, Registry(talk, note)) as runtime:
        storage = runtime._storage  # noqa: SLF001 - what a forked child inherits
        said = in_a_child(lambda: str(storage.workers()))
        assert said.startswith(ForkedError.__name__)
        assert "open a new store there" in said
        assert in_a_child(lambda: str(storage.close())) == "None"
        assert await (await runtime.client.start_orchestration(talk, "still here")).result() == "still here"


async def test_a_child_that_just_ends_takes_nothing_with_it(database):
    async with Runtime(database, Registry(talk, note)) as runtime, Client(database) as client:
        for _ in range(3):
            assert in_a_child(lambda: "ended") == "ended"
            handle = await client.start_orchestration(talk, "a")
            assert await handle.result() == "a"
        assert len(runtime._storage.workers()) == 1  # noqa: SLF001 - workers are not listed in public yet
