"""Continue-as-new: a fresh history, the next input and version, and nothing lost on the way."""

import asyncio

import pytest

from perdure import (
    ActivityContext,
    ExternalEvent,
    OrchestrationCancelledError,
    OrchestrationContext,
    OrchestrationError,
    PayloadError,
    Registry,
    Runtime,
    Status,
    activity,
    orchestration,
)
from perdure.testing import Environment

ITEMS = ExternalEvent[int]("items")
STOP = ExternalEvent[str]("stop")


@activity(name="double")
async def double(ctx: ActivityContext, number: int) -> int:
    return number * 2


@orchestration(name="count", version="1.0.0")
async def count(ctx: OrchestrationContext, number: int, until: int) -> str:
    await ctx.schedule_activity(double, number)
    if number < until:
        ctx.continue_as_new(number + 1, until)
    return f"{number} in execution {ctx.execution_id} of version {ctx.version}"


async def test_each_execution_has_its_input_and_a_history_of_its_own(url):
    async with Runtime(url, Registry(count, double)) as runtime:
        handle = await runtime.client.start_orchestration(count, 1, 5, instance_id="i")
        assert await handle.result() == "5 in execution 5 of version 1.0.0"
        status = await handle.status()
        assert (status.execution_id, status.status) == (5, Status.COMPLETED)
        ends = []
        for execution in range(1, 6):
            events = [event async for event in runtime.client.history("i", execution_id=execution)]
            assert [event.id for event in events] == list(range(1, len(events) + 1))
            ends.append(events[-1].kind)
    assert ends == ["ContinuedAsNew"] * 4 + ["Completed"]


async def test_it_leaves_from_anywhere_and_nothing_after_it_runs():
    reached: list[str] = []

    @orchestration
    async def deep(ctx: OrchestrationContext, left: int) -> int:
        async def helper() -> None:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(asyncio.sleep(1000))
                    if left:
                        ctx.continue_as_new(left - 1)
                    raise TimeoutError
            except* TimeoutError:
                reached.append("handled")
            finally:
                reached.append("finally")

        await helper()
        reached.append("after")
        return ctx.execution_id

    async with Environment(Registry(deep)) as env:
        assert await env.run(deep, 2) == 3
    assert reached == ["finally", "finally", "handled", "finally", "after"]


async def test_inputs_that_do_not_fit_are_refused_at_the_call():
    @orchestration
    async def careless(ctx: OrchestrationContext, number: int) -> str:
        try:
            ctx.continue_as_new("not a number")
        except PayloadError as error:
            return str(error)

    async with Environment(Registry(careless)) as env:
        assert "int" in await env.run(careless, 1)


async def test_it_moves_to_the_latest_version_and_to_no_other_by_itself(database):
    @orchestration(name="loop", version="1.0.0")
    async def loop_1(ctx: OrchestrationContext, seen: list[str]) -> list[str]:
        await ctx.schedule_wait(ITEMS)
        ctx.continue_as_new([*seen, ctx.version])

    @orchestration(name="loop", version="1.10.0")
    async def loop_2(ctx: OrchestrationContext, seen: list[str]) -> list[str]:
        return [*seen, ctx.version]

    @orchestration(name="loop", version="1.9.0")
    async def between(ctx: OrchestrationContext, seen: list[str]) -> list[str]:
        return [*seen, "never"]

    async with Runtime(database, Registry(loop_1)) as runtime:
        await runtime.client.start_orchestration(loop_1, [], instance_id="i")
        await runtime.client.raise_event("i", ITEMS, 1)
        async for status in runtime.client.get_handle("i").watch():
            # Until its first turn an execution has no version.
            if status.execution_id == 2 and status.version is not None:
                break
    async with Runtime(database, Registry(loop_1, loop_2, between)) as runtime:
        handle = runtime.client.get_handle("i", loop_1)
        await handle.raise_event(ITEMS, 2)
        assert await handle.result() == ["1.0.0", "1.0.0", "1.10.0"]


async def test_it_moves_to_the_version_that_it_names():
    @orchestration(name="loop", version="1.0.0")
    async def loop_1(ctx: OrchestrationContext) -> str:
        return "back at 1"

    @orchestration(name="loop", version="2.0.0")
    async def loop_2(ctx: OrchestrationContext) -> str:
        ctx.continue_as_new(version="1.0.0")

    async with Environment(Registry(loop_1, loop_2)) as env:
        assert await env.run(loop_2) == "back at 1"


async def test_unread_events_are_carried_in_their_order():
    @orchestration
    async def collect(ctx: OrchestrationContext, seen: list[int]) -> list[int]:
        seen = [*seen, await ctx.schedule_wait(ITEMS)]
        if len(seen) < 6:
            ctx.continue_as_new(seen)
        return seen

    async with Environment(Registry(collect)) as env:
        handle = await env.client.start_orchestration(collect, [])
        for number in range(6):
            await handle.raise_event(ITEMS, number)
        assert await handle.result() == list(range(6))


