"""Starting: ids, conflicts, versions, later, many at once, and what is refused at the door."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from perdure import (
    Client,
    ExternalEvent,
    InstanceClosedError,
    InstanceExistsError,
    InstanceNotFoundError,
    InstanceReplacedError,
    OrchestrationCancelledError,
    OrchestrationContext,
    PayloadError,
    Registry,
    Runtime,
    Status,
    UsageError,
    activity,
    orchestration,
)
from perdure.testing import Environment

GO = ExternalEvent[str]("go")


@orchestration(name="echo")
async def echo(ctx: OrchestrationContext, text: str) -> str:
    return text


@orchestration(name="wait")
async def wait(ctx: OrchestrationContext, text: str) -> str:
    return f"{text} {await ctx.schedule_wait(GO)}"


async def test_without_an_id_it_has_a_fresh_uuid_that_rises_with_time(url):
    async with Runtime(url, Registry(echo)) as runtime:
        handles = [await runtime.client.start_orchestration(echo, "a") for _ in range(5)]
        ids = [handle.instance_id for handle in handles]
        assert [await handle.result() for handle in handles] == ["a"] * 5
    assert all(uuid.UUID(each).version == 7 for each in ids)
    assert ids == sorted(ids)


async def test_a_start_by_name_reads_the_result_as_asked():
    async with Environment(Registry(echo)) as env:
        handle = await env.client.start_orchestration("echo", "a", returns=str)
        assert await handle.result() == "a"


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "open"])
@pytest.mark.parametrize(
    ("on_conflict", "when_open", "when_closed"),
    [
        ("fail", InstanceExistsError, InstanceExistsError),
        ("use_existing", "old", "old"),
        ("restart_if_closed", InstanceExistsError, "new"),
        ("terminate_and_restart", "new", "new"),
    ],
)
async def test_a_taken_id(url, closed, on_conflict, when_open, when_closed):
    expected = when_closed if closed else when_open
    async with Runtime(url, Registry(wait)) as runtime:
        client = runtime.client
        old = await client.start_orchestration(wait, "old", instance_id="i")
        if closed:
            await old.raise_event(GO, "ended")
            assert await old.result() == "old ended"
        if expected is InstanceExistsError:
            with pytest.raises(InstanceExistsError, match="'i'"):
                await client.start_orchestration(wait, "new", instance_id="i", on_conflict=on_conflict)
            return
        handle = await client.start_orchestration(wait, "new", instance_id="i", on_conflict=on_conflict)
        if expected == "new" or not closed:
            await handle.raise_event(GO, "now")
        assert await handle.result() == ("old ended" if closed and expected == "old" else f"{expected} now")


async def test_whoever_waits_for_an_instance_that_is_replaced_hears_of_its_end():
    async with Environment(Registry(wait)) as env:
        old = await env.client.start_orchestration(wait, "old", instance_id="i")
        waiting = asyncio.create_task(old.result(timeout=20))
        await env.advance(1)
        new = await env.client.start_orchestration(wait, "new", instance_id="i", on_conflict="terminate_and_restart")
        with pytest.raises(InstanceReplacedError, match="another one has its id"):
            await waiting
        await new.raise_event(GO, "now")
        assert await new.result() == "new now"
        with pytest.raises(InstanceNotFoundError):
            await old.result()


async def test_a_restart_forgets_the_events_of_the_instance_that_was():
    async with Environment(Registry(wait)) as env:
        soon = env.now + timedelta(hours=1)
        old = await env.client.start_orchestration(wait, "old", instance_id="i", start_at=soon)
        for _ in range(3):
            await old.raise_event(GO, "stale")
        assert await old.result() == "old stale"
        new = await env.client.start_orchestration(wait, "new", instance_id="i", on_conflict="restart_if_closed")
        await env.advance(1)
        assert not (await new.status()).is_closed
        await new.raise_event(GO, "fresh")
        assert await new.result() == "new fresh"


async def test_a_hundred_concurrent_starts_of_one_id_make_one_instance(url):
    runs: list[str] = []

    @activity
    async def run(text: str) -> str:
        runs.append(text)
        return text

    @orchestration
    async def once(ctx: OrchestrationContext, text: str) -> str:
        return await ctx.schedule_activity(run, text)

    async with Runtime(url, Registry(once, run)) as runtime:
        outcomes = await asyncio.gather(
            *(runtime.client.start_orchestration(once, f"number {n}", instance_id="i") for n in range(100)),
            return_exceptions=True,
        )
        handles = [each for each in outcomes if not isinstance(each, BaseException)]
        assert len(handles) == 1
        assert all(isinstance(each, InstanceExistsError) for each in outcomes if isinstance(each, BaseException))
        result = await handles[0].result()
        shared = await asyncio.gather(
            *(
                runtime.client.start_orchestration(once, "again", instance_id="i", on_conflict="use_existing")
                for _ in range(100)
            )
        )
        assert {await handle.result() for handle in shared} == {result}
    assert runs == [result]


@orchestration
async def when(ctx: OrchestrationContext) -> datetime:
    return ctx.utc_now()


async def test_a_start_at_a_later_time_waits_for_it():
    async with Environment(Registry(when)) as env:
        at = env.now + timedelta(days=2)
        handle = await env.client.start_orchestration(when, start_at=at)
        await env.advance(timedelta(days=1))
        assert (await handle.status()).status is Status.PENDING
        assert await handle.result() == at


async def test_what_waits_for_its_start_is_cancelled_soon_and_never_runs(url):
    async with Runtime(url, Registry(when)) as runtime:
        handle = await runtime.client.start_orchestration(when, start_at=datetime(2200, 1, 1, tzinfo=UTC))
        assert (await handle.status()).status is Status.PENDING
        await handle.cancel("not needed")
        with pytest.raises(OrchestrationCancelledError, match="not needed"):
            await handle.result(timeout=20)
        with pytest.raises(InstanceClosedError, match="cancelled"):
            await handle.cancel()


async def test_one_that_no_worker_knows_is_cancelled_before_its_start_too(database):
    async with Runtime(database, Registry(echo)), Client(database) as client:
        handle = await client.start_orchestration("unknown", start_at=datetime(2200, 1, 1, tzinfo=UTC))
        await handle.cancel()
        with pytest.raises(OrchestrationCancelledError):
            await handle.result(timeout=20)


async def test_a_start_at_a_past_time_is_a_start_now(url):
    async with Runtime(url, Registry(echo)) as runtime:
        handle = await runtime.client.start_orchestration(echo, "a", start_at=datetime(2001, 1, 1, tzinfo=UTC))
        assert await handle.result() == "a"


async def test_events_that_come_before_a_later_start_wait_for_it():
    async with Environment(Registry(wait)) as env:
        handle = await env.client.start_orchestration(wait, "early", start_at=env.now + timedelta(hours=1))
        await handle.raise_event(GO, "bird")
        assert await handle.result() == "early bird"


async def test_many_are_started_in_one_call(url):
    async with Runtime(url, Registry(echo)) as runtime:
        handles = await runtime.client.start_many(echo, [(f"i-{n}", str(n)) for n in range(500)])
        assert [handle.instance_id for handle in handles] == [f"i-{n}" for n in range(500)]
        assert [await handle.result() for handle in handles] == [str(n) for n in range(500)]


async def test_of_many_each_lands_on_its_own_and_the_first_refusal_is_told():
    async with Environment(Registry(echo)) as env:
        await (await env.client.start_orchestration(echo, "old", instance_id="i-2")).result()
        with pytest.raises(InstanceExistsError, match="'i-2'"):
            await env.client.start_many(echo, [(f"i-{n}", "new") for n in range(5)])
        results = [await env.client.get_handle(f"i-{n}", echo).result() for n in range(5)]
        assert results == ["new", "new", "old", "new", "new"]
        again = await env.client.start_many(echo, [("i-2", "new"), ("i-9", "new")], on_conflict="use_existing")
        assert [await handle.result() for handle in again] == ["old", "new"]


async def test_of_many_nothing_starts_when_one_input_does_not_fit():
    async with Environment(Registry(echo)) as env:
        with pytest.raises(PayloadError):
            await env.client.start_many(echo, [("i-1", "fine"), ("i-2", 2)])  # type: ignore[list-item]  # the mistake
        assert (await env.client.list_instances()).items == []


@pytest.mark.parametrize("pair", [("i-2",), ("i-2", "a", "b"), "ab", 5, None, {"i-2": "a"}])
async def test_of_many_nothing_starts_when_one_is_no_pair(pair):
    async with Environment(Registry(echo)) as env:
        with pytest.raises(UsageError, match="pairs of instance_id and input, and number 1 is ") as refused:
            await env.client.start_many(echo, [("i-1", "fine"), pair])
        assert repr(pair) in str(refused.value)
        assert (await env.client.list_instances()).items == []


@orchestration(name="renamed", aliases=["wait"])
async def renamed(ctx: OrchestrationContext, text: str) -> str: ...


@pytest.mark.parametrize("start", [echo, "echo"], ids=["definition", "name"])
async def test_an_existing_instance_of_another_orchestration_is_not_used(url, start):
    async with Runtime(url, Registry(echo, wait)) as runtime:
        client = runtime.client
        await client.start_orchestration(wait, "old", instance_id="i")
        with pytest.raises(InstanceExistsError, match="one of another orchestration, 'wait': choose another id") as no:
            await client.start_orchestration(start, "new", instance_id="i", on_conflict="use_existing")
        assert (no.value.instance_id, no.value.name) == ("i", "wait")
        with pytest.raises(InstanceExistsError, match="'wait'"):
            await client.start_many(echo, [("i", "new")], on_conflict="use_existing")
        by_former_name = await client.start_orchestration(renamed, "x", instance_id="i", on_conflict="use_existing")
        await by_former_name.raise_event(GO, "on")
        assert await by_former_name.result() == "old on"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"instance_id": ""}, "must not be empty"),
        ({"instance_id": "x" * 257}, "256"),
        ({"instance_id": "a\nb"}, "control"),
        ({"instance_id": "order~abcdefghijklm"}, "derived ids"),
        ({"instance_id": 7}, "must be a string"),
        ({"version": "one"}, "one"),
        ({"on_conflict": "replace"}, "on_conflict"),
        ({"start_at": datetime(2030, 1, 1)}, "time zone"),  # noqa: DTZ001 - the mistake under test
        ({"attributes": {"customer": object()}}, "attributes are strings"),
        ({"attributes": {"": 1}}, "must not be empty"),
    ],
)
async def test_options_that_mean_nothing_are_refused(options, words):
    async with Environment(Registry(echo)) as env:
        with pytest.raises(UsageError, match=words):
            await env.client.start_orchestration(echo, "a", **options)
        assert (await env.client.list_instances()).items == []


async def test_what_is_no_orchestration_is_refused():
    async def bare(ctx: OrchestrationContext) -> None: ...

    @activity
    async def work() -> None: ...

    async with Environment(Registry(echo)) as env:
        for each in (bare, work, None, 3):
            with pytest.raises(UsageError, match="@orchestration"):
                await env.client.start_orchestration(each)
        with pytest.raises(UsageError, match="orchestration"):
            await env.client.start_orchestration("")


async def test_a_client_that_is_not_open_says_so(database):
    client = Client(database)
    with pytest.raises(UsageError, match="async with"):
        await client.start_orchestration(echo, "a")
    async with client:
        with pytest.raises(UsageError, match="already open"):
            await client.__aenter__()
    with pytest.raises(UsageError, match="async with"):
        await client.get_status("i")
