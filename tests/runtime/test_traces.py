"""What an orchestration logs is written once, however often it is replayed."""

import asyncio
import logging

import pytest

from perdure import ExternalEvent, OrchestrationContext, Registry, Runtime, activity, orchestration

GO = ExternalEvent[int]("go")


@activity(name="note")
async def note(text: str) -> str:
    return text


@orchestration(name="talk")
async def talk(ctx: OrchestrationContext, rounds: int) -> int:
    ctx.trace_info("begin", rounds=rounds)
    for number in range(rounds):
        await ctx.schedule_activity(note, f"round {number}")
        ctx.trace_debug("noted", number=number)
        await ctx.schedule_wait(GO)
        ctx.logger.warning("went %s", number)
    ctx.trace_error("end")
    return rounds


@pytest.mark.parametrize("cached", [10_000, 1], ids=["cached", "evicted"])
async def test_each_line_is_written_once(database, caplog, cached):
    caplog.set_level(logging.DEBUG, logger="perdure.orchestration")
    async with Runtime(database, Registry(talk, note), max_cached_instances=cached) as runtime:
        handle = await runtime.client.start_orchestration(talk, 3, instance_id="i")
        other = await runtime.client.start_orchestration(talk, 0, instance_id="other")
        await other.result()
        await handle.raise_event(GO, 1)
    for _ in range(2):
        async with Runtime(database, Registry(talk, note), max_cached_instances=cached) as runtime:
            handle = runtime.client.get_handle("i", talk)
            await handle.raise_event(GO, 1)
    async with Runtime(database, Registry(talk, note)) as runtime:
        assert await runtime.client.get_handle("i", talk).result() == 3
    written = [record.getMessage() for record in caplog.records if getattr(record, "instance_id", "") == "i"]
    assert written == [
        "begin rounds=3",
        *(line for number in range(3) for line in (f"noted number={number}", f"went {number}")),
        "end",
    ]


async def test_a_record_says_where_it_comes_from(caplog):
    caplog.set_level(logging.INFO, logger="perdure.orchestration")
    async with Runtime("memory://", Registry(talk, note)) as runtime:
        await (await runtime.client.start_orchestration(talk, 0, instance_id="i")).result()
    begin = caplog.records[0]
    assert (begin.instance_id, begin.execution_id, begin.orchestration, begin.orchestration_version) == (
        "i",
        1,
        "talk",
        "1.0.0",
    )
    assert begin.fields == {"rounds": 0}
    assert begin.pathname == __file__


async def test_code_knows_whether_it_is_replayed(database):
    runs: list[bool] = []

    @orchestration(name="look")
    async def look(ctx: OrchestrationContext) -> int:
        runs.append(ctx.is_replaying)
        number = await ctx.schedule_wait(GO)
        runs.append(ctx.is_replaying)
        return number

    async with Runtime(database, Registry(look)) as runtime:
        handle = await runtime.client.start_orchestration(look, instance_id="i")
        async for status in handle.watch():
            if status.version is not None:
                break
    async with Runtime(database, Registry(look)) as runtime:
        handle = runtime.client.get_handle("i", look)
        await handle.raise_event(GO, 1)
        await handle.result()
    assert runs == [False, True, False]


async def test_a_forgotten_task_that_failed_is_reported_once(caplog):
    @orchestration(name="forgetful")
    async def forgetful(ctx: OrchestrationContext) -> str:
        async def fail() -> None:
            raise LookupError("nobody will see this")

        task = asyncio.create_task(fail(), name="background")
        await ctx.schedule_activity(note, "on we go")
        return task.get_name()

    caplog.set_level(logging.WARNING, logger="perdure.runtime")
    async with Runtime("memory://", Registry(forgetful, note)) as runtime:
        await (await runtime.client.start_orchestration(forgetful)).result()
    assert [record.getMessage() for record in caplog.records if "nobody will see this" in record.getMessage()]


async def test_an_activity_that_still_runs_at_the_end_is_reported_with_its_line(caplog):
    @orchestration(name="hasty")
    async def hasty(ctx: OrchestrationContext) -> str:
        ctx.schedule_activity(note, "unawaited")
        await ctx.schedule_activity(note, "awaited")
        ctx.schedule_activity(note, "unawaited too")
        await asyncio.sleep(0)
        return "done"

    caplog.set_level(logging.WARNING, logger="perdure.runtime")
    async with Runtime("memory://", Registry(hasty, note)) as runtime:
        assert await (await runtime.client.start_orchestration(hasty)).result() == "done"
