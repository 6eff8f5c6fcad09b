"""What a worker tells of what it has done."""

import asyncio

import pytest

from perdure import (
    ActivityContext,
    Backoff,
    ExternalEvent,
    NonRetryableError,
    OrchestrationContext,
    Registry,
    RetryPolicy,
    Runtime,
    Status,
    StorageUnavailableError,
    UsageError,
    activity,
    orchestration,
)
from perdure._runtime.tallies import VERSIONS_MAX
from perdure.observability.counting import CLASSES_MAX, OTHERS, InstrumentedStorage, count
from perdure.storage.memory import MemoryStorage

GO = ExternalEvent[str]("go")


class CardDeclined(Exception): ...


@activity(name="work")
async def work(ctx: ActivityContext, kind: str) -> str | None:
    match kind:
        case "fail":
            raise NonRetryableError("never")
        case "once more" if ctx.attempt == 1:
            raise CardDeclined
        case "slow":
            await asyncio.Event().wait()
        case "not yet" if ctx.last_heartbeat(int) is None:
            ctx.heartbeat(1)
            return None
        case _:
            pass
    return kind


@orchestration(name="order", version="1.0.0")
async def order(ctx: OrchestrationContext, kind: str) -> str:
    if kind == "raise":
        raise CardDeclined
    if kind in {"wait", "again"}:
        if await ctx.schedule_wait(GO) == "again":
            ctx.continue_as_new("done")
        return kind
    if kind == "child":
        return await ctx.schedule_sub_orchestration(order, "done")
    return await ctx.schedule_activity(work, kind, retry=RetryPolicy(3, backoff=Backoff.fixed(0)))


@orchestration(name="order", version="2.0.0")
async def newer(ctx: OrchestrationContext, kind: str) -> str:
    return kind


REGISTRY = Registry(order, work)


def versions_of(runtime):
    return {(each.name, each.version): each for each in runtime.metrics().orchestrations}


async def test_orchestrations_are_counted_by_how_they_began_and_ended(url):
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        for kind in ("done", "child", "raise", "wait", "again", "terminated"):
            await client.start_orchestration(order, "wait" if kind == "terminated" else kind, instance_id=kind)
        await client.get_handle("again").raise_event(GO, "again")
        await client.get_handle("wait").cancel()
        await client.get_handle("terminated").terminate()
        for kind in ("done", "child", "raise", "wait", "again", "terminated"):
            await asyncio.wait([asyncio.ensure_future(client.get_handle(kind).result())])

        told = versions_of(runtime)["order", "1.0.0"]
        metrics = runtime.metrics()

    assert (told.started, told.completed, told.failed) == (7, 4, 1)
    assert (told.cancelled, told.terminated, told.continued_as_new, told.held) == (1, 1, 1, 0)
    [error] = told.errors.items()
    assert error[0].endswith("CardDeclined")
    assert error[1] == 1
    assert told.seconds.count == 7
    assert metrics.children == 1
    assert metrics.turns >= 12
    assert metrics.items.count >= 1
    assert metrics.items.total >= metrics.turns


async def test_versions_are_counted_apart(url):
    async with Runtime(url, Registry(order, newer, work)) as runtime:
        await runtime.client.start_orchestration(order, "wait", instance_id="old", version="1.0.0")
        await (await runtime.client.start_orchestration("order", "x", instance_id="new")).result()
        told = versions_of(runtime)

    assert {key: (each.started, each.completed) for key, each in told.items()} == {
        ("order", "1.0.0"): (1, 0),
        ("order", "2.0.0"): (1, 1),
    }


async def test_activities_are_counted_by_how_their_attempts_ended(url):
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        for kind in ("done", "once more", "slow"):
            await client.start_orchestration(order, kind, instance_id=kind)
        with pytest.raises(Exception, match="never"):
            await (await client.start_orchestration(order, "fail")).result()
        for kind in ("done", "once more"):
            await client.get_handle(kind).result()
        assert runtime.metrics().activities_running == 1
        await client.get_handle("slow").cancel()
        with pytest.raises(Exception, match="cancelled"):
            await client.get_handle("slow").result()
        while runtime.metrics().activities_running:
            await asyncio.sleep(0)
        [told] = runtime.metrics().activities

    assert (told.name, told.completed, told.failed, told.retried, told.cancelled) == ("work", 2, 1, 1, 1)
    assert (told.timed_out, told.polled, told.held, told.returned, told.lost) == (0, 0, 0, 0, 0)
    assert {name.rpartition(".")[2]: number for name, number in told.errors.items()} == {
        "NonRetryableError": 1,
        "CardDeclined": 1,
    }
    assert told.seconds.count == 5


async def test_what_ends_by_a_limit_or_has_no_answer_is_told_apart(url):
    @orchestration(name="late")
    async def late(ctx: OrchestrationContext) -> None:
        await ctx.schedule_activity(work, "slow", retry=RetryPolicy(1, attempt_timeout=0.01))

    @orchestration(name="poll")
    async def poll(ctx: OrchestrationContext) -> str | None:
        return await ctx.poll_until(work, "not yet", every=0.001)

    async with Runtime(url, Registry(late, poll, work)) as runtime:
        with pytest.raises(Exception, match=r"0\.01 s"):
            await (await runtime.client.start_orchestration(late)).result()
        assert await (await runtime.client.start_orchestration(poll)).result() == "not yet"
        [told] = runtime.metrics().activities

    assert (told.timed_out, told.polled, told.completed) == (1, 1, 1)
    assert told.errors == {"builtins.TimeoutError": 1}
    assert told.seconds.quantile(1.0) >= 0.01


