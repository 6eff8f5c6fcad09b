"""A runtime inside other programs: other event loops, several at once, several loops and threads, hostile moments."""

import asyncio
import threading
import warnings

import pytest
import uvloop

from perdure import (
    ActivityContext,
    Client,
    ExternalEvent,
    OrchestrationContext,
    OrchestrationError,
    Registry,
    Runtime,
    UsageError,
    activity,
    orchestration,
    run,
)
from perdure.testing import Environment

GO = ExternalEvent[str]("go")


@activity(name="add")
async def add(a: int, b: int) -> int:
    await asyncio.sleep(0)
    return a + b


@activity(name="thread-add")
def thread_add(a: int, b: int) -> int:
    return a + b


@orchestration(name="total")
async def total(ctx: OrchestrationContext, numbers: list[int]) -> int:
    async with asyncio.TaskGroup() as group:
        one = group.create_task(ctx.schedule_activity(add, numbers[0], numbers[1]))
        two = group.create_task(ctx.schedule_activity(thread_add, numbers[2], numbers[3]))
    async with asyncio.timeout(60):
        await asyncio.sleep(0.001)
    return one.result() + two.result()


@orchestration(name="waiting")
async def waiting(ctx: OrchestrationContext) -> str:
    return await ctx.schedule_wait(GO)


REGISTRY = Registry(add, thread_add, total, waiting)


async def work(url: str) -> int:
    async with Runtime(url, REGISTRY) as runtime:
        handle = await runtime.client.start_orchestration(total, [1, 2, 3, 4])
        other = await runtime.client.start_orchestration(waiting)
        await other.raise_event(GO, "on")
        assert await other.result() == "on"
        return await handle.result()


def test_on_uvloop(url):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            assert runner.run(work(url)) == 10


def test_in_asyncios_debug_mode(url):
    assert asyncio.run(work(url), debug=True) == 10


def test_under_an_eager_task_factory(url):
    factory = getattr(asyncio, "eager_task_factory", None)
    if factory is None:
        assert not hasattr(asyncio, "eager_task_factory")  # it came with Python 3.12
        return

    async def main() -> int:
        asyncio.get_running_loop().set_task_factory(factory)
        return await work(url)

    assert asyncio.run(main()) == 10


def test_one_loop_after_another_on_one_file(database):
    for _ in range(3):
        assert asyncio.run(work(database)) == 10


def test_the_same_runtime_object_in_one_loop_after_another(database):
    runtime = Runtime(database, REGISTRY)

    async def main() -> int:
        async with runtime:
            return await (await runtime.client.start_orchestration(total, [1, 2, 3, 4])).result()

    assert [asyncio.run(main()) for _ in range(3)] == [10, 10, 10]


