"""An instance begins with the history of another one up to an event, and goes its own way from there."""

import asyncio
import io

import pytest

from perdure import (
    ActivityContext,
    Client,
    ExternalEvent,
    InstanceExistsError,
    InstanceNotFoundError,
    Key,
    OrchestrationContext,
    OrchestrationError,
    Registry,
    RewindError,
    Runtime,
    Status,
    SyncClient,
    UsageError,
    activity,
    orchestration,
)

GO = ExternalEvent[str]("go")
STEP = Key[int]("step")

ran: list[tuple[str, str]] = []
gates: dict[str, asyncio.Event] = {}


@activity(name="make")
async def make(ctx: ActivityContext, what: str) -> str:
    ran.append((what, ctx.idempotency_key))
    if what in gates:
        await gates[what].wait()
    return f"{what} {len(ran)}"


@orchestration(name="serve")
async def serve(ctx: OrchestrationContext, guest: str) -> list[str]:
    ctx.kv.set(STEP, 1)
    ctx.set_custom_status({"guest": guest, "table": ctx.instance_id})
    made = [await ctx.schedule_activity(make, f"bread for {ctx.instance_id}")]
    ctx.kv.set(STEP, 2)
    made.append(await ctx.schedule_wait(GO))
    made.append(await ctx.schedule_activity(make, f"tea for {ctx.instance_id}"))
    return made


@orchestration(name="draw")
async def draw(ctx: OrchestrationContext) -> list[str]:
    drawn = [str(ctx.new_guid())]
    await ctx.schedule_wait(GO)
    return [*drawn, str(ctx.new_guid())]


@orchestration(name="meet")
async def meet(ctx: OrchestrationContext) -> tuple[list[str], list[str]]:
    names, guids = [ctx.instance_id], [str(ctx.new_guid())]
    for _ in range(2):
        await ctx.schedule_wait(GO)
        names.append(ctx.instance_id)
        guids.append(str(ctx.new_guid()))
    return names, guids


@orchestration(name="ask-child")
async def ask_child(ctx: OrchestrationContext) -> str:
    first = await ctx.schedule_sub_orchestration(answer, "first")
    second = ctx.schedule_sub_orchestration(answer, "second")
    word = await ctx.schedule_wait(GO)
    return f"{first}, {await second}, {word}"


@orchestration(name="answer")
async def answer(ctx: OrchestrationContext, word: str) -> str:
    return await ctx.schedule_activity(make, word)


@orchestration(name="timed")
async def timed(ctx: OrchestrationContext) -> str:
    timer = ctx.schedule_timer(0.001)
    word = await ctx.schedule_wait(GO)
    await timer
    return word


@orchestration(name="slow")
async def slow(ctx: OrchestrationContext) -> str:
    return await ctx.schedule_activity(make, "slow")


REGISTRY = Registry(make, serve, draw, meet, ask_child, answer, timed, slow)


@pytest.fixture(autouse=True)
def _fresh():
    ran.clear()
    gates.clear()


async def kinds(client: Client, instance_id: str) -> list[str]:
    return [event.kind async for event in client.history(instance_id)]


async def waiting(client: Client, orchestration=serve, *inputs: object, **options):
    """An instance that has come to a wait."""
    handle = await client.start_orchestration(orchestration, *inputs, instance_id="a", **options)
    while "WaitStarted" not in await kinds(client, "a"):
        await asyncio.sleep(0)
    return handle


async def test_it_has_the_others_past_and_a_future_of_its_own(url):
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        original = await waiting(client, serve, "Ada", attributes={"vip": True})

        fork = await client.fork("a", "b", run=True)

        status = await fork.status()
        assert (status.custom_status, status.parent_id) == ({"guest": "Ada", "table": "a"}, None)
        assert await fork.kv(STEP) == 2
        assert {each.instance_id for each in (await client.list_instances(attributes={"vip": True})).items} == {
            "a",
            "b",
        }
        await client.raise_event("b", GO, "later")
        assert await fork.result() == ["bread for a 1", "later", "tea for b 2"]
        await client.raise_event("a", GO, "now")
        assert await original.result() == ["bread for a 1", "now", "tea for a 3"]


async def test_it_waits_until_it_is_resumed_and_runs_what_was_open_with_keys_of_its_own(url):
    gates["slow"] = asyncio.Event()
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        original = await client.start_orchestration(slow, instance_id="a")
        while not ran:
            await asyncio.sleep(0)

        fork = await client.fork("a", "b")

        status = await fork.status()
        assert (status.status, status.held_because) == (Status.SUSPENDED, "forked: resume it to let it go on")
        gates["slow"].set()
        await original.result()
        assert len(ran) == 1
        await client.resume("b")
        assert await fork.result() == "slow 2"
    assert ran[0][1] != ran[1][1]


async def test_it_may_begin_at_an_earlier_event_and_is_not_told_what_came_later(url):
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        original = await waiting(client, serve, "Ada")
        await client.raise_event("a", GO, "now")
        await original.result()

        fork = await client.fork("a", "b", from_event=4, run=True)
        latest = await client.fork("a", "c", run=True)
        anew = await client.fork("a", "d", from_event=0, run=True)

        await client.raise_event("b", GO, "b")
        await client.raise_event("d", GO, "d")
        bread, word, tea = await fork.result()
        assert (bread[:11], word, tea[:9]) == ("bread for a", "b", "tea for b")
        assert (await latest.result())[:2] == ["bread for a 1", "now"]
        assert (await anew.result())[0].startswith("bread for d")
        assert (await kinds(client, "b"))[:4] == ["Started", "ValueSet", "StatusSet", "ActivityScheduled"]