async def test_a_shutdown_hands_back_what_runs(url):
    async with Runtime(url, REGISTRY, grace=0) as runtime:
        await runtime.client.start_orchestration(order, "slow")
        while not runtime.metrics().activities_running:
            await asyncio.sleep(0)

    [told] = runtime.metrics().activities
    assert (told.returned, told.completed) == (1, 0)


async def test_transactional_activities_count_as_completed_where_their_commit_landed(database):
    @activity(name="book", transactional=True)
    async def book(ctx: ActivityContext) -> int:
        return 1

    @orchestration(name="booking")
    async def booking(ctx: OrchestrationContext) -> int:
        return await ctx.schedule_activity(book)

    async with Runtime(database, Registry(booking, book)) as runtime:
        assert await (await runtime.client.start_orchestration(booking)).result() == 1
        while not (told := runtime.metrics().activities) or not told[0].seconds.count:
            await asyncio.sleep(0)
        [told] = runtime.metrics().activities

    assert (told.completed, told.lost, told.returned) == (1, 0, 0)


async def test_a_held_instance_and_a_replay_are_counted(database):
    @orchestration(name="order", version="1.0.0")
    async def changed(ctx: OrchestrationContext, kind: str) -> str:
        await ctx.schedule_timer(1)
        return kind

    async with Runtime(database, REGISTRY) as runtime:
        for instance_id in ("a", "b"):
            await runtime.client.start_orchestration(order, "wait", instance_id=instance_id)
    async with Runtime(database, REGISTRY) as runtime:
        assert runtime.metrics().replays == 0
        await runtime.client.get_handle("b").raise_event(GO, "done")
        assert await runtime.client.get_handle("b").result() == "wait"
        assert runtime.metrics().replays == 1
    async with Runtime(database, Registry(changed, work)) as runtime:
        await runtime.client.get_handle("a").raise_event(GO, "done")
        async for status in runtime.client.get_handle("a").watch():
            if status.status is Status.HELD:
                break
        told = versions_of(runtime)["order", "1.0.0"]

    assert (told.held, told.held_by) == (1, {"perdure.errors.ReplayMismatchError": 1})


async def test_the_store_is_told_by_its_calls(url):
    async with Runtime(url, REGISTRY) as runtime:
        await (await runtime.client.start_orchestration(order, "done")).result()
        calls = {each.call: each for each in runtime.metrics().storage}

    assert calls["commit"].seconds.count >= 1
    assert calls["commit"].seconds.total > 0
    assert calls["commit"].errors == {}
    assert calls["register"].seconds.count == 1


def test_a_call_of_the_store_that_raises_is_counted_by_its_class_and_raises_as_before(clock):
    class Away(MemoryStorage):
        def depths(self):
            raise StorageUnavailableError("it is away")

    storage = InstrumentedStorage(Away(clock), clock)

    with pytest.raises(StorageUnavailableError, match="it is away"):
        storage.depths()

    tally = storage.tallies["depths"]
    assert (sum(tally.us.buckets), tally.errors) == (1, {"StorageUnavailableError": 1})


async def test_gauges_are_right_through_start_continue_as_new_completion_and_restart(database):
    async with Runtime(database, REGISTRY) as runtime:
        assert runtime.metrics().cached_instances == 0
        for instance_id in ("a", "b"):
            await runtime.client.start_orchestration(order, "wait", instance_id=instance_id)
        assert runtime.metrics().cached_instances == 2

        await runtime.client.get_handle("a").raise_event(GO, "again")
        assert await runtime.client.get_handle("a").result() == "done"

        assert runtime.metrics().cached_instances == 1
        assert versions_of(runtime)["order", "1.0.0"].continued_as_new == 1

    async with Runtime(database, REGISTRY) as runtime:
        metrics, [running] = runtime.metrics(), await runtime.client.count_instances(status="running")
        assert (metrics.cached_instances, metrics.turns, running.count) == (0, 0, 1)
        await runtime.client.get_handle("b").raise_event(GO, "done")
        assert await runtime.client.get_handle("b").result() == "wait"
        assert (runtime.metrics().cached_instances, await runtime.client.count_instances(status="running")) == (0, [])


async def test_activities_beyond_the_slots_wait():
    async with Runtime("memory://", REGISTRY, max_activities=2, grace=0) as runtime:
        for _ in range(5):
            await runtime.client.start_orchestration(order, "slow")
        while runtime.metrics().activities_running + runtime.metrics().activities_waiting < 5:
            await asyncio.sleep(0)
        metrics = runtime.metrics()

    assert (metrics.activities_running, metrics.activities_waiting) == (2, 3)


async def test_they_are_there_after_the_end_and_not_before_the_beginning(url):
    runtime = Runtime(url, REGISTRY)
    with pytest.raises(UsageError, match="not open yet"):
        runtime.metrics()
    async with runtime:
        await (await runtime.client.start_orchestration(order, "done")).result()

    assert versions_of(runtime)["order", "1.0.0"].completed == 1


def test_so_many_classes_are_counted_apart():
    classes: dict[str, int] = {}
    for number in range(CLASSES_MAX + 5):
        count(classes, f"Error{number}")

    assert len(classes) == CLASSES_MAX + 1
    assert classes[OTHERS] == 5


def test_so_many_versions_are_counted_apart(settled_turn):
    tally = settled_turn([f"{number}.0.0" for number in range(VERSIONS_MAX + 3)])

    assert len(tally.orchestrations) == VERSIONS_MAX + 1
    assert sum(each.started for each in tally.orchestrations.values()) == VERSIONS_MAX + 3
