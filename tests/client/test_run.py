"""`run`: one orchestration from a script, in one call."""

import asyncio

import pytest

from perdure import (
    ActivityContext,
    Client,
    ExternalEvent,
    InstanceExistsError,
    OrchestrationContext,
    OrchestrationError,
    Registry,
    Runtime,
    UsageError,
    activity,
    orchestration,
    run,
)

calls: list[str] = []


@activity
async def note(ctx: ActivityContext, text: str) -> str:
    calls.append(text)
    return text


@orchestration
async def talk(ctx: OrchestrationContext, text: str, times: int = 1) -> list[str]:
    return [await ctx.schedule_activity(note, text) for _ in range(times)]


@orchestration
async def quiet(ctx: OrchestrationContext) -> None: ...


@orchestration
async def three(ctx: OrchestrationContext, a: int, b: int, c: int) -> int:
    return a + b + c


@orchestration
async def fails(ctx: OrchestrationContext) -> None:
    raise LookupError("no such thing")


def test_it_runs_with_what_the_module_defines_and_returns_the_result():
    assert run(talk, "hello", 2) == ["hello", "hello"]
    assert run(quiet) is None
    assert run(three, 1, 2, 3) == 6


def test_the_same_instance_id_returns_the_stored_result_and_runs_nothing_again(database):
    calls.clear()
    assert run(talk, "once", url=database, instance_id="i") == ["once"]
    assert run(talk, "once", url=database, instance_id="i") == ["once"]
    assert calls == ["once"]


def test_the_same_instance_id_goes_on_where_another_program_left_it(database):
    calls.clear()
    go = ExternalEvent[str]("go")

    @orchestration(name="two-steps")
    async def two_steps(ctx: OrchestrationContext) -> list[str]:
        first = await ctx.schedule_activity(note, "first")
        ctx.set_custom_status("half done")
        return [first, await ctx.schedule_wait(go)]

    registry = Registry(note, two_steps)

    async def half() -> None:
        async with Runtime(database, registry) as runtime:
            handle = await runtime.client.start_orchestration(two_steps, instance_id="i")
            async for status in handle.watch():
                if status.custom_status == "half done":
                    break
        async with Client(database) as client:
            await client.raise_event("i", go, "second")

    asyncio.run(half())
    assert run(two_steps, url=database, registry=registry, instance_id="i") == ["first", "second"]
    assert calls == ["first"]


def test_without_an_instance_id_every_run_is_another(database):
    calls.clear()
    for _ in range(2):
        run(talk, "again", url=database)
    assert calls == ["again", "again"]


def test_a_failure_is_raised():
    with pytest.raises(OrchestrationError, match="no such thing") as caught:
        run(fails)
    assert caught.value.caused_by(LookupError)


def test_what_is_no_orchestration_is_refused():
    for each in (note, quiet.fn, None):
        with pytest.raises(UsageError, match="@orchestration"):
            run(each)


def test_a_registry_may_be_given():
    @activity(name="only-here")
    async def only_here() -> str:
        return "here"

    @orchestration(name="local")
    async def local(ctx: OrchestrationContext) -> str:
        return await ctx.schedule_activity(only_here)

    assert run(local, registry=Registry(local, only_here)) == "here"


def test_a_stored_result_of_another_orchestration_is_no_result_of_this_one(database):
    run(three, 1, 2, 3, url=database, instance_id="i")
    with pytest.raises(InstanceExistsError, match=three.name):
        run(talk, "hello", url=database, instance_id="i")


def test_activities_that_wait_for_a_worker_with_their_tag_are_told_of(caplog):
    @activity(name="render", tag="gpu")
    async def render() -> None: ...

    assert run(quiet, registry=Registry(quiet, render)) is None

    [warning] = [record.getMessage() for record in caplog.records]
    assert warning.startswith("run() takes no activities with a tag, and there are some of 'gpu': they wait until")
