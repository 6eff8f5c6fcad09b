"""Retention: what need not be kept goes by itself, in bounded steps, and several workers may do it at once."""

from datetime import timedelta

import pytest

from perdure import ExternalEvent, OrchestrationContext, Registry, Retention, Runtime, Status, UsageError, orchestration
from perdure._runtime.retention import REST_US, RETIRED_MAX, Retirement
from perdure._work import Batch, Delete, InstanceChange, NewInstance, Prune, StartInstance, Turn
from perdure.storage.memory import MemoryStorage
from perdure.testing import Environment, ManualClock

GO = ExternalEvent[str]("go")
DAY = timedelta(days=1)


@orchestration(name="quick")
async def quick(ctx: OrchestrationContext, number: int) -> int:
    if number < 0:
        raise ValueError("negative")
    return number


@orchestration(name="wait")
async def wait(ctx: OrchestrationContext) -> str:
    return await ctx.schedule_wait(GO)


@orchestration(name="leaver")
async def leaver(ctx: OrchestrationContext) -> None:
    ctx.schedule_sub_orchestration(wait, instance_id="left-behind", on_close="abandon")


@orchestration(name="hourly")
async def hourly(ctx: OrchestrationContext) -> None:
    await ctx.schedule_timer(3600)
    ctx.continue_as_new()


REGISTRY = Registry(quick, wait, leaver, hourly)


async def ids(env: Environment) -> set[str]:
    return {each.instance_id for each in (await env.client.list_instances()).items}


async def test_each_kind_of_end_has_a_time_of_its_own():
    async with Environment(REGISTRY, retention=Retention(after=DAY, failed_after=3 * DAY)) as env:
        await env.client.start_orchestration(quick, 1, instance_id="completed")
        await env.client.start_orchestration(quick, -1, instance_id="failed")
        await env.client.start_orchestration(wait, instance_id="cancelled")
        await env.client.start_orchestration(wait, instance_id="open")
        await env.client.cancel("cancelled")
        await env.advance(DAY / 2)
        assert await ids(env) == {"completed", "failed", "cancelled", "open"}
        await env.advance(DAY)
        assert await ids(env) == {"failed", "cancelled", "open"}
        await env.advance(2 * DAY)
        assert await ids(env) == {"open"}


async def test_a_failure_is_kept_as_long_as_a_success_unless_told_otherwise():
    async with Environment(REGISTRY, retention=Retention(after=DAY)) as env:
        await env.client.start_orchestration(quick, -1, instance_id="failed")
        await env.advance(2 * DAY)
        assert await ids(env) == set()


async def test_only_failures_go_if_only_they_have_a_time():
    async with Environment(REGISTRY, retention=Retention(failed_after=DAY)) as env:
        await env.client.start_orchestration(quick, 1, instance_id="completed")
        await env.client.start_orchestration(quick, -1, instance_id="failed")
        await env.advance(2 * DAY)
        assert await ids(env) == {"completed"}


async def test_a_tree_of_which_something_is_open_stays_until_that_ends():
    async with Environment(REGISTRY, retention=Retention(after=DAY)) as env:
        await env.client.start_orchestration(leaver, instance_id="leaver")
        await env.advance(5 * DAY)
        assert await ids(env) == {"leaver", "left-behind"}
        await env.client.raise_event("left-behind", GO, "on")
        await env.advance(2 * DAY)
        assert await ids(env) == set()


async def test_an_endless_instance_keeps_its_newest_executions():
    async with Environment(REGISTRY, retention=Retention(executions=3)) as env:
        await env.client.start_orchestration(hourly, instance_id="clock")
        await env.advance(DAY)
        status = await env.client.get_status("clock")
        stored = await env.client.list_executions("clock")
        assert status.status is Status.RUNNING
        assert status.execution_id >= 24
        assert stored[-1].execution_id == status.execution_id
        assert len(stored) <= 3 + 1


async def test_nothing_goes_without_retention():
    async with Environment(REGISTRY) as env:
        await env.client.start_orchestration(quick, 1, instance_id="kept")
        await env.advance(10_000 * DAY)
        assert await ids(env) == {"kept"}


def ended(count: int) -> tuple[MemoryStorage, ManualClock]:
    """A store with so many completed instances."""
    clock = ManualClock()
    storage = MemoryStorage(clock)
    worker = storage.register(name="w", orchestrations=["quick@1.0.0"], activities=[]).worker
    turns = tuple(
        Turn(
            incarnation=number,
            execution=1,
            base=0,
            create=NewInstance(id=f"i-{number}", incarnation=number, name="quick", start=b"{}"),
            change=InstanceChange(status=Status.COMPLETED),
        )
        for number in range(1, count + 1)
    )
    storage.commit(Batch(token=b"t", items=turns, worker=worker))
    clock.advance(10)
    return storage, clock


def test_a_step_is_bounded_whatever_there_is_to_delete():
    storage, clock = ended(2 * RETIRED_MAX + 50)
    retirement = Retirement(storage, clock, Retention(after=0))

    steps = [len(retirement.next()) for _ in range(4)]

    assert steps == [RETIRED_MAX, RETIRED_MAX, 50, 0]


def test_at_the_end_of_the_store_it_rests_and_begins_again():
    storage, clock = ended(3)
    retirement = Retirement(storage, clock, Retention(after=0))

    first = retirement.next()
    resting = retirement.next()
    clock.advance(REST_US)
    again = retirement.next()

    assert first == again == [Delete(id=f"i-{number}", incarnation=number) for number in (1, 2, 3)]
    assert resting == ()


def test_two_workers_that_delete_the_same_harm_nothing():
    storage, clock = ended(3)
    retention = Retention(after=0)
    one, other = Retirement(storage, clock, retention).next(), Retirement(storage, clock, retention).next()
    storage.commit(Batch(token=b"1", items=tuple(one)))
    storage.commit(
        Batch(token=b"2", items=(StartInstance(new=NewInstance(id="i-2", incarnation=9, name="quick", start=b"{}")),))
    )

    storage.commit(Batch(token=b"3", items=tuple(other)))

    assert storage.get("i-1") is None
    assert storage.get("i-2") is not None


def test_one_that_goes_as_a_whole_is_not_pruned_as_well():
    storage, clock = ended(1)
    assert [type(item) for item in Retirement(storage, clock, Retention(after=0, executions=1)).next()] == [Delete]
    assert Prune not in {type(item) for item in Retirement(storage, clock, Retention(executions=1)).next()}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "removes nothing"),
        ({"after": -1}, "after must be"),
        ({"failed_after": "1 day"}, "failed_after must be"),
        ({"executions": 0}, "executions is 0"),
        ({"executions": 1.5}, "executions is 1.5"),
    ],
)
def test_a_retention_that_means_nothing_is_refused(options, words):
    with pytest.raises(UsageError, match=words):
        Retention(**options)


def test_a_runtime_takes_a_retention_and_nothing_else():
    with pytest.raises(UsageError, match="retention is 30"):
        Runtime("memory://", REGISTRY, retention=30)


async def test_a_worker_keeps_a_store_small(tmp_path):
    async with Runtime(tmp_path / "shop.db", REGISTRY) as runtime:
        handle = await runtime.client.start_orchestration(quick, 1, instance_id="a")
        assert await handle.result() == 1
    async with Runtime(tmp_path / "shop.db", REGISTRY, retention=Retention(after=0)) as runtime:
        while await runtime.client.count_instances():
            pass