def test_in_threads_with_loops_of_their_own(tmp_path):
    results: list[int] = []

    def thread(number: int) -> None:
        results.append(asyncio.run(work(f"sqlite:///{tmp_path / f'{number}.db'}")))

    threads = [threading.Thread(target=thread, args=(number,)) for number in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert results == [10, 10, 10]


async def test_two_runtimes_on_two_files_know_nothing_of_each_other(tmp_path):
    async with (
        Runtime(tmp_path / "one.db", REGISTRY) as one,
        Runtime(tmp_path / "two.db", REGISTRY) as two,
    ):
        handles = [await each.client.start_orchestration(waiting, instance_id="i") for each in (one, two)]
        await handles[0].raise_event(GO, "one")
        await handles[1].raise_event(GO, "two")
        assert [await handle.result() for handle in handles] == ["one", "two"]


async def test_two_runtimes_in_memory_know_nothing_of_each_other():
    async with Runtime("memory://", REGISTRY) as one, Runtime("memory://", REGISTRY) as two:
        await one.client.start_orchestration(waiting, instance_id="i")
        assert (await two.client.list_instances()).items == []


async def test_two_runtimes_on_one_file_share_its_work(database):
    async with Runtime(database, REGISTRY) as one, Runtime(database, REGISTRY) as two:
        handles = [
            await runtime.client.start_orchestration(total, [number, 0, 0, 0])
            for runtime in (one, two)
            for number in range(10)
        ]
        assert await asyncio.gather(*(handle.result() for handle in handles)) == [*range(10), *range(10)]
        handle = await one.client.start_orchestration(waiting, instance_id="i")
        await two.client.raise_event("i", GO, "across")
        assert await two.client.get_handle("i", waiting).result() == "across"
        assert await handle.result() == "across"


async def test_one_runtime_that_closes_hands_its_instances_to_the_other(database):
    async with Runtime(database, REGISTRY) as other:
        async with Runtime(database, REGISTRY) as closing:
            handle = await closing.client.start_orchestration(waiting, instance_id="i")
            assert not (await handle.status()).is_closed
        await other.client.raise_event("i", GO, "on")
        assert await other.client.get_handle("i", waiting).result() == "on"


async def test_a_runtime_inside_an_activity(tmp_path):
    @activity(name="nested")
    async def nested(ctx: ActivityContext) -> int:
        async with Runtime("memory://", REGISTRY) as runtime:
            return await (await runtime.client.start_orchestration(total, [1, 2, 3, 4])).result()

    @activity(name="nested-run")
    def nested_run(ctx: ActivityContext) -> int:
        return run(total, [1, 2, 3, 5], registry=REGISTRY)

    @orchestration(name="outer")
    async def outer(ctx: OrchestrationContext) -> list[int]:
        return [await ctx.schedule_activity(nested), await ctx.schedule_activity(nested_run)]

    async with Runtime(tmp_path / "shop.db", Registry(nested, nested_run, outer)) as runtime:
        assert await (await runtime.client.start_orchestration(outer)).result() == [10, 11]


async def test_a_runtime_or_client_inside_an_orchestration_is_refused(database):
    @orchestration(name="careless")
    async def careless(ctx: OrchestrationContext, what: str) -> str:
        opened = Runtime(database, REGISTRY) if what == "runtime" else Client(database)
        async with opened:
            return "open"

    async with Environment(Registry(careless)) as env:
        for what in ("runtime", "client"):
            with pytest.raises(OrchestrationError, match="orchestration") as caught:
                await env.run(careless, what)
            assert caught.value.caused_by(UsageError)


async def test_run_inside_a_running_loop_says_what_to_write():
    with pytest.raises(UsageError, match="async with Runtime"):
        run(total, [1, 2, 3, 4])


async def test_a_client_is_used_from_two_loops(database):
    async with Runtime(database, REGISTRY) as runtime:
        handle = await runtime.client.start_orchestration(waiting, instance_id="i")

        def elsewhere() -> str:
            async def ask() -> str:
                await runtime.client.raise_event("i", GO, "from another loop")
                return await runtime.client.get_handle("i", waiting).result()

            return asyncio.run(ask())

        assert await asyncio.to_thread(elsewhere) == "from another loop"
        assert await handle.result() == "from another loop"


@pytest.mark.parametrize(
    "options",
    [
        {"max_activities": 0},
        {"max_activities": 1.5},
        {"max_activities": True},
        {"activity_threads": -1},
        {"max_cached_instances": 0},
        {"grace": -1},
        {"durability": "none"},
        {"turn_limit": -1},
        {"turn_limit": float("nan")},
        {"worker_name": float("nan")},
        {"worker_name": "a\tb"},
        {"retention": 5},
    ],
)
def test_options_that_mean_nothing_are_refused_at_once(options):
    with pytest.raises(UsageError, match=next(iter(options))):
        Runtime("memory://", REGISTRY, **options)


@pytest.mark.parametrize("url", ["", "redis://x", "sqlite://", "sqlite:///", "memory://x", 7, None])
async def test_urls_that_mean_nothing_are_refused(url):
    with pytest.raises(UsageError, match="sqlite:///|path"):
        await Runtime(url, REGISTRY).__aenter__()
    with pytest.raises(UsageError, match="sqlite:///|path"):
        await Client(url).__aenter__()
