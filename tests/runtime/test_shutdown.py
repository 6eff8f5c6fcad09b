"""Closing a runtime: it stops taking work, lets activities end within the grace time, and hands back the rest."""

import asyncio
import signal
import threading
from pathlib import Path

import pytest

from perdure import (
    ActivityContext,
    Client,
    ClientError,
    ExternalEvent,
    OrchestrationContext,
    Registry,
    Runtime,
    UsageError,
    activity,
    orchestration,
)
from perdure._runtime import signals
from tests.runtime.worker_program import GO, blocking, chain, deafening, gate, hanging, stone

NEWS = ExternalEvent[str]("news")


@activity(name="note")
async def note(text: str) -> str:
    return text


class Slow:
    """An activity that a test lets end; it counts how often it began and how often it was cancelled."""

    def __init__(self) -> None:
        self.running = asyncio.Event()
        self.may_end = asyncio.Event()
        self.began: list[tuple[int, int]] = []
        self.cancelled = 0

    @activity
    async def work(self, ctx: ActivityContext) -> str:
        self.began.append((ctx.attempt, ctx.deliveries))
        self.running.set()
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return "worked"


@orchestration(name="patient")
async def patient(ctx: OrchestrationContext) -> str:
    return await ctx.schedule_activity(Slow.work)


async def test_a_running_activity_ends_within_the_grace_time_and_its_outcome_is_kept(database):
    slow = Slow()
    async with Runtime(database, Registry(slow, patient)) as runtime:
        handle = await runtime.client.start_orchestration(patient, instance_id="i")
        await slow.running.wait()
        asyncio.get_running_loop().call_soon(slow.may_end.set)
    async with Client(database) as client:
        assert await client.get_handle(handle.instance_id, patient).result() == "worked"
    assert slow.cancelled == 0


async def test_one_that_takes_longer_is_cancelled_and_runs_again_elsewhere_as_the_same_attempt(database):
    slow = Slow()
    async with Runtime(database, Registry(slow, patient), grace=0) as runtime:
        await runtime.client.start_orchestration(patient, instance_id="i")
        await slow.running.wait()
    assert slow.cancelled == 1
    slow.may_end.set()
    async with Runtime(database, Registry(slow, patient)) as runtime:
        assert await runtime.client.get_handle("i", patient).result() == "worked"
    assert slow.began == [(1, 1), (1, 1)]


async def test_one_that_refuses_to_be_cancelled_does_not_stop_the_shutdown(database):
    release = asyncio.Event()
    running = asyncio.Event()

    @activity
    async def stubborn() -> str:
        running.set()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        return "at last"

    @orchestration(name="hopeless")
    async def hopeless(ctx: OrchestrationContext) -> str:
        return await ctx.schedule_activity(stubborn)

    async with Runtime(database, Registry(stubborn, hopeless), grace=0) as runtime:
        await runtime.client.start_orchestration(hopeless, instance_id="i")
        await running.wait()
    release.set()
    async with Runtime(database, Registry(stubborn, hopeless)) as runtime:
        assert await runtime.client.get_handle("i", hopeless).result() == "at last"


async def test_a_plain_activity_that_never_returns_does_not_keep_the_process_from_ending(database, spawn):
    async with Client(database) as client:
        worker = await spawn(database, "0")
        await client.start_orchestration(stone)
        await worker.hear("stone")
        worker.send(signal.SIGTERM)
        assert await worker.end() == 0
        assert worker.said[-1] == "closed"


async def test_a_plain_activity_in_a_thread_does_not_stop_the_shutdown(database):
    running = asyncio.Event()
    loop = asyncio.get_running_loop()
    release = threading.Event()

    @activity
    def blocking() -> str:
        loop.call_soon_threadsafe(running.set)
        release.wait(20)
        return "at last"

    @orchestration(name="hopeless")
    async def hopeless(ctx: OrchestrationContext) -> str:
        return await ctx.schedule_activity(blocking)

    try:
        async with Runtime(database, Registry(blocking, hopeless), grace=0) as runtime:
            await runtime.client.start_orchestration(hopeless, instance_id="i")
            await running.wait()
    finally:
        release.set()
    async with Runtime(database, Registry(blocking, hopeless)) as runtime:
        assert await runtime.client.get_handle("i", hopeless).result() == "at last"


