"""The KV store in a running worker: read from outside at any time, and by other orchestrations."""

import asyncio

import pytest

from perdure import (
    ActivityContext,
    Client,
    ExternalEvent,
    InstanceClosedError,
    InstanceNotFoundError,
    Key,
    LimitError,
    OrchestrationContext,
    OrchestrationError,
    PayloadError,
    Registry,
    ResultTimeoutError,
    Runtime,
    Status,
    UsageError,
    activity,
    orchestration,
)
from perdure.testing import Environment

COUNT = Key[int]("count")
NAMES = Key[list[str]]("names")
GO = ExternalEvent[str]("go")


@activity(name="shout")
async def shout(ctx: ActivityContext, name: str) -> str:
    return name.upper()


@orchestration(name="register")
async def register(ctx: OrchestrationContext, generation: int) -> int:
    """Takes names until it hears "end"; "new" makes another generation, "fail" an end of the other kind."""
    async for word in ctx.mailbox(GO):
        if word == "end":
            break
        if word == "new":
            ctx.continue_as_new(generation + 1)
        if word == "fail":
            raise ValueError(word)
        if word == "clear":
            ctx.kv.clear(NAMES)
            continue
        name = await ctx.schedule_activity(shout, word)
        ctx.kv.set(COUNT, ctx.kv.get(COUNT, 0) + 1)
        ctx.kv.set(NAMES, [*ctx.kv.get(NAMES, []), name])
    return ctx.kv.get(COUNT, 0)


@orchestration(name="reader")
async def reader(ctx: OrchestrationContext, instance_id: str) -> int | None:
    return await ctx.read_value(instance_id, COUNT)


async def until_read(handle, name) -> None:
    """Until the name is in the register."""
    while name not in (await handle.kv(NAMES) or []):
        news = await handle._gateway.news(handle.instance_id)  # noqa: SLF001 - every turn counts, not only those that change a status
        if name not in (await handle.kv(NAMES) or []):
            await news


REGISTRY = Registry(register, reader, shout)


async def test_it_is_read_while_it_runs_after_the_end_and_across_generations(url):
    async with Runtime(url, REGISTRY) as runtime:
        handle = await runtime.client.start_orchestration(register, 1)
        assert (await handle.kv(COUNT), await handle.kv_all()) == (None, {})
        await handle.raise_event(GO, "ada")
        assert await handle.wait_for_kv(COUNT) == 1
        await handle.raise_event(GO, "new")
        await handle.raise_event(GO, "bob")
        await handle.raise_event(GO, "end")
        assert await handle.result() == 2
        assert await handle.kv_all() == {"count": 2, "names": ["ADA", "BOB"]}
        assert await handle.kv(NAMES) == ["ADA", "BOB"]
        assert (await handle.status()).execution_id == 2


async def test_a_restarted_worker_goes_on_with_what_is_there(database):
    for name in ("ada", "bob", "cyd"):
        async with Runtime(database, REGISTRY) as runtime:
            handle = await runtime.client.start_orchestration(register, 1, instance_id="r", on_conflict="use_existing")
            await handle.raise_event(GO, name)
            await until_read(handle, name.upper())
    async with Client(database) as client:
        assert await client.get_handle("r").kv(NAMES) == ["ADA", "BOB", "CYD"]


async def test_a_failed_one_keeps_what_it_had_set(url):
    async with Runtime(url, REGISTRY) as runtime:
        handle = await runtime.client.start_orchestration(register, 1)
        for word in ("ada", "clear", "fail"):
            await handle.raise_event(GO, word)
        async for status in handle.watch():
            last = status.status
        assert last is Status.FAILED
        assert await handle.kv_all() == {"count": 1}


async def test_a_deleted_one_has_nothing(url):
    async with Runtime(url, REGISTRY) as runtime:
        handle = await runtime.client.start_orchestration(register, 1, instance_id="r")
        for word in ("ada", "end"):
            await handle.raise_event(GO, word)
        await handle.result()
        await runtime.client.delete("r")
        with pytest.raises(InstanceNotFoundError):
            await handle.kv(COUNT)
        with pytest.raises(InstanceNotFoundError):
            await handle.wait_for_kv(COUNT)
        again = await runtime.client.start_orchestration(register, 1, instance_id="r")
        assert await again.kv_all() == {}


