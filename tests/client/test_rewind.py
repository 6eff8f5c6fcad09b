"""A failed instance goes on from before the turn in which it failed, with code that was mended."""

import asyncio

import pytest

from perdure import (
    ActivityContext,
    ActivityError,
    Client,
    ExternalEvent,
    InstanceNotFoundError,
    Key,
    Limit,
    OrchestrationContext,
    OrchestrationError,
    Registry,
    RewindError,
    Runtime,
    Status,
    SyncClient,
    activity,
    orchestration,
)

GO = ExternalEvent[str]("go")
STEPS = Key[int]("steps")

ran: list[tuple[str, str]] = []
broken = {"activity": True, "code": True}


@activity(name="charge")
async def charge(ctx: ActivityContext, what: str) -> str:
    ran.append((what, ctx.idempotency_key))
    if what == "bad" and broken["activity"]:
        raise ValueError("no funds")
    return f"charged {what}"


@orchestration(name="pay")
async def pay(ctx: OrchestrationContext) -> list[str]:
    ctx.set_custom_status("begun")
    ctx.kv.set(STEPS, 1)
    good = await ctx.schedule_activity(charge, "good")
    ctx.kv.set(STEPS, 2)
    bad = await ctx.schedule_activity(charge, "bad")
    return [good, bad]


@orchestration(name="listen")
async def listen(ctx: OrchestrationContext) -> str:
    word = await ctx.schedule_wait(GO)
    ctx.set_custom_status("heard")
    ctx.kv.set(STEPS, 7)
    child = await ctx.schedule_sub_orchestration(quiet, word) if word == "child" else ""
    if broken["code"]:
        raise ValueError("a bug")
    await ctx.schedule_timer(0)
    return word + child


@orchestration(name="starts")
async def starts(ctx: OrchestrationContext, word: str) -> str:
    if word == "child":
        ctx.schedule_sub_orchestration(quiet, word, on_close="abandon")
    if broken["code"]:
        raise ValueError("a bug")
    return word


@orchestration(name="quiet")
async def quiet(ctx: OrchestrationContext, word: str) -> str:
    return f", {word}"


@orchestration(name="above")
async def above(ctx: OrchestrationContext) -> list[str]:
    return await ctx.schedule_sub_orchestration(pay, instance_id="below")


@orchestration(name="both")
async def both(ctx: OrchestrationContext) -> list[str]:
    waiting = ctx.schedule_wait(GO)
    activity_ = ctx.schedule_activity(charge, "other")
    try:
        await ctx.schedule_activity(charge, "bad")
    finally:
        pass
    return [await activity_, await waiting]


@orchestration(name="in-section")
async def in_section(ctx: OrchestrationContext) -> str:
    async with ctx.limit("till", 1):
        return await ctx.schedule_activity(charge, "bad", limit=Limit("bank", concurrency=1))


@orchestration(name="before-section")
async def before_section(ctx: OrchestrationContext) -> str:
    async with ctx.limit("till", 1):
        if broken["code"]:
            raise ValueError("a bug")
    return "out"


REGISTRY = Registry(charge, pay, listen, starts, quiet, above, both, in_section, before_section)


@pytest.fixture(autouse=True)
def _fresh():
    ran.clear()
    broken.update(activity=True, code=True)


async def failed(client: Client, orchestration, *inputs: object, instance_id: str = "a") -> None:
    handle = await client.start_orchestration(orchestration, *inputs, instance_id=instance_id)
    if orchestration is listen:
        await handle.raise_event(GO, "word")
    with pytest.raises(OrchestrationError):
        await handle.result()


async def test_an_activity_whose_failure_failed_it_is_tried_again_with_the_same_key_and_no_other_is(url):
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        await failed(client, pay)
        broken["activity"] = False
        await client.rewind("a")
        assert await client.get_handle("a").result() == ["charged good", "charged bad"]
        status = await client.get_status("a")
        assert (status.status, status.error, status.custom_status) == (Status.COMPLETED, None, "begun")
    assert [what for what, _ in ran] == ["good", "bad", "bad"]
    assert ran[1] == ran[2]


async def test_what_the_turn_was_told_is_told_again_to_mended_code(url):
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        await failed(client, listen)
        broken["code"] = False
        await client.rewind("a")
        assert await client.get_handle("a").result() == "word"