async def test_what_had_not_begun_is_handed_back(database):
    slow = Slow()

    @orchestration(name="many")
    async def many(ctx: OrchestrationContext) -> int:
        return len(await asyncio.gather(*(ctx.schedule_activity(Slow.work) for _ in range(20))))

    async with Runtime(database, Registry(slow, many), max_activities=1, grace=0) as runtime:
        await runtime.client.start_orchestration(many, instance_id="i")
        await slow.running.wait()
    assert len(slow.began) == 1
    slow.may_end.set()
    async with Runtime(database, Registry(slow, many)) as runtime:
        assert await runtime.client.get_handle("i", many).result() == 20
    assert set(slow.began) == {(1, 1)}


async def test_whoever_still_waits_for_a_result_is_told(url):
    slow = Slow()
    async with Runtime(url, Registry(slow, patient), grace=0) as runtime:
        handle = await runtime.client.start_orchestration(patient)
        waiting = asyncio.create_task(handle.result())
        await slow.running.wait()
    with pytest.raises(ClientError, match="closed"):
        await waiting


async def test_every_call_under_way_while_it_closes_is_answered(url):
    async with Runtime(url, Registry(patient, note)) as runtime:
        calls = [asyncio.create_task(runtime.client.start_orchestration("unknown")) for _ in range(20)]
        calls += [asyncio.create_task(runtime.client.get_status("nobody")) for _ in range(20)]
        await asyncio.sleep(0)
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        assert not isinstance(outcome, asyncio.CancelledError)
        if isinstance(outcome, BaseException):
            assert isinstance(outcome, ClientError), repr(outcome)


async def test_its_client_says_that_it_is_closed(url):
    async with Runtime(url, Registry(patient)) as runtime:
        client = runtime.client
        handle = client.get_handle("i")
    for call, *arguments in (
        (client.start_orchestration, "any"),
        (client.get_status, "i"),
        (client.list_instances,),
        (client.cancel, "i"),
        (handle.result,),
        (handle.status,),
    ):
        with pytest.raises(ClientError, match="closed"):
            await call(*arguments)
    with pytest.raises(ClientError, match="closed"):
        await handle.result(timeout=5)
    with pytest.raises(ClientError, match="closed"):
        await anext(handle.watch())


async def test_closing_twice_is_closing_once_and_it_may_open_again(database):
    runtime = Runtime(database, Registry(patient, chain, *[note]))
    with pytest.raises(UsageError, match="async with"):
        _ = runtime.client
    for _ in range(2):
        async with runtime:
            with pytest.raises(UsageError, match="already"):
                await runtime.__aenter__()
        await runtime.__aexit__(None, None, None)
    with pytest.raises(UsageError, match="not open"):
        _ = runtime.client


async def test_a_shutdown_that_is_cancelled_still_releases_the_file(database):
    slow = Slow()

    async def program() -> None:
        async with Runtime(database, Registry(slow, patient), grace=60) as runtime:
            await runtime.client.start_orchestration(patient, instance_id="i")
            await slow.running.wait()
            closing.set()

    closing = asyncio.Event()
    task = asyncio.create_task(program())
    await closing.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    slow.may_end.set()
    async with Runtime(database, Registry(slow, patient)) as runtime:
        assert await runtime.client.get_handle("i", patient).result(timeout=8) == "worked"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_served_worker_ends_cleanly_when_it_is_asked_to(database, spawn, number):
    async with Client(database) as client:
        worker = await spawn(database)
        await worker.hear("ready")
        handle = await client.start_orchestration(gate, instance_id="i")
        async for status in handle.watch():
            if status.custom_status == "open":
                break
        worker.send(number)
        assert await worker.end() == 0
        assert worker.said[-1] == "closed"
        assert await worker.errors() == ""
        await spawn(database)
        await handle.raise_event(GO, "again")
        assert (await handle.result(timeout=8)).startswith("again ")


