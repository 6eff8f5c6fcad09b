"""Listing: filters that all must match, and pages that stay right while instances come and go."""

from datetime import UTC, datetime, timedelta

import pytest

from perdure import ExternalEvent, OrchestrationContext, Registry, Runtime, Status, UsageError, orchestration

GO = ExternalEvent[str]("go")


@orchestration(name="quick", version="1.0.0")
async def quick(ctx: OrchestrationContext, number: int) -> int:
    if number < 0:
        raise ValueError("negative")
    return number


@orchestration(name="quick", version="2.0.0")
async def quick_2(ctx: OrchestrationContext, number: int) -> int:
    return number


@orchestration(name="wait")
async def wait(ctx: OrchestrationContext) -> str:
    return await ctx.schedule_wait(GO)


REGISTRY = Registry(quick, quick_2, wait)


async def test_every_filter_must_match(url):
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        start = client.start_orchestration
        for handle in (
            await start(quick, 1, instance_id="one", version="1.0.0"),
            await start(quick, -1, instance_id="minus", version="1.0.0"),
            await start(quick, 2, instance_id="two"),
        ):
            try:
                await handle.result()
            except Exception:  # noqa: BLE001, S112 - one fails, on purpose
                continue
        await start(wait, instance_id="waiting")
        await client.raise_event("waiting", "other")

        async def ids(**filters) -> set[str]:
            return {each.instance_id for each in (await client.list_instances(**filters)).items}

        assert await ids() == {"one", "minus", "two", "waiting"}
        assert await ids(status=Status.COMPLETED) == {"one", "two"}
        assert await ids(status="failed") == {"minus"}
        assert await ids(status=[Status.FAILED, Status.RUNNING]) == {"minus", "waiting"}
        assert await ids(name="quick") == {"one", "minus", "two"}
        assert await ids(name="quick", version="1.0.0") == {"one", "minus"}
        assert await ids(name="quick", version="1.0.0", status=Status.COMPLETED) == {"one"}
        assert await ids(name="nothing") == set()


async def test_attributes_find_instances_again(url):
    due = datetime(2030, 5, 1, tzinfo=UTC)
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        start = client.start_orchestration
        await start(wait, instance_id="a", attributes={"customer": "ada", "vip": True, "items": 3, "due": due})
        await start(wait, instance_id="b", attributes={"customer": "bo", "vip": False, "items": 3})
        await start(wait, instance_id="c")

        async def ids(**attributes) -> set[str]:
            return {each.instance_id for each in (await client.list_instances(attributes=attributes)).items}

        assert await ids(customer="ada") == {"a"}
        assert await ids(items=3) == {"a", "b"}
        assert await ids(items=3.0) == {"a", "b"}
        assert await ids(vip=True) == {"a"}
        assert await ids(vip=1) == set()
        assert await ids(items=3, customer="bo") == {"b"}
        assert await ids(due=due.astimezone()) == {"a"}
        assert await ids(due=due + timedelta(seconds=1)) == set()
        assert await ids(colour="red") == set()


async def test_pages_go_on_where_the_last_one_ended_the_newest_first(url):
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        for handle in await client.start_many(quick, [(f"i-{n:02}", n) for n in range(25)]):
            await handle.result()
        seen: list[str] = []
        after = None
        while True:
            page = await client.list_instances(limit=10, after=after)
            seen += [each.instance_id for each in page.items]
            await client.start_orchestration(quick, 0, instance_id=f"new-{len(seen)}")
            if page.next is None:
                break
            after = page.next
    assert len(seen) == len(set(seen)) == 25
    assert sorted(seen) == [f"i-{n:02}" for n in range(25)]


async def test_a_page_that_is_exactly_full_has_no_empty_one_behind_it(url):
    async with Runtime(url, REGISTRY) as runtime:
        await runtime.client.start_many(quick, [(f"i-{n}", n) for n in range(4)])
        page = await runtime.client.list_instances(limit=2)
        last = await runtime.client.list_instances(limit=2, after=page.next)
        assert len(last.items) == 2
        assert last.next is None


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit is 1001: use a whole number from 1 to 1,000"),
        ({"limit": 2.5}, "limit is 2.5"),
        ({"limit": "5"}, "limit is '5'"),
        ({"after": "yesterday"}, "page"),
        ({"status": "done"}, "done"),
        ({"attributes": {"a": object()}}, "attribute"),
    ],
)
async def test_what_means_nothing_is_refused(filters, words):
    async with Runtime("memory://", REGISTRY) as runtime:
        with pytest.raises(UsageError, match=words):
            await runtime.client.list_instances(**filters)
