"""Sub-orchestrations: typed and by name, their ids and versions, and what becomes of them when their parent ends."""

import asyncio
import contextlib

import pytest

from perdure import (
    ClosePolicy,
    ExternalEvent,
    InstanceExistsError,
    OrchestrationCancelledError,
    OrchestrationContext,
    OrchestrationError,
    OrchestrationTerminatedError,
    Registry,
    Runtime,
    Status,
    UsageError,
    orchestration,
)
from perdure.testing import Environment

GO = ExternalEvent[str]("go")


@orchestration(name="double", version="1.0.0")
async def double(ctx: OrchestrationContext, number: int) -> int:
    return number * 2


@orchestration(name="double", version="2.0.0")
async def double_2(ctx: OrchestrationContext, number: int) -> int:
    return number * 2 + 1000


@orchestration(name="who")
async def who(ctx: OrchestrationContext) -> str:
    return ctx.instance_id


@orchestration(name="wait")
async def wait(ctx: OrchestrationContext) -> str:
    return await ctx.schedule_wait(GO)


@orchestration(name="stubborn")
async def stubborn(ctx: OrchestrationContext) -> str:
    try:
        return await ctx.schedule_wait(GO)
    except asyncio.CancelledError:
        await ctx.schedule_timer(5)
        ctx.set_custom_status("tidied up")
        raise


async def ended(env: Environment, instance_id: str) -> Status:
    handle = env.client.get_handle(instance_id)
    with contextlib.suppress(OrchestrationError):
        await handle.result()
    return (await handle.status()).status


async def test_children_run_and_return(url):
    @orchestration
    async def parent(ctx: OrchestrationContext, count: int) -> list[int]:
        return await asyncio.gather(*(ctx.schedule_sub_orchestration(double, n) for n in range(count)))

    async with Runtime(url, Registry(double, parent)) as runtime:
        handle = await runtime.client.start_orchestration(parent, 20)
        assert await handle.result() == [n * 2 for n in range(20)]


async def test_children_have_children():
    @orchestration(name="tree")
    async def tree(ctx: OrchestrationContext, depth: int) -> int:
        if depth == 0:
            return 1
        below = [ctx.schedule_sub_orchestration("tree", depth - 1, returns=int) for _ in range(2)]
        return 1 + sum(await asyncio.gather(*below))

    async with Environment(Registry(tree)) as env:
        assert await env.run(tree, 4) == 31


async def test_a_child_by_name_is_read_as_asked():
    @orchestration
    async def parent(ctx: OrchestrationContext) -> int:
        return await ctx.schedule_sub_orchestration("double", 21, returns=int)

    async with Environment(Registry(double, parent)) as env:
        assert await env.run(parent) == 42


async def test_a_child_has_the_latest_version_unless_one_is_named():
    @orchestration
    async def parent(ctx: OrchestrationContext) -> list[int]:
        return [
            await ctx.schedule_sub_orchestration(double, 1),
            await ctx.schedule_sub_orchestration(double, 1, version="1.0.0"),
            await ctx.schedule_sub_orchestration("double", 1, returns=int, version="2.0.0"),
        ]

    async with Environment(Registry(double, double_2, parent)) as env:
        assert await env.run(parent) == [1002, 2, 1002]


async def test_a_pinned_version_holds_for_children():
    @orchestration
    async def parent(ctx: OrchestrationContext) -> int:
        return await ctx.schedule_sub_orchestration(double_2, 1)

    async with Environment(Registry(double, double_2, parent, version_policy={"double": "1.0.0"})) as env:
        assert await env.run(parent) == 2


async def test_a_child_has_the_id_it_is_given_or_one_of_its_own():
    @orchestration
    async def parent(ctx: OrchestrationContext) -> list[str]:
        named = ctx.schedule_sub_orchestration(who, instance_id="child-1")
        derived = [ctx.schedule_sub_orchestration(who) for _ in range(2)]
        assert [each.instance_id for each in [named, *derived]] == await asyncio.gather(named, *derived)
        return [each.instance_id for each in [named, *derived]]

    async with Environment(Registry(who, parent)) as env:
        handle = await env.client.start_orchestration(parent, instance_id="order-7")
        named, one, two = await handle.result()
    assert named == "child-1"
    assert one != two
    assert one.startswith("order-7~")
    assert two.startswith("order-7~")


async def test_an_id_that_marks_derived_ones_is_refused():
    @orchestration
    async def parent(ctx: OrchestrationContext) -> str:
        try:
            ctx.schedule_sub_orchestration(who, instance_id="x~abcdefghijklm")
        except UsageError as error:
            return str(error)
        return ""

    async with Environment(Registry(who, parent)) as env:
        assert "marks the derived ids" in await env.run(parent)


@pytest.mark.parametrize("is_open", [True, False], ids=["open", "closed"])
async def test_an_id_that_is_taken_is_an_error_that_the_parent_catches(is_open):
    @orchestration
    async def parent(ctx: OrchestrationContext) -> str:
        try:
            await ctx.schedule_sub_orchestration(who, instance_id="taken")
        except OrchestrationError as error:
            if error.caused_by(InstanceExistsError):
                return await ctx.schedule_sub_orchestration(who, instance_id="free")
        return ""

    async with Environment(Registry(who, wait, parent)) as env:
        other = await env.client.start_orchestration(wait if is_open else who, instance_id="taken")
        if not is_open:
            await other.result()
        assert await env.run(parent) == "free"
        if is_open:
            await other.raise_event(GO, "still here")
            assert await other.result() == "still here"


