"""What can be read of an instance: its status, its result, its history."""

import asyncio
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from perdure import (
    Client,
    ExternalEvent,
    InstanceClosedError,
    InstanceNotFoundError,
    OrchestrationContext,
    OrchestrationError,
    PayloadError,
    Registry,
    ResultTimeoutError,
    Runtime,
    Status,
    StorageError,
    activity,
    orchestration,
)
from perdure.testing import Environment

GO = ExternalEvent[str]("go")


@activity(name="note")
async def note(text: str) -> str:
    return text


@orchestration(name="talk")
async def talk(ctx: OrchestrationContext, text: str) -> str:
    said = await ctx.schedule_activity(note, text)
    await ctx.schedule_timer(60)
    return f"{said} {await ctx.schedule_wait(GO)}"


async def test_a_status_says_where_an_instance_stands():
    async with Environment(Registry(talk, note)) as env:
        handle = await env.client.start_orchestration(talk, "hello", instance_id="i")
        await env.advance(1)
        running = await handle.status()
        await handle.raise_event(GO, "world")
        assert await handle.result() == "hello world"
        done = await env.client.get_status("i")
    assert (running.status, running.is_closed, running.output) == (Status.RUNNING, False, None)
    assert (done.status, done.is_closed, done.output) == (Status.COMPLETED, True, "hello world")
    assert (done.instance_id, done.execution_id, done.name, done.version) == ("i", 1, "talk", "1.0.0")
    assert (done.error, done.held_because, done.custom_status, done.custom_status_version) == (None, None, None, 0)
    assert done.created_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert done.updated_at - done.created_at == timedelta(seconds=60)


@dataclass
class Progress:
    done: int
    names: tuple[str, ...]


@orchestration(name="report")
async def report(ctx: OrchestrationContext) -> None:
    ctx.set_custom_status(Progress(2, ("a", "b")))


@orchestration(name="delegate")
async def delegate(ctx: OrchestrationContext) -> None:
    await ctx.schedule_sub_orchestration(report, instance_id="below")


async def test_a_custom_status_comes_back_as_what_was_set():
    async with Environment(Registry(report)) as env:
        await env.run(report)
        (status,) = (await env.client.list_instances()).items
    assert status.custom_status == {"done": 2, "names": ["a", "b"]}
    assert status.custom_status_as(Progress) == Progress(2, ("a", "b"))
    with pytest.raises(PayloadError, match=f"custom status of {status.instance_id}"):
        status.custom_status_as(int)


async def test_a_custom_status_that_was_never_set_is_none():
    async with Environment(Registry(talk, note)) as env:
        status = await (await env.client.start_orchestration(talk, "hello")).status()
    assert status.custom_status_as(Progress | None) is None
    with pytest.raises(PayloadError):
        status.custom_status_as(Progress)


async def test_a_child_says_whose_it_is_and_a_root_that_it_is_nobodys(url):
    async with Runtime(url, Registry(report, delegate)) as runtime:
        root = await runtime.client.start_orchestration(delegate, instance_id="above")
        await root.result(timeout=30)
        found = {each.instance_id: each.parent_id for each in (await runtime.client.list_instances()).items}
    assert found == {"above": None, "below": "above"}


async def test_unknown_ids_are_errors_and_not_hangs(url):
    async with Runtime(url, Registry(talk, note)) as runtime:
        handle = runtime.client.get_handle("nobody")
        for ask in (handle.status(), runtime.client.get_status("nobody"), handle.result(), handle.result(timeout=5)):
            with pytest.raises(InstanceNotFoundError, match="nobody"):
                await ask
        with pytest.raises(InstanceNotFoundError, match="nobody"):
            await anext(runtime.client.history("nobody"))


async def test_a_result_is_there_for_whoever_asks_however_late(url):
    async with Runtime(url, Registry(talk, note)) as runtime:
        handle = await runtime.client.start_orchestration("note-it", "x")
        await handle.terminate()
        waiting = [asyncio.create_task(runtime.client.get_handle(handle.instance_id).result()) for _ in range(3)]
        for task in waiting:
            with pytest.raises(OrchestrationError):
                await task


