"""Setting aside and bringing back: suspend and resume, retry and discard."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from perdure import (
    ActivityError,
    ExternalEvent,
    InstanceClosedError,
    InstanceNotFoundError,
    NotHeldError,
    OrchestrationCancelledError,
    OrchestrationContext,
    OrchestrationTerminatedError,
    PoisonedError,
    Registry,
    ResultTimeoutError,
    Runtime,
    Status,
    StuckError,
    SyncClient,
    UsageError,
    activity,
    orchestration,
)
from perdure._work import Batch, Claim, TaskHold
from perdure.storage.sqlite import SqliteStorage

GO = ExternalEvent[str]("go")


@activity(name="charge")
async def charge(cents: int) -> str:
    return f"charged {cents}"


@orchestration(name="wait")
async def wait(ctx: OrchestrationContext) -> str:
    return await ctx.schedule_wait(GO)


@orchestration(name="pay")
async def pay(ctx: OrchestrationContext) -> str:
    try:
        return await ctx.schedule_activity(charge, 42)
    except ActivityError as error:
        return f"poisoned: {error.error.message}" if error.caused_by(PoisonedError) else "failed"


@orchestration(name="stuck")
async def stuck(ctx: OrchestrationContext) -> None:
    await asyncio.Event().wait()


@orchestration(name="parent")
async def parent(ctx: OrchestrationContext) -> str:
    try:
        return await ctx.schedule_sub_orchestration(stuck, instance_id="child")
    except OrchestrationTerminatedError as error:
        return error.error.message


REGISTRY = Registry(charge, wait, pay, stuck, parent)


async def until(runtime: Runtime, instance_id: str, status: Status) -> None:
    while True:
        try:
            async for seen in runtime.client.get_handle(instance_id).watch():
                if seen.status is status:
                    return
        except InstanceNotFoundError:
            await asyncio.sleep(0)


async def test_a_suspended_instance_takes_no_turns_until_it_is_resumed(url):
    async with Runtime(url, REGISTRY) as runtime:
        handle = await runtime.client.start_orchestration(wait, instance_id="a")
        await until(runtime, "a", Status.RUNNING)
        await runtime.client.suspend("a", "audit")
        await handle.raise_event(GO, "on")
        other = await runtime.client.start_orchestration(pay)
        assert await other.result() == "charged 42"
        status = await handle.status()
        assert (status.status, status.held_because) == (Status.SUSPENDED, "audit")
        await runtime.client.resume("a")
        assert await handle.result() == "on"


async def test_a_suspended_instance_that_has_not_begun_is_ended_by_a_cancel(url):
    async with Runtime(url, REGISTRY) as runtime:
        tomorrow = timedelta(days=1)
        handle = await runtime.client.start_orchestration(wait, instance_id="a", start_at=datetime.now(UTC) + tomorrow)
        await runtime.client.suspend("a")
        await handle.cancel()
        with pytest.raises(OrchestrationCancelledError):
            await handle.result()


async def test_a_suspended_instance_hears_of_a_cancel_when_it_is_resumed(url):
    async with Runtime(url, REGISTRY) as runtime:
        handle = await runtime.client.start_orchestration(wait, instance_id="a")
        await until(runtime, "a", Status.RUNNING)
        await runtime.client.suspend("a", "audit")
        await handle.cancel()
        other = await runtime.client.start_orchestration(pay)
        assert await other.result() == "charged 42"
        assert (await handle.status()).status is Status.SUSPENDED
        await runtime.client.resume("a")
        with pytest.raises(OrchestrationCancelledError):
            await handle.result()


async def test_a_suspended_instance_can_be_ended(url):
    async with Runtime(url, REGISTRY) as runtime:
        handle = await runtime.client.start_orchestration(wait, instance_id="a")
        await until(runtime, "a", Status.RUNNING)
        await runtime.client.suspend("a")
        await handle.terminate("enough")
        with pytest.raises(OrchestrationTerminatedError):
            await handle.result()


async def test_resuming_what_runs_is_harmless(url):
    async with Runtime(url, REGISTRY) as runtime:
        handle = await runtime.client.start_orchestration(wait, instance_id="a")
        await until(runtime, "a", Status.RUNNING)
        await runtime.client.resume("a")
        await runtime.client.retry("a")
        await handle.raise_event(GO, "on")
        assert await handle.result() == "on"


async def test_a_held_instance_is_tried_again_by_the_worker_that_held_it(url):
    async with Runtime(url, REGISTRY) as runtime:
        handle = await runtime.client.start_orchestration(stuck, instance_id="a")
        await until(runtime, "a", Status.HELD)
        before = (await handle.status()).updated_at
        await runtime.client.retry("a")
        async for status in handle.watch():
            if status.status is Status.HELD and status.updated_at > before:
                break
        assert StuckError.__name__ in ((await handle.status()).held_because or "")


async def test_a_discarded_instance_is_terminated_and_its_parent_hears_why(url):
    async with Runtime(url, REGISTRY) as runtime:
        handle = await runtime.client.start_orchestration(parent, instance_id="parent")
        await until(runtime, "child", Status.HELD)
        await runtime.client.discard("child")
        assert (await handle.result()).startswith("discarded: perdure.errors.StuckError")
        assert (await runtime.client.get_status("child")).status is Status.TERMINATED


def hold(path) -> int:
    """A worker takes the one activity there is, and sets it aside; its event."""
    storage = SqliteStorage(path)
    worker = storage.register(name="w", orchestrations=[], activities=["charge"]).worker
    committed = storage.commit(Batch(token=b"1", items=(), worker=worker, claim=Claim(instances_max=0, tasks_max=1)))
    [task] = committed.work.tasks
    item = TaskHold(incarnation=task.incarnation, execution=1, event=task.event, reason="it kills")
    storage.commit(Batch(token=b"2", items=(item,), worker=worker))
    storage.unregister(worker)
    storage.close()
    return task.event


async def held_payment(path) -> int:
    async with Runtime(path, Registry(pay)) as runtime:
        await runtime.client.start_orchestration(pay, instance_id="a")
        while not (await runtime.client.get_queues()).activities:
            await asyncio.sleep(0)
    return await asyncio.to_thread(hold, path)


async def test_a_held_activity_is_listed_and_tried_again(tmp_path):
    path = tmp_path / "shop.db"
    event = await held_payment(path)
    async with Runtime(path, REGISTRY) as runtime:
        [held] = await runtime.client.list_held_activities()
        assert (held.instance_id, held.event_id, held.name, held.held_because) == ("a", event, "charge", "it kills")
        await runtime.client.start_orchestration(wait, instance_id="b")
        assert await runtime.client.list_held_activities(instance_id="a") == [held]
        assert await runtime.client.list_held_activities(instance_id="b") == []
        with pytest.raises(NotHeldError):
            await runtime.client.retry("a", event_id=event + 1)
        await runtime.client.retry("a", event_id=event)
        assert await runtime.client.get_handle("a", pay).result() == "charged 42"
        assert await runtime.client.list_held_activities() == []


async def test_a_discarded_activity_fails_where_it_is_awaited(tmp_path):
    path = tmp_path / "shop.db"
    event = await held_payment(path)
    async with Runtime(path, REGISTRY) as runtime:
        with pytest.raises(NotHeldError):
            await runtime.client.discard("a", event_id=event + 1)
        with pytest.raises(NotHeldError):
            await runtime.client.discard("a")
        await runtime.client.discard("a", event_id=event)
        assert await runtime.client.get_handle("a", pay).result() == "poisoned: discarded: it kills"


async def test_with_its_instance_a_held_activity_is_tried_again(tmp_path):
    path = tmp_path / "shop.db"
    await held_payment(path)
    async with Runtime(path, REGISTRY) as runtime:
        await runtime.client.retry("a")
        assert await runtime.client.get_handle("a", pay).result() == "charged 42"


async def test_what_is_not_there_or_has_ended_is_refused(url):
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        handle = await client.start_orchestration(pay, instance_id="done")
        await handle.result()
        for verb in (client.suspend, client.resume, client.retry):
            with pytest.raises(InstanceNotFoundError):
                await verb("nobody")
            with pytest.raises(InstanceClosedError):
                await verb("done")
        with pytest.raises(InstanceNotFoundError):
            await client.discard("nobody")
        with pytest.raises(NotHeldError, match="'done'"):
            await client.discard("done")
        with pytest.raises(UsageError, match="limit is 0"):
            await client.list_held_activities(limit=0)
        with pytest.raises(InstanceNotFoundError):
            await client.list_held_activities(instance_id="nobody")


async def test_who_has_waited_in_vain_hears_that_somebody_must_act(url):
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        open_, held = await client.start_orchestration(wait), await client.start_orchestration(stuck)
        await until(runtime, held.instance_id, Status.HELD)
        set_aside = await client.start_orchestration(wait)
        quiet = await client.start_orchestration(wait)
        await client.suspend(set_aside.instance_id, "audit")
        await client.suspend(quiet.instance_id)
        for handle, words in (
            (open_, "it goes on, ask again$"),
            (held, "it is held: perdure.errors.StuckError: .*"),
            (set_aside, "it is suspended until it is resumed: audit$"),
            (quiet, "it is suspended until it is resumed$"),
        ):
            with pytest.raises(ResultTimeoutError, match=rf"did not end within 0 s; {words}"):
                await handle.result(timeout=0)


async def test_the_synchronous_client_does_the_same(database):
    async with Runtime(database, REGISTRY) as runtime:
        await runtime.client.start_orchestration(wait, instance_id="a")
        await runtime.client.start_orchestration(stuck, instance_id="b")
        await until(runtime, "a", Status.RUNNING)
        await until(runtime, "b", Status.HELD)

        def work():
            with SyncClient(database) as client:
                client.suspend("a", "audit")
                suspended = client.get_status("a").held_because
                client.resume("a")
                client.discard("b", reason="no use")
                return suspended, client.list_held_activities()

        assert await asyncio.to_thread(work) == ("audit", [])
        await until(runtime, "b", Status.TERMINATED)
        await runtime.client.retry("a")
