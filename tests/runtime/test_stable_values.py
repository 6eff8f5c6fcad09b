"""Time, ids and chance of an orchestration are the same after every restart, eviction and replay."""

import random
import uuid
from datetime import UTC, datetime, timedelta

from perdure import ExternalEvent, OrchestrationContext, Registry, Runtime, activity, orchestration
from perdure.testing import Environment

GO = ExternalEvent[int]("go")


@activity(name="note")
async def note(text: str) -> str:
    return text


def seen_by(ctx: OrchestrationContext) -> list[str]:
    return [
        ctx.utc_now().isoformat(),
        str(ctx.new_guid()),
        str(ctx.random.random()),
        str(ctx.random.randint(1, 10**9)),
        ctx.instance_id,
        str(ctx.execution_id),
        ctx.version,
    ]


@orchestration(name="look")
async def look(ctx: OrchestrationContext, rounds: int) -> list[str]:
    seen = seen_by(ctx)
    await ctx.schedule_activity(note, seen[1])
    for _ in range(rounds):
        await ctx.schedule_wait(GO)
        ctx.set_custom_status(seen)
        seen += seen_by(ctx)
    return seen


async def test_they_are_the_same_after_a_restart(database):
    async with Runtime(database, Registry(look, note)) as runtime:
        handle = await runtime.client.start_orchestration(look, 3, instance_id="i")
        await handle.raise_event(GO, 1)
        async for status in handle.watch():
            if status.custom_status:
                before = status.custom_status
                break
    for _ in range(2):
        async with Runtime(database, Registry(look, note)) as runtime:
            handle = runtime.client.get_handle("i", look)
            await handle.raise_event(GO, 1)
            async for status in handle.watch():
                if status.is_closed or len(status.custom_status) > len(before):
                    break
            assert status.is_closed or status.custom_status[: len(before)] == before
    async with Runtime(database, Registry(look, note)) as runtime:
        assert (await runtime.client.get_handle("i", look).result())[: len(before)] == before


async def test_two_instances_and_two_executions_see_different_ones():
    @orchestration
    async def ids(ctx: OrchestrationContext, seen: list[str]) -> list[str]:
        seen = [*seen, str(ctx.new_guid()), str(ctx.new_guid()), str(ctx.random.random())]
        if ctx.execution_id == 1:
            ctx.continue_as_new(seen)
        return seen

    async with Environment(Registry(ids)) as env:
        seen = [*await env.run(ids, []), *await env.run(ids, [])]
    assert len(set(seen)) == len(seen) == 12


async def test_a_guid_is_a_uuid_and_random_the_standard_librarys():
    @orchestration
    async def kinds(ctx: OrchestrationContext) -> bool:
        guid = ctx.new_guid()
        return isinstance(guid, uuid.UUID) and guid.version == 4 and isinstance(ctx.random, random.Random)

    async with Environment(Registry(kinds)) as env:
        assert await env.run(kinds)


async def test_now_is_the_time_of_the_event_at_hand():
    @orchestration
    async def clock(ctx: OrchestrationContext) -> list[datetime]:
        times = [ctx.utc_now()]
        await ctx.schedule_timer(timedelta(days=40))
        times.append(ctx.utc_now())
        await ctx.schedule_timer(times[0] + timedelta(days=50))
        times.append(ctx.utc_now())
        return times

    async with Environment(Registry(clock)) as env:
        one, two, three = await env.run(clock)
    assert (two - one, three - two) == (timedelta(days=40), timedelta(days=10))
    assert one.tzinfo is UTC


async def test_now_is_plausible_on_the_real_clock():
    @orchestration
    async def clock(ctx: OrchestrationContext) -> datetime:
        return ctx.utc_now()

    before = datetime.now(UTC)
    async with Runtime("memory://", Registry(clock)) as runtime:
        seen = await (await runtime.client.start_orchestration(clock)).result()
    assert before <= seen <= datetime.now(UTC)


async def test_a_timer_for_a_moment_that_is_past_fires_at_once_and_time_does_not_go_back():
    @orchestration
    async def late(ctx: OrchestrationContext) -> bool:
        now = ctx.utc_now()
        await ctx.schedule_timer(now - timedelta(hours=1))
        await ctx.schedule_timer(0)
        return ctx.utc_now() >= now

    async with Environment(Registry(late)) as env:
        assert await env.run(late)
