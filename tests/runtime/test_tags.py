"""Tags: an activity goes to the workers that serve its tag, whichever worker has its orchestration."""

import asyncio

import pytest

from perdure import (
    ActivityContext,
    ActivityTimeoutError,
    LimitError,
    OrchestrationContext,
    Registry,
    Runtime,
    Tags,
    UsageError,
    activity,
    orchestration,
)


class Place:
    """Activities that say where they run."""

    def __init__(self, name: str) -> None:
        self._name = name

    @activity(name="plain")
    async def plain(self, _: ActivityContext) -> str:
        return self._name

    @activity(name="tagged", tag="gpu")
    async def tagged(self, _: ActivityContext) -> str:
        return self._name


@orchestration(name="everywhere")
async def everywhere(ctx: OrchestrationContext) -> list[str]:
    return list(
        await asyncio.gather(
            ctx.schedule_activity(Place.plain),
            ctx.schedule_activity(Place.tagged),
            ctx.schedule_activity(Place.tagged, tag="big"),
            ctx.schedule_activity("plain", returns=str, tag="big"),
        )
    )


@orchestration(name="again")
async def again(ctx: OrchestrationContext, times: int) -> str:
    where = await ctx.schedule_activity(Place.tagged)
    if times:
        ctx.continue_as_new(times - 1)
    return where


async def test_each_worker_runs_what_it_serves(database):
    async with (
        Runtime(database, Registry(Place("here"), everywhere)) as first,
        Runtime(database, Registry(Place("gpu")), tags=Tags("gpu")),
        Runtime(database, Registry(Place("big")), tags=Tags("big", "huge")),
    ):
        handle = await first.client.start_orchestration(everywhere)
        assert await handle.result() == ["here", "gpu", "big", "big"]
        assert [str(worker.tags) for worker in await first.client.list_workers()] == ["untagged", "gpu", "big, huge"]


async def test_one_worker_may_serve_all(url):
    async with Runtime(url, Registry(Place("here"), everywhere), tags=Tags.all_but("small")) as runtime:
        handle = await runtime.client.start_orchestration(everywhere)
        assert await handle.result() == ["here"] * 4


async def test_one_may_run_orchestrations_only(database):
    async with (
        Runtime(database, Registry(Place("first"), everywhere), tags=Tags()) as first,
        Runtime(database, Registry(Place("second")), tags=Tags.all_but()),
    ):
        handle = await first.client.start_orchestration(everywhere)
        assert await handle.result() == ["second"] * 4


async def test_what_nobody_serves_is_told_and_ends_by_a_timer_or_its_limit(url):
    @orchestration(name="rescued")
    async def rescued(ctx: OrchestrationContext) -> list[object]:
        first = await ctx.select2(ctx.schedule_activity(Place.tagged), ctx.schedule_timer(0.1))
        try:
            await ctx.schedule_activity(Place.tagged, schedule_to_start=0.1)
        except ActivityTimeoutError:
            await ctx.schedule_activity(Place.plain)
            ctx.set_custom_status("rescued")
            await ctx.schedule_activity(Place.tagged)
        return [*first]

    async with Runtime(url, Registry(Place("here"), rescued)) as runtime:
        handle = await runtime.client.start_orchestration(rescued)
        async for status in handle.watch():
            if status.custom_status == "rescued":
                break
        [queue] = (await runtime.client.get_queues()).activities
        assert (queue.name, queue.tag, queue.waiting, queue.served) == ("tagged", "gpu", 1, False)
        await handle.terminate()


async def test_the_tag_is_in_history_and_a_name(url):
    @orchestration(name="long")
    async def long(ctx: OrchestrationContext, size: int) -> None:
        await ctx.schedule_activity("plain", returns=str, tag="t" * size)

    async with Runtime(url, Registry(Place("here"), long), tags=Tags("t" * 256)) as runtime:
        handle = await runtime.client.start_orchestration(long, 256, instance_id="fits")
        await handle.result()
        asked = [event async for event in runtime.client.history("fits") if event.kind == "ActivityScheduled"]
        assert [event.data["tag"] for event in asked] == ["t" * 256]
        with pytest.raises(Exception, match="at most 256"):
            await (await runtime.client.start_orchestration(long, 257)).result()


async def test_a_tag_goes_on_after_a_continue_as_new(database):
    async with (
        Runtime(database, Registry(Place("here"), again)) as first,
        Runtime(database, Registry(Place("gpu")), tags=Tags("gpu", untagged=True)),
    ):
        handle = await first.client.start_orchestration(again, 2)
        assert await handle.result() == "gpu"


def test_tags_are_names_and_said_in_words():
    assert [str(each) for each in (Tags(), Tags(untagged=True), Tags("a", "b", "a"), Tags("a", untagged=True))] == [
        "none",
        "untagged",
        "a, b",
        "untagged, a",
    ]
    assert [str(Tags.all_but()), str(Tags.all_but("a"))] == ["all", "all but a"]
    with pytest.raises(UsageError, match="tag must not be empty"):
        Tags("")
    with pytest.raises(LimitError, match="at most 100"):
        Tags(*map(str, range(101)))
    with pytest.raises(UsageError, match="use Tags"):
        Runtime("memory://", Registry(), tags=["gpu"])