async def test_a_script_that_is_interrupted_twice_ends_at_once_and_tidily(database, spawn):
    script = await spawn(database, script=Path(__file__).with_name("script_program.py"))
    await script.hear("hang")
    ending = asyncio.create_task(script.end())
    while not ending.done():
        # Two that come at once are one to a process: again until it has heard the second.
        script.send(signal.SIGINT)
        await asyncio.wait([ending], timeout=0.2)
    assert ending.result() != 0
    errors = await script.errors()
    assert "KeyboardInterrupt" in errors
    assert "starts over" not in errors
    worker = await spawn(database)
    await worker.hear("hang script")


async def test_serving_that_is_cancelled_closes_what_it_opened(database):
    runtime = Runtime(database, Registry(patient, Slow()), grace=0)
    serving = asyncio.create_task(runtime.serve())
    async with Client(database) as client:
        handle = await client.start_orchestration("patient")
        async for status in handle.watch():
            if status.version is not None:
                break
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
    with pytest.raises(UsageError, match="not open"):
        _ = runtime.client


async def test_serving_elsewhere_than_in_the_main_thread_is_refused(database):
    with pytest.raises(UsageError, match="main thread"):
        await asyncio.to_thread(asyncio.run, Runtime(database, Registry(patient, Slow())).serve())


@pytest.mark.parametrize(("program", "said"), [(blocking, "blocked"), (deafening, "deaf")])
async def test_a_second_signal_leaves_though_an_activity_blocks_the_event_loop_for_ever(database, spawn, program, said):
    async with Client(database) as client:
        worker = await spawn(database)
        await client.start_orchestration(program)
        await worker.hear(said)

        worker.send(signal.SIGTERM)
        worker.send(signal.SIGINT)

        assert await worker.end() == 1


async def test_what_caught_signals_before_catches_them_after_serving(database):
    caught = []
    before = signal.signal(signal.SIGTERM, lambda number, _: caught.append(number))
    try:
        async with Runtime(database, Registry(patient, Slow())) as runtime:
            serving = asyncio.create_task(runtime.serve())
            while signal.getsignal(signal.SIGTERM).__module__ == __name__:
                await asyncio.sleep(0)
            signal.raise_signal(signal.SIGTERM)
            await serving
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert caught == [signal.SIGTERM]


@pytest.mark.parametrize("made_first", [True, False])
async def test_signals_that_the_program_gave_to_its_event_loop_are_heard_while_it_serves(database, made_first):
    loop = asyncio.get_running_loop()
    heard = asyncio.Event()
    async with Runtime(database, Registry(patient, Slow())) as runtime:
        if made_first:
            loop.add_signal_handler(signal.SIGUSR1, heard.set)
        serving = asyncio.create_task(runtime.serve())
        while signal.getsignal(signal.SIGTERM).__module__ != signals.__name__:
            await asyncio.sleep(0)
        if not made_first:
            loop.add_signal_handler(signal.SIGUSR1, heard.set)
        signal.raise_signal(signal.SIGUSR1)
        await heard.wait()
        heard.clear()
        signal.raise_signal(signal.SIGTERM)
        await serving
        signal.raise_signal(signal.SIGUSR1)
        await heard.wait()
        loop.remove_signal_handler(signal.SIGUSR1)


async def test_a_second_signal_leaves_at_once(database, spawn):
    async with Client(database) as client:
        worker = await spawn(database)
        handle = await client.start_orchestration(hanging)
        await worker.hear("hang")
        worker.send(signal.SIGTERM)
        worker.send(signal.SIGINT)
        assert await worker.end() != 0
        assert "closed" not in worker.said
        await spawn(database)
        assert "on delivery 2" in await handle.result(timeout=8)