async def test_a_thousand_unread_events_survive(url):
    @orchestration
    async def late(ctx: OrchestrationContext, execution: int) -> int:
        if execution < 3:
            await ctx.schedule_wait(STOP)
            ctx.continue_as_new(execution + 1)
        return sum([await ctx.schedule_wait(ITEMS) for _ in range(1000)])

    async with Runtime(url, Registry(late)) as runtime:
        handle = await runtime.client.start_orchestration(late, 1)
        await asyncio.gather(*(handle.raise_event(ITEMS, number) for number in range(1000)))
        for _ in range(2):
            await handle.raise_event(STOP, "now")
        assert await handle.result() == sum(range(1000))


async def test_events_and_a_cancel_that_come_while_it_happens_reach_the_next_execution():
    @orchestration
    async def endless(ctx: OrchestrationContext, total: int) -> int:
        try:
            total += await ctx.schedule_wait(ITEMS)
        except asyncio.CancelledError:
            ctx.set_custom_status({"total": total})
            raise
        ctx.continue_as_new(total)

    async with Environment(Registry(endless)) as env:
        handle = await env.client.start_orchestration(endless, 0)
        for number in range(1, 11):
            await handle.raise_event(ITEMS, number)
        await env.advance(1)
        await handle.cancel("enough")
        with pytest.raises(OrchestrationCancelledError, match="enough"):
            await handle.result()
        status = await handle.status()
    assert status.custom_status == {"total": 55}
    assert status.execution_id == 11


async def test_what_the_old_execution_asked_for_does_not_reach_the_new_one():
    started: list[str] = []
    may_end = asyncio.Event()

    @activity
    async def slow(ctx: ActivityContext, name: str) -> str:
        started.append(name)
        await may_end.wait()
        return name

    @orchestration
    async def impatient(ctx: OrchestrationContext, execution: int) -> str:
        answer = ctx.schedule_activity(slow, f"execution {execution}")
        if execution == 1:
            await ctx.schedule_wait(STOP)
            ctx.continue_as_new(2)
        return await answer

    async with Runtime("memory://", Registry(slow, impatient)) as runtime:
        handle = await runtime.client.start_orchestration(impatient, 1)
        await handle.raise_event(STOP, "now")
        async for status in handle.watch():
            if status.execution_id == 2:
                break
        may_end.set()
        assert await handle.result() == "execution 2"
    assert started[-1] == "execution 2"


async def test_children_of_every_execution_are_different_instances_and_all_report():
    @orchestration(name="child")
    async def child(ctx: OrchestrationContext, number: int) -> str:
        await asyncio.sleep(number)
        return ctx.instance_id

    @orchestration
    async def parent(ctx: OrchestrationContext, ids: list[str]) -> list[str]:
        ids = [*ids, await ctx.schedule_sub_orchestration(child, len(ids))]
        if len(ids) < 4:
            ctx.continue_as_new(ids)
        return ids

    async with Environment(Registry(parent, child)) as env:
        assert len(set(await env.run(parent, []))) == 4


async def test_open_children_of_the_old_execution_are_closed_by_their_policy():
    @orchestration(name="child")
    async def child(ctx: OrchestrationContext) -> int:
        return await ctx.schedule_wait(ITEMS)

    @orchestration
    async def parent(ctx: OrchestrationContext, execution: int) -> str:
        if execution == 2:
            return "second"
        ctx.schedule_sub_orchestration(child, instance_id="kept", on_close="abandon")
        ctx.schedule_sub_orchestration(child, instance_id="dropped")
        await ctx.schedule_timer(10)
        return ctx.continue_as_new(2)

    async with Environment(Registry(parent, child)) as env:
        assert await env.run(parent, 1) == "second"
        await env.advance(1)
        assert (await env.client.get_status("kept")).status is Status.RUNNING
        assert (await env.client.get_status("dropped")).status is Status.CANCELLED


async def test_the_custom_status_stays_until_it_is_set_again():
    @orchestration
    async def loop(ctx: OrchestrationContext, execution: int) -> int:
        if execution == 1:
            ctx.set_custom_status("from the first")
        if execution < 3:
            ctx.continue_as_new(execution + 1)
        return execution

    async with Environment(Registry(loop)) as env:
        handle = await env.client.start_orchestration(loop, 1)
        assert await handle.result() == 3
        assert (await handle.status()).custom_status == "from the first"


async def test_fifty_generations_of_a_loop_with_timers_on_test_time():
    @orchestration
    async def tick(ctx: OrchestrationContext, generation: int) -> int:
        await ctx.schedule_timer(60)
        if generation < 50:
            ctx.continue_as_new(generation + 1)
        return generation

    async with Environment(Registry(tick)) as env:
        began = env.now
        assert await env.run(tick, 1) == 50
        assert (env.now - began).total_seconds() == 50 * 60


async def test_a_failure_in_a_later_execution_fails_the_instance():
    @orchestration
    async def breaks(ctx: OrchestrationContext, execution: int) -> int:
        if execution == 3:
            raise RuntimeError("third time unlucky")
        ctx.continue_as_new(execution + 1)

    async with Environment(Registry(breaks)) as env:
        with pytest.raises(OrchestrationError, match="third time unlucky"):
            await env.run(breaks, 1)