async def test_a_childs_outcome_is_typed_by_how_it_ended():
    @orchestration
    async def parent(ctx: OrchestrationContext) -> list[str]:
        kinds = []
        for instance_id in ("cancelled", "terminated"):
            try:
                await ctx.schedule_sub_orchestration(wait, instance_id=instance_id)
            except OrchestrationError as error:
                kinds.append(f"{type(error).__name__}: {error.error.message}")
        return kinds

    async with Environment(Registry(wait, parent)) as env:
        handle = await env.client.start_orchestration(parent)
        await env.advance(1)
        await env.client.cancel("cancelled", "changed my mind")
        await env.advance(1)
        await env.client.terminate("terminated", "enough")
        assert await handle.result() == [
            "OrchestrationCancelledError: changed my mind",
            "OrchestrationTerminatedError: enough",
        ]


@pytest.mark.parametrize(
    ("on_close", "status"),
    [("cancel", Status.CANCELLED), ("terminate", Status.TERMINATED), ("abandon", Status.RUNNING)],
)
@pytest.mark.parametrize("how", ["returns", "fails", "is cancelled"])
async def test_a_parent_that_ends_decides_what_becomes_of_its_children(on_close: ClosePolicy, status, how):
    @orchestration
    async def parent(ctx: OrchestrationContext) -> None:
        ctx.schedule_sub_orchestration(wait, instance_id="child", on_close=on_close)
        await ctx.schedule_timer(10)
        if how == "fails":
            raise RuntimeError("so be it")
        if how == "is cancelled":
            await ctx.schedule_wait("never")

    async with Environment(Registry(wait, parent)) as env:
        handle = await env.client.start_orchestration(parent)
        await env.advance(11)
        if how == "is cancelled":
            await handle.cancel()
        await env.advance(1)
        assert (await handle.status()).is_closed
        assert (await env.client.get_status("child")).status is status


async def test_a_terminated_parent_terminates_its_children_and_theirs():
    @orchestration(name="top")
    async def top(ctx: OrchestrationContext, depth: int) -> None:
        if depth:
            await ctx.schedule_sub_orchestration("top", depth - 1, instance_id=f"level-{depth}", returns=object)
        else:
            await ctx.schedule_wait("never")

    async with Environment(Registry(top)) as env:
        handle = await env.client.start_orchestration(top, 3)
        await env.advance(1)
        await handle.terminate("enough")
        with pytest.raises(OrchestrationTerminatedError, match="enough"):
            await handle.result()
        for depth in (3, 2, 1):
            assert await ended(env, f"level-{depth}") is Status.TERMINATED


async def test_an_abandoned_child_survives_its_terminated_parent():
    @orchestration
    async def parent(ctx: OrchestrationContext) -> None:
        await ctx.schedule_sub_orchestration(wait, instance_id="child", on_close="abandon")

    async with Environment(Registry(wait, parent)) as env:
        handle = await env.client.start_orchestration(parent)
        await env.advance(1)
        await handle.terminate()
        await env.advance(1)
        child = env.client.get_handle("child", wait)
        await child.raise_event(GO, "on my own")
        assert await child.result() == "on my own"


async def test_a_child_that_is_no_longer_wanted_may_compensate():
    @orchestration
    async def parent(ctx: OrchestrationContext) -> int:
        child = ctx.schedule_sub_orchestration(stubborn, instance_id="child")
        index, _ = await ctx.select2(ctx.schedule_timer(10), child)
        return index

    async with Environment(Registry(stubborn, parent)) as env:
        assert await env.run(parent) == 0
        assert await ended(env, "child") is Status.CANCELLED
        assert (await env.client.get_status("child")).custom_status == "tidied up"


async def test_a_child_that_was_cancelled_by_its_parent_in_the_turn_that_asked_for_it_never_runs():
    @orchestration
    async def parent(ctx: OrchestrationContext) -> bool:
        child = ctx.schedule_sub_orchestration(wait, instance_id="child")
        child.cancel()
        return True

    async with Environment(Registry(wait, parent)) as env:
        assert await env.run(parent)
        assert (await env.client.list_instances(name="wait")).items == []


async def test_a_parent_that_cancels_awaits_the_end_of_its_child():
    @orchestration
    async def parent(ctx: OrchestrationContext) -> str:
        task = asyncio.create_task(ctx.schedule_sub_orchestration(stubborn, instance_id="child"))
        try:
            return await task
        except OrchestrationCancelledError as error:
            return f"the child said: {error.error.message}"

    async with Environment(Registry(stubborn, parent)) as env:
        handle = await env.client.start_orchestration(parent)
        await env.advance(1)
        await env.client.cancel("child", "go home")
        assert await handle.result() == "the child said: go home"


async def test_a_child_that_continues_as_new_still_reports():
    @orchestration(name="countdown")
    async def countdown(ctx: OrchestrationContext, left: int) -> str:
        if left:
            ctx.continue_as_new(left - 1)
        return f"execution {ctx.execution_id}"

    @orchestration
    async def parent(ctx: OrchestrationContext) -> str:
        return await ctx.schedule_sub_orchestration(countdown, 4)

    async with Environment(Registry(countdown, parent)) as env:
        assert await env.run(parent) == "execution 5"


async def test_an_unknown_child_is_held_until_a_worker_has_it(database):
    @orchestration(name="parent")
    async def parent(ctx: OrchestrationContext) -> int:
        return await ctx.schedule_sub_orchestration("double", 4, returns=int, instance_id="child")

    async with Runtime(database, Registry(parent)) as runtime:
        handle = await runtime.client.start_orchestration(parent, instance_id="parent")
        async for status in runtime.client.get_handle("parent").watch():
            if status.status is Status.RUNNING:
                break
        assert not (await handle.status()).is_closed
    async with Runtime(database, Registry(parent, double)) as runtime:
        assert await runtime.client.get_handle("parent", parent).result() == 8
