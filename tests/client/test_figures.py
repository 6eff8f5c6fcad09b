"""What a client is told of trees, executions, counts and queues."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from perdure import (
    ExternalEvent,
    InstanceNotFoundError,
    LimitError,
    OrchestrationContext,
    Registry,
    Runtime,
    Status,
    SyncClient,
    UsageError,
    activity,
    orchestration,
)

GO = ExternalEvent[str]("go")


@activity(name="note")
async def note(number: int) -> int:
    return number


@orchestration(name="leaf")
async def leaf(ctx: OrchestrationContext) -> str:
    return await ctx.schedule_wait(GO)


@orchestration(name="branch")
async def branch(ctx: OrchestrationContext, leaves: int) -> list[str]:
    names = [f"{ctx.instance_id}-{number}" for number in range(leaves)]
    return await asyncio.gather(*(ctx.schedule_sub_orchestration(leaf, instance_id=name) for name in names))


@orchestration(name="trunk")
async def trunk(ctx: OrchestrationContext) -> None:
    await asyncio.gather(
        ctx.schedule_sub_orchestration(branch, 2, instance_id="left"),
        ctx.schedule_sub_orchestration(branch, 1, instance_id="right"),
    )


@orchestration(name="rounds")
async def rounds(ctx: OrchestrationContext, left: int) -> str:
    await ctx.schedule_activity(note, left)
    if left:
        ctx.continue_as_new(left - 1)
    return await ctx.schedule_wait(GO)


REGISTRY = Registry(leaf, branch, trunk, rounds, note)


async def until_running(runtime: Runtime, *ids: str) -> None:
    for each in ids:
        while True:
            try:
                async for status in runtime.client.get_handle(each).watch():
                    if status.version is not None:
                        break
                break
            except InstanceNotFoundError:
                await asyncio.sleep(0)


async def test_a_tree_has_parents_before_children_at_every_depth(url):
    async with Runtime(url, REGISTRY) as runtime:
        await runtime.client.start_orchestration(trunk, instance_id="trunk")
        await until_running(runtime, "trunk", "left", "right", "left-0", "left-1", "right-0")

        tree = await runtime.client.get_tree("trunk")

        assert [(depth, each.instance_id) for depth, each in tree.walk()] == [
            (0, "trunk"), (1, "left"), (2, "left-0"), (2, "left-1"), (1, "right"), (2, "right-0"),
        ]  # fmt: skip
        assert tree.instance.status is Status.RUNNING
        assert [each.instance.instance_id for each in (await runtime.client.get_tree("left")).children] == [
            "left-0",
            "left-1",
        ]
        children = await runtime.client.list_instances(parent="trunk")
        assert [each.instance_id for each in children.items] == ["right", "left"]
        roots = await runtime.client.list_instances(roots_only=True)
        assert [each.instance_id for each in roots.items] == ["trunk"]
        assert len((await runtime.client.list_instances(root="trunk", status="running")).items) == 6


async def test_a_tree_that_is_too_large_says_how_to_list_it(url, monkeypatch):
    monkeypatch.setattr("perdure._client.management.FAMILY_MAX", 2)
    async with Runtime(url, REGISTRY) as runtime:
        await runtime.client.start_orchestration(branch, 2, instance_id="branch")
        await until_running(runtime, "branch-0", "branch-1")

        with pytest.raises(LimitError, match="more than 2 instances: list them by parent or root"):
            await runtime.client.get_tree("branch")


async def test_executions_are_told_with_the_current_one_last(url):
    async with Runtime(url, REGISTRY) as runtime:
        await runtime.client.start_orchestration(rounds, 2, instance_id="a")
        async for status in runtime.client.get_handle("a").watch():
            if status.execution_id == 3 and status.version is not None:
                break

        first, second, third = await runtime.client.list_executions("a")

        assert [first.execution_id, second.execution_id, third.execution_id] == [1, 2, 3]
        assert [first.status, second.status, third.status] == [None, None, Status.RUNNING]
        assert first.events == 4
        assert first.size_bytes > 100
        assert first.started_at <= first.updated_at <= second.started_at
        [event] = [each async for each in runtime.client.history("a", execution_id=1) if each.kind == "ContinuedAsNew"]
        assert event.id == first.events


async def test_one_that_nobody_has_begun_has_an_execution_without_events(database):
    async with Runtime(database, Registry(note)) as runtime:
        await runtime.client.start_orchestration("leaf", instance_id="a")

        [only] = await runtime.client.list_executions("a")

    assert (only.execution_id, only.status, only.started_at, only.events) == (1, Status.PENDING, None, 0)


async def test_counts_are_by_orchestration_and_status_and_filters_narrow_them(url):
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        await client.start_orchestration(branch, 2, instance_id="branch")
        await until_running(runtime, "branch", "branch-0", "branch-1")

        counts = await client.count_instances()
        leaves = await client.count_instances(parent="branch", status=[Status.RUNNING, Status.HELD])
        old = await client.count_instances(created_before=datetime.now(UTC) - timedelta(hours=1))

    assert [(each.name, each.status, each.count) for each in counts] == [
        ("branch", "running", 1),
        ("leaf", "running", 2),
    ]
    assert [(each.name, each.count) for each in leaves] == [("leaf", 2)]
    assert old == []


async def test_queues_tell_what_waits_and_for_how_long(database):
    async with Runtime(database, Registry(note)) as runtime:
        await runtime.client.start_orchestration("leaf", instance_id="a")
        queues = await runtime.client.get_queues()

    assert (queues.ready_instances, queues.messages, queues.timers, queues.held_instances) == (1, 1, 0, 0)
    assert queues.ready_age >= timedelta(0)
    assert (queues.held_age, queues.activities) == (None, [])


async def test_what_is_not_there_is_an_error(url):
    async with Runtime(url, REGISTRY) as runtime:
        for ask in (runtime.client.get_tree, runtime.client.list_executions):
            with pytest.raises(InstanceNotFoundError):
                await ask("nobody")


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ({"stat": "failed"}, "there is no filter 'stat': use attributes, created_after"),
        ({"created_after": datetime(2026, 1, 1)}, "no time zone"),  # noqa: DTZ001 - that is the mistake
        ({"parent": ""}, "must not be empty"),
    ],
)
async def test_a_filter_that_means_nothing_is_refused(filters, words):
    async with Runtime("memory://", REGISTRY) as runtime:
        with pytest.raises(UsageError, match=words):
            await runtime.client.count_instances(**filters)


async def test_the_synchronous_client_tells_the_same(database):
    async with Runtime(database, REGISTRY) as runtime:
        await runtime.client.start_orchestration(leaf, instance_id="a")
        await until_running(runtime, "a")

        def look():
            with SyncClient(database) as client:
                return (
                    client.count_instances(),
                    client.get_tree("a").instance.instance_id,
                    [each.events for each in client.list_executions("a")],
                    client.get_queues().held_instances,
                )

        [count], root, events, held = await asyncio.to_thread(look)

    assert (count.name, count.count, root, events, held) == ("leaf", 1, "a", [2], 0)