async def test_guids_are_its_own_from_there_on(url):
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        handles = [await waiting(client, draw), await client.fork("a", "b", run=True)]
        handles.append(await client.fork("b", "c", run=True))
        for each in "abc":
            await client.raise_event(each, GO, "on")
        drawn = [await handle.result() for handle in handles]
    assert len({first for first, _ in drawn}) == 1
    assert len({second for _, second in drawn}) == 3


async def test_a_worker_that_comes_later_replays_it(database):
    async with Runtime(database, REGISTRY) as runtime:
        await waiting(runtime.client, serve, "Ada")
        await runtime.client.fork("a", "b", run=True)
        await runtime.client.fork("b", "c", run=True)
    async with Runtime(database, REGISTRY) as runtime:
        await runtime.client.raise_event("c", GO, "on")
        assert (await runtime.client.get_handle("c").result())[2] == "tea for c 2"
    assert [what for what, _ in ran] == ["bread for a", "tea for c"]


async def test_where_a_child_is_open_it_can_not_begin_and_of_one_that_has_ended_it_is_told(url):
    gates["second"] = asyncio.Event()
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        await waiting(client, ask_child)
        with pytest.raises(RewindError, match=r"'a' can't be forked: event 5 is no beginning, as a child .*: 2$"):
            await client.fork("a", "b", from_event=5)
        gates["second"].set()
        tree = await client.get_tree("a")
        await asyncio.gather(*(client.get_handle(each.instance.instance_id).result() for each in tree.children))

        fork = await client.fork("a", "b", from_event=5, run=True)

        await client.raise_event("b", GO, "on")
        assert await fork.result() == "first 1, second 2, on"
        assert (await client.get_tree("b")).children == []


async def test_a_timer_that_was_open_fires_in_both(url):
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        original = await waiting(client, timed)
        fork = await client.fork("a", "b", run=True)
        for each in "ab":
            await client.raise_event(each, GO, each)
        assert [await original.result(), await fork.result()] == ["a", "b"]


async def test_what_can_not_be_forked_says_why(url):
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        original = await waiting(client, serve, "Ada")
        with pytest.raises(InstanceNotFoundError):
            await client.fork("nobody", "b")
        with pytest.raises(InstanceExistsError):
            await client.fork("a", "a")
        with pytest.raises(UsageError):
            await client.fork("a", "b~aaaaaaaaaaaaa")
        with pytest.raises(UsageError):
            await client.fork("a", "b", from_event="4")
        with pytest.raises(RewindError, match=r"be forked: event 3 is inside the turn of events 1 to 4; .*: 0 or 4$"):
            await client.fork("a", "b", from_event=3)
        await client.terminate("a")
        with pytest.raises(OrchestrationError):
            await original.result()
        with pytest.raises(RewindError, match="event 8 is no beginning, as it ended with it"):
            await client.fork("a", "b", from_event=8)
        assert (await client.list_instances()).items[0].instance_id == "a"


async def test_what_has_not_begun_can_not_be_forked(database):
    async with Client(database) as client:
        await client.start_orchestration(draw, instance_id="a")
        with pytest.raises(RewindError, match="it has no event yet"):
            await client.fork("a", "b")


async def test_history_says_where_it_is_from_and_keeps_the_secret(url):
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        await waiting(client, draw)
        fork = await client.fork("a")
        started = await anext(client.history(fork.instance_id))
        assert started.data["forks"] == [{"event": 2, "instance_id": "a"}]
        assert "parent" not in started.data


async def test_it_goes_to_another_store_like_any_other(database, tmp_path):
    async with Runtime(database, REGISTRY) as runtime:
        await waiting(runtime.client, serve, "Ada")
        await runtime.client.fork("a", "b", run=True)
        file = io.BytesIO()
        await runtime.client.export_instances(file, instance_ids=["b"])
    file.seek(0)
    async with Runtime(f"sqlite:///{tmp_path / 'other.db'}", REGISTRY) as runtime:
        client = runtime.client
        await client.import_instances(file, run=True)
        await client.raise_event("b", GO, "on")
        assert (await client.get_handle("b").result())[2] == "tea for b 2"


async def test_a_fork_can_be_reset_to_before_its_fork(url):
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        await waiting(client, serve, "Ada")
        fork = await client.fork("a", "b", run=True)
        await client.reset("b", to_event=0)
        await client.raise_event("b", GO, "on")
        assert [made.rsplit(" ", 1)[0] for made in await fork.result()] == ["bread for b", "on", "tea for b"]


async def test_behind_a_reset_to_before_its_fork_it_is_itself(url):
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        handles = [await waiting(client, meet), *[None] * 2]
        for each in "12":
            await client.raise_event("a", GO, each)
        await handles[0].result()
        handles[1] = await client.fork("a", "b", run=True)
        handles[2] = await client.fork("b", "c", run=True)

        await client.reset("b", to_event=2)
        await client.reset("c", to_event=2)

        for each in "bc":
            await client.raise_event(each, GO, "2")
        met = [await handle.result() for handle in handles]
        assert [names for names, _ in met] == [["a", "a", "a"], ["a", "b", "b"], ["a", "c", "c"]]
        assert len({guid for _, guids in met for guid in guids[1:]}) == 6


def test_a_program_without_an_event_loop_does_the_same(database):
    async def begin() -> None:
        async with Runtime(database, REGISTRY) as runtime:
            await waiting(runtime.client, draw)

    asyncio.run(begin())
    with SyncClient(database) as client:
        handle = client.fork("a", "b")
        assert (handle.instance_id, handle.status().status) == ("b", Status.SUSPENDED)