async def test_waiting_for_a_value_ends_with_it_with_the_end_or_with_the_time(url):
    async with Runtime(url, REGISTRY) as runtime:
        handle = await runtime.client.start_orchestration(register, 1)
        with pytest.raises(ResultTimeoutError, match="did not set 'count' within"):
            await handle.wait_for_kv(COUNT, timeout=0.01)
        waiting = asyncio.create_task(handle.wait_for_kv(COUNT))
        await handle.raise_event(GO, "end")
        with pytest.raises(InstanceClosedError):
            await waiting


async def test_a_value_of_another_type_is_an_error_for_whoever_reads_it(url):
    async with Runtime(url, REGISTRY) as runtime:
        handle = await runtime.client.start_orchestration(register, 1)
        await handle.raise_event(GO, "ada")
        await handle.wait_for_kv(COUNT)
        with pytest.raises(PayloadError, match="'count'"):
            await handle.kv(Key[list[str]]("count"))


async def test_a_bare_name_is_no_key(url):
    async with Runtime(url, Registry(register, shout)) as runtime:
        handle = await runtime.client.start_orchestration(register, 1)
        for read in (handle.kv, handle.wait_for_kv):
            with pytest.raises(UsageError, match=r"Key\[int\]\('balance'\), and is no 'count'"):
                await read("count")


async def test_another_process_sees_a_value_without_asking_for_it(database):
    async with Runtime(database, REGISTRY) as runtime, Client(database) as client:
        mine = await runtime.client.start_orchestration(register, 1, instance_id="r")
        waiting = asyncio.create_task(client.get_handle("r").wait_for_kv(COUNT))
        changed = asyncio.create_task(client.get_handle("r").wait_for_status_change())
        await mine.raise_event(GO, "ada")
        assert await waiting == 1
        await mine.raise_event(GO, "end")
        assert (await changed).is_closed


async def test_other_orchestrations_read_it_and_remember_what_they_read():
    async with Environment(REGISTRY) as env:
        assert await env.run(reader, "nobody") is None
        handle = await env.client.start_orchestration(register, 1, instance_id="r")
        assert await env.run(reader, "r") is None
        await handle.raise_event(GO, "ada")
        await handle.wait_for_kv(COUNT)
        asking = await env.client.start_orchestration(reader, "r")
        assert await asking.result() == 1
        await handle.raise_event(GO, "bob")
        await handle.raise_event(GO, "end")
        await handle.result()
        kinds = [event.kind async for event in env.client.history(asking.instance_id)]
        assert kinds == ["Started", "ActivityScheduled", "ActivityCompleted", "Completed"]
        assert await asking.result() == 1


async def test_a_limit_that_is_passed_fails_the_instance_that_does_not_catch_it():
    @orchestration
    async def greedy(ctx: OrchestrationContext) -> None:
        for turn in range(11):
            for number in range(100):
                ctx.kv.set(Key[int](f"{turn}/{number}"), number)
            await ctx.schedule_timer(1)

    async with Environment(Registry(greedy)) as env:
        handle = await env.client.start_orchestration(greedy)
        with pytest.raises(OrchestrationError) as failed:
            await handle.result()
        assert failed.value.caused_by(LimitError)
        assert len(await handle.kv_all()) == 1_000


async def test_i06_branches_share_the_store_and_children_have_their_own():
    @orchestration(name="child")
    async def child(ctx: OrchestrationContext) -> int:
        ctx.kv.set(COUNT, ctx.kv.get(COUNT, 0) + 1)
        return ctx.kv.get(COUNT, 0)

    @orchestration(name="parent")
    async def parent(ctx: OrchestrationContext) -> list[object]:
        async def branch(seconds: float) -> int:
            await ctx.schedule_timer(seconds)
            ctx.kv.set(COUNT, ctx.kv.get(COUNT, 0) + 10)
            return ctx.kv.get(COUNT, 0)

        together = await asyncio.gather(*(branch(seconds) for seconds in (3, 1, 2)))
        first = await ctx.select2(branch(5), branch(4))
        return [together, first, await ctx.schedule_sub_orchestration(child), ctx.kv.get(COUNT, 0)]

    async with Environment(Registry(parent, child)) as env:
        assert await env.run(parent) == [[30, 10, 20], [1, 40], 1, 40]


async def test_the_builtin_activity_is_not_listed_among_what_a_worker_can_run(url):
    async with Runtime(url, REGISTRY) as runtime:
        [worker] = await runtime.client.list_workers()
        assert worker.activities == ("shout",)