async def test_status_and_values_are_as_they_were_before_the_turn(database):
    async with Runtime(database, REGISTRY) as runtime:
        await failed(runtime.client, listen)
    async with Client(database) as client:
        before = await client.get_status("a")
        await client.rewind("a")
        status = await client.get_status("a")
        assert (before.custom_status, status.custom_status) == ("heard", None)
        assert status.custom_status_version == before.custom_status_version + 1
        assert (status.status, status.error) == (Status.RUNNING, None)
        assert await client.get_handle("a").kv(STEPS) is None
        assert [event.kind async for event in client.history("a")] == ["Started", "WaitStarted"]


async def test_an_activity_that_was_open_runs_again_and_one_that_ended_does_not(database):
    async with Runtime(database, REGISTRY) as runtime:
        client = runtime.client
        await failed(client, both)
        broken["activity"] = False
        before = len(ran)
        await client.rewind("a")
        await client.raise_event("a", GO, "on")
        assert await client.get_handle("a").result() == ["charged other", "on"]
    assert [what for what, _ in ran[before:]].count("bad") == 1


async def test_one_that_failed_in_its_first_turn_begins_anew_and_asks_for_its_children_again(url):
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        await failed(client, starts, "child")
        tree = await client.get_tree("a")
        while not all(each.instance.is_closed for each in tree.children):
            tree = await client.get_tree("a")
        broken["code"] = False
        await client.rewind("a")
        assert await client.get_handle("a").result() == "child"
        again = await client.get_tree("a")
        assert [each.instance.instance_id for each in again.children] == [
            each.instance.instance_id for each in tree.children
        ]


async def test_a_parent_goes_on_after_its_child_was_rewound(url):
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        await failed(client, above)
        await client.rewind("a")
        with pytest.raises(OrchestrationError):
            await client.get_handle("a").result()
        broken["activity"] = False
        await client.rewind("below")
        assert await client.get_handle("below").result() == ["charged good", "charged bad"]
        await client.rewind("a")
        assert await client.get_handle("a").result() == ["charged good", "charged bad"]


async def test_a_parent_waits_for_a_child_that_runs_again(database):
    async with Runtime(database, REGISTRY) as runtime:
        await failed(runtime.client, above)
    broken["activity"] = False
    async with Client(database) as client:
        await client.rewind("below")
        await client.rewind("a")
    async with Runtime(database, REGISTRY) as runtime:
        assert await runtime.client.get_handle("a").result() == ["charged good", "charged bad"]


async def test_code_that_is_not_mended_fails_again(url):
    async with Runtime(url, REGISTRY) as runtime:
        await failed(runtime.client, pay)
        await runtime.client.rewind("a")
        with pytest.raises(OrchestrationError) as caught:
            await runtime.client.get_handle("a").result()
        assert caught.value.caused_by(ActivityError) or "no funds" in str(caught.value)


async def test_only_what_has_failed_goes_back(url):
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        with pytest.raises(InstanceNotFoundError):
            await client.rewind("nobody")
        handle = await client.start_orchestration(quiet, "x", instance_id="done")
        await handle.result()
        with pytest.raises(RewindError, match="it is completed, and only what has failed goes back"):
            await client.rewind("done")


def test_a_program_without_an_event_loop_does_the_same(database):
    async def fail() -> None:
        async with Runtime(database, REGISTRY) as runtime:
            await failed(runtime.client, pay)

    asyncio.run(fail())
    with SyncClient(database) as client:
        client.rewind("a")
        assert client.get_status("a").status is Status.RUNNING


async def test_it_has_again_what_it_had_of_limits(database):
    async with Runtime(database, REGISTRY) as runtime:
        await failed(runtime.client, in_section)
        assert await runtime.client.list_limits() == []
    async with Client(database) as client:
        await client.rewind("a")
        (place,) = await client.list_limit_users("till")
        assert (place.instance_id, place.running) == ("a", True)
        (call,) = await client.list_limit_users("bank")
        assert (call.activity, call.running) == ("charge", False)
    broken["activity"] = False
    async with Runtime(database, REGISTRY) as runtime:
        assert await runtime.client.get_handle("a").result() == "charged bad"
        assert await runtime.client.list_limits() == []


async def test_a_place_that_the_turn_was_given_is_waited_for_again(database):
    async with Runtime(database, REGISTRY) as runtime:
        await failed(runtime.client, before_section)
    async with Client(database) as client:
        await client.rewind("a")
        (place,) = await client.list_limit_users("till")
        assert not place.running
    broken["code"] = False
    async with Runtime(database, REGISTRY) as runtime:
        assert await runtime.client.get_handle("a").result() == "out"