async def test_waiting_for_a_result_has_a_limit_and_harms_nothing():
    async with Environment(Registry(talk, note)) as env:
        handle = await env.client.start_orchestration(talk, "hello")
        for timeout in (0, 0.01, timedelta(milliseconds=1)):
            with pytest.raises(ResultTimeoutError, match="it goes on") as caught:
                await handle.result(timeout=timeout)
            assert isinstance(caught.value, TimeoutError)
        await handle.raise_event(GO, "world")
        assert await handle.result() == "hello world"


async def test_waiting_can_be_cancelled_and_asked_again():
    async with Environment(Registry(talk, note)) as env:
        handle = await env.client.start_orchestration(talk, "hello")
        waiting = asyncio.create_task(handle.result())
        await env.advance(1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await handle.raise_event(GO, "world")
        assert await handle.result() == "hello world"


async def test_waits_that_were_given_up_leave_nothing_behind(url):
    async with Runtime(url, Registry(talk, note)) as runtime:
        handle = await runtime.client.start_orchestration(talk, "hello")
        for _ in range(100):
            with pytest.raises(ResultTimeoutError):
                await handle.result(timeout=0)
        kept = len(runtime._engine._watches)  # noqa: SLF001 - a leak has no name
        assert kept < 20


async def test_a_history_is_read_event_by_event():
    async with Environment(Registry(talk, note)) as env:
        handle = await env.client.start_orchestration(talk, "hello", instance_id="i")
        await env.advance(1)
        await handle.raise_event(GO, "world")
        await handle.result()
        events = [event async for event in env.client.history("i")]
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    assert [event.kind for event in events] == [
        "Started",
        "ActivityScheduled",
        "ActivityCompleted",
        "TimerCreated",
        "EventRaised",
        "TimerFired",
        "WaitStarted",
        "Completed",
    ]
    assert [event.at for event in events] == sorted(event.at for event in events)
    scheduled, completed = events[1], events[2]
    assert scheduled.data["name"] == "note"
    assert scheduled.data["input"] == ["hello"]
    assert scheduled.where is not None
    assert "test_status_and_history.py:" in scheduled.where
    assert completed.source == scheduled.id
    assert completed.data["result"] == "hello"
    assert "secret" not in events[0].data


async def test_a_history_of_an_execution_that_never_was_is_empty():
    async with Environment(Registry(talk, note)) as env:
        await env.client.start_orchestration(talk, "hello", instance_id="i")
        assert [event async for event in env.client.history("i", execution_id=7)] == []


async def test_a_typed_handle_reads_the_result_by_the_definition():
    @orchestration
    async def when(ctx: OrchestrationContext) -> timedelta:
        return timedelta(hours=3)

    async with Environment(Registry(when)) as env:
        handle = await env.client.start_orchestration(when, instance_id="i")
        assert await handle.result() == timedelta(hours=3)
        assert await env.client.get_handle("i", when).result() == timedelta(hours=3)
        assert isinstance(await env.client.get_handle("i").result(), str | int | float)


async def test_a_client_that_shall_not_make_the_file_says_where_none_is(tmp_path):
    url = f"sqlite:///{tmp_path / 'typo.db'}"
    with pytest.raises(StorageError, match="there is no store .*typo.db"):
        await Client(url, create=False).__aenter__()
    assert list(tmp_path.iterdir()) == []


async def test_a_client_that_shall_not_make_the_file_opens_one_that_is_there(database):
    async with Client(database):
        pass
    async with Client(database, create=False) as client:
        assert (await client.list_instances()).items == []


async def test_the_workers_of_a_store_are_listed_with_what_they_can_run(url):
    async with Runtime(url, Registry(talk, note), worker_name="kitchen") as runtime:
        [worker] = await runtime.client.list_workers()
    assert (worker.name, worker.pid) == ("kitchen", os.getpid())
    assert (worker.orchestrations, worker.activities) == (("talk@1.0.0",), ("note",))
    assert worker.lease_until > worker.started_at


async def test_a_worker_that_has_left_is_not_listed(database):
    async with Runtime(database, Registry(talk, note)):
        pass
    async with Client(database) as client:
        assert await client.list_workers() == []


async def test_what_comes_too_late_is_told_how_the_instance_ended(url):
    async with Runtime(url, Registry(talk, note)) as runtime:
        handle = await runtime.client.start_orchestration(talk, "hello", instance_id="i")
        await handle.terminate()
        with pytest.raises(OrchestrationError):
            await handle.result()
        with pytest.raises(InstanceClosedError, match="has ended \\(terminated\\)"):
            await handle.cancel()
