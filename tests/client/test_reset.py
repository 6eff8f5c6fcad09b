"""An instance goes on from an earlier event: what came later is dropped or told again, and what is lost is said."""

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
    RetryPolicy,
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
plan = {"second": "tea", "child": "first", "fails": False}


@activity(name="make")
async def make(ctx: ActivityContext, what: str) -> str:
    ran.append((what, ctx.idempotency_key))
    if what in gates:
        await gates[what].wait()
    if what == "tea" and plan["fails"]:
        raise ValueError("no tea")
    return f"{what} {len(ran)}"


@orchestration(name="serve")
async def serve(ctx: OrchestrationContext) -> list[str]:
    ctx.kv.set(STEP, 1)
    made = [await ctx.schedule_activity(make, "bread")]
    ctx.kv.set(STEP, 2)
    ctx.set_custom_status("bread")
    made.append(await ctx.schedule_activity(make, plan["second"]))
    ctx.kv.set(STEP, 3)
    ctx.raise_event("kitchen", "made", plan["second"])
    made.append(await ctx.schedule_wait(GO))
    return made


@orchestration(name="fails-once")
async def fails_once(ctx: OrchestrationContext) -> None:
    await ctx.schedule_timer(0)
    if plan["fails"]:
        raise ValueError("a bug")


@orchestration(name="ask-child")
async def ask_child(ctx: OrchestrationContext) -> str:
    first = await ctx.schedule_sub_orchestration(answer, "first")
    word = await ctx.schedule_wait(GO)
    second = await ctx.schedule_sub_orchestration(answer, plan["child"])
    await ctx.schedule_wait("end")
    return f"{first} {word} {second}"


@orchestration(name="answer")
async def answer(ctx: OrchestrationContext, word: str) -> str:
    return await ctx.schedule_activity(make, word)


@orchestration(name="both-at-once")
async def both_at_once(ctx: OrchestrationContext) -> list[str]:
    slow = ctx.schedule_activity(make, "slow")
    first = await ctx.schedule_wait(GO)
    second = await ctx.schedule_activity(make, plan["second"])
    return [first, second, await slow]


@orchestration(name="timed")
async def timed(ctx: OrchestrationContext) -> str:
    timer = ctx.schedule_timer(0)
    await ctx.schedule_wait(GO)
    await timer
    async with ctx.limit("till", 1):
        await ctx.schedule_wait("paid")
    return await ctx.schedule_activity(make, "bill", limit=Limit("bank", concurrency=1))


@orchestration(name="rounds")
async def rounds(ctx: OrchestrationContext, number: int) -> str:
    word = await ctx.schedule_wait(GO)
    if number < 2:
        ctx.continue_as_new(number + 1)
    return f"{number} {word}"


@orchestration(name="caught")
async def caught(ctx: OrchestrationContext) -> str:
    try:
        return await ctx.schedule_activity(make, "tea", retry=RetryPolicy(1))
    except ActivityError:
        await ctx.schedule_wait(GO)
        return "no tea"


REGISTRY = Registry(make, serve, ask_child, answer, both_at_once, timed, rounds, caught)


@pytest.fixture(autouse=True)
def _fresh():
    ran.clear()
    gates.clear()
    plan.update(second="tea", child="first", fails=False)


async def kinds(client: Client, instance_id: str = "a") -> list[str]:
    return [event.kind async for event in client.history(instance_id)]


async def number_of(client: Client, kind: str, instance_id: str = "a") -> int:
    """The number of the last event of this kind, once there is one."""
    while True:
        found = [event.id async for event in client.history(instance_id) if event.kind == kind]
        if found:
            return found[-1]
        await asyncio.sleep(0)


async def waiting(client: Client, orchestration=serve, instance_id: str = "a", waits: int = 1):
    """An instance that has come to a wait."""
    handle = await client.start_orchestration(orchestration, instance_id=instance_id)
    while (await kinds(client, instance_id)).count("WaitStarted") < waits:
        await asyncio.sleep(0)
    return handle


async def last_of_turn(client: Client, kind: str, instance_id: str = "a") -> int:
    """The last event before the one that answers the first event of this kind."""
    events = [event async for event in client.history(instance_id)]
    first = next(event.id for event in events if event.kind == kind)
    behind = [event.id for event in events if event.id > first and event.kind in INBOUND]
    return behind[0] - 1 if behind else events[-1].id


INBOUND = {"ActivityCompleted", "ActivityFailed", "EventRaised", "TimerFired", "ChildCompleted", "LimitEntered"}


async def test_what_goes_back_asks_for_the_time_and_counts_nothing_that_waits(url):
    async with Runtime(url, Registry(fails_once)) as runtime:
        client = runtime.client
        plan["fails"] = True
        with pytest.raises(OrchestrationError):
            await (await client.start_orchestration(fails_once, instance_id="a")).result()
        plan["fails"] = False
        await client.rewind("a")
        await client.get_handle("a").result()
        await client.fork("a", "b", from_event=2)
        await client.reset("a", to_event=2)
        calls = {each.call: each.seconds.count for each in runtime.metrics().storage}
    assert calls["images"] >= 3
    assert "depths" not in calls


async def test_what_came_later_is_dropped_and_said_and_asked_for_again_by_the_new_code(url):
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        handle = await waiting(client)
        plan["second"] = "coffee"

        dropped = await client.reset("a", to_event=await last_of_turn(client, "Started"))

        assert (dropped.instance_id, dropped.to_event, dropped.events) == ("a", 3, 8)
        assert (dropped.activities, dropped.children, dropped.sent) == (("make",), (), ("kitchen",))
        await client.raise_event("a", GO, "on")
        assert await handle.result() == ["bread 1", "coffee 3", "on"]
    assert [what for what, _ in ran] == ["bread", "tea", "coffee"]


async def test_what_is_asked_for_again_at_the_same_event_has_the_same_key(url):
    async with Runtime(url, REGISTRY) as runtime:
        handle = await waiting(runtime.client)
        await runtime.client.reset("a", to_event=3)
        await runtime.client.raise_event("a", GO, "on")
        await handle.result()
    assert ran[1] == ran[2]


async def test_one_that_has_completed_goes_on_and_reads_its_events_again(url):
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        handle = await waiting(client)
        await client.raise_event("a", GO, "on")
        await handle.result()
        plan["second"] = "coffee"

        await client.reset("a", to_event=3)

        assert await client.get_handle("a").result() == ["bread 1", "coffee 3", "on"]


async def test_status_and_values_are_as_they_were(database):
    async with Runtime(database, REGISTRY) as runtime:
        await waiting(runtime.client)
    async with Client(database) as client:
        before = await client.get_status("a")
        await client.reset("a", to_event=3)
        status = await client.get_status("a")
        assert (before.custom_status, status.custom_status) == ("bread", None)
        assert status.custom_status_version > before.custom_status_version
        assert status.status is Status.RUNNING
        assert await client.get_handle("a").kv(STEP) == 1
        assert await kinds(client) == ["Started", "ValueSet", "ActivityScheduled"]


@pytest.mark.parametrize(("to", "kept"), [("start", 0), ("last", 9)])
async def test_it_can_begin_anew_or_take_its_last_turn_again(database, to, kept):
    async with Runtime(database, REGISTRY) as runtime:
        client = runtime.client
        handle = await waiting(client)
        await client.raise_event("a", GO, "on")
        await handle.result()
    async with Client(database) as client:
        dropped = await client.reset("a", to=to)
        status = await client.get_status("a")
        assert (dropped.to_event > 0, status.is_closed) == (kept > 0, False)
        assert status.status is (Status.RUNNING if kept else Status.PENDING)
    async with Runtime(database, REGISTRY) as runtime:
        made = await runtime.client.get_handle("a").result()
        assert made == (["bread 1", "tea 2", "on"] if kept else ["bread 3", "tea 4", "on"])


async def test_where_history_can_not_be_cut_the_nearest_events_are_named(url):
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        await waiting(client)
        with pytest.raises(RewindError, match=r"inside the turn of events 1 to 3; .* can be kept: 0 or 3$"):
            await client.reset("a", to_event=2)
        with pytest.raises(RewindError, match=r"no event 99, but 1 to 11; .* can be kept: 7$"):
            await client.reset("a", to_event=99)
        with pytest.raises(RewindError, match=r"event 11 is where it stands; .* can be kept: 7$"):
            await client.reset("a", to_event=11)
        assert (await client.get_status("a")).status is Status.RUNNING


async def test_it_must_be_said_where_to_and_once(url):
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        await waiting(client)
        for wrong in ({}, {"to": "start", "to_event": 3}, {"to": "end"}, {"to_event": "3"}, {"to_event": True}):
            with pytest.raises(UsageError):
                await client.reset("a", **wrong)
        with pytest.raises(InstanceNotFoundError):
            await client.reset("nobody", to="start")


async def test_what_has_not_begun_or_has_moved_can_not(database, tmp_path):
    async with Client(database) as client, Client(f"sqlite:///{tmp_path / 'other.db'}") as other:
        await client.start_orchestration(serve, instance_id="a")
        with pytest.raises(RewindError, match="no event yet"):
            await client.reset("a", to="start")
        await client.move_instances(other, instance_ids=["a"], run=False)
        with pytest.raises(RewindError, match="it has moved to"):
            await client.reset("a", to="start")


async def test_an_activity_that_runs_and_would_be_dropped_is_waited_for_and_then_in_the_way(url):
    gates["tea"] = asyncio.Event()
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        handle = await client.start_orchestration(serve, instance_id="a")
        while len(ran) < 2:
            await asyncio.sleep(0)
        with pytest.raises(RewindError, match="a worker still runs make, which event 7 has asked for"):
            await client.reset("a", to_event=3, grace=0)
        assert (await client.get_status("a")).status is Status.RUNNING
        assert len(await kinds(client)) == 7

        reset = asyncio.create_task(client.reset("a", to_event=3))
        while (await client.get_status("a")).status is not Status.SUSPENDED:
            await asyncio.sleep(0)
        plan["second"] = "coffee"
        gates["tea"].set()
        assert (await reset).activities == ("make",)
        await client.raise_event("a", GO, "on")
        assert await handle.result() == ["bread 1", "coffee 3", "on"]


async def test_an_activity_from_before_goes_on_or_runs_again_with_the_same_key(url):
    gates["slow"] = asyncio.Event()
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        handle = await waiting(client, both_at_once)
        await client.raise_event("a", GO, "on")
        cut = await last_of_turn(client, "Started")
        await number_of(client, "ActivityCompleted")
        plan["second"] = "coffee"

        await client.reset("a", to_event=cut, grace=0)

        gates["slow"].set()
        first, second, slow = await handle.result()
        assert (first, second[:6], slow[:4]) == ("on", "coffee", "slow")
    keys = {key for what, key in ran if what == "slow"}
    assert len(keys) == 1


async def test_a_result_that_came_later_is_told_again(url):
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        handle = await waiting(client, both_at_once)
        await number_of(client, "ActivityCompleted")
        await client.raise_event("a", GO, "on")
        await handle.result()
        await client.reset("a", to_event=await last_of_turn(client, "Started"))
        assert (await handle.result())[2] == "slow 1"
    assert [what for what, _ in ran].count("slow") == 1


async def test_an_activity_that_failed_is_tried_again(url):
    plan["fails"] = True
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        handle = await waiting(client, caught)
        plan["fails"] = False
        await client.reset("a", to="last")
        assert await handle.result() == "tea 2"
    assert ran[0] == ran[1]


async def test_children_that_were_asked_for_later_are_removed_and_earlier_ones_are_told_of(url):
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        handle = await waiting(client, ask_child)
        await client.raise_event("a", GO, "on")
        await waiting_again(client)
        tree = await client.get_tree("a")
        plan["child"] = "second"

        dropped = await client.reset("a", to_event=await last_of_turn(client, "Started"))

        assert dropped.children == (tree.children[1].instance.instance_id,)
        await client.raise_event("a", "end")
        assert await handle.result() == "first 1 on second 3"


async def waiting_again(client: Client) -> None:
    while (await kinds(client)).count("WaitStarted") < 2:
        await asyncio.sleep(0)


async def test_a_child_that_runs_is_given_up_with_what_it_runs(url):
    gates["second"] = asyncio.Event()
    plan["child"] = "second"
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        handle = await waiting(client, ask_child)
        await client.raise_event("a", GO, "on")
        while len(ran) < 2:
            await asyncio.sleep(0)
        plan["child"] = "third"

        dropped = await client.reset("a", to="last")

        assert len(dropped.children) == 1
        gates["second"].set()
        await client.raise_event("a", "end")
        assert (await handle.result()).split()[-2] == "third"


async def test_timers_and_places_that_were_open_are_there_again(database):
    async with Runtime(database, REGISTRY) as runtime:
        client = runtime.client
        handle = await waiting(client, timed)
        await client.raise_event("a", GO, "on")
        await waiting_again(client)
        await client.raise_event("a", "paid")
        assert await handle.result() == "bill 1"
    async with Client(database) as client:
        await client.reset("a", to_event=await last_of_turn(client, "LimitEntered"))
        (place,) = await client.list_limit_users("till")
        assert place.running
        await client.reset("a", to_event=await last_of_turn(client, "Started"))
        assert await client.list_limits() == []
    async with Runtime(database, REGISTRY) as runtime:
        assert await runtime.client.get_handle("a").result() == "bill 2"
        assert await runtime.client.list_limits() == []


async def test_only_the_present_execution_goes_back(url):
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        handle = await client.start_orchestration(rounds, 1, instance_id="a")
        await client.raise_event("a", GO, "first")
        await client.raise_event("a", GO, "second")
        assert await handle.result() == "2 second"
        await client.reset("a", to="start")
        assert await handle.result() == "2 second"
        assert len(await client.list_executions("a")) == 2


async def test_one_that_was_suspended_stays_so(url):
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        handle = await waiting(client)
        await client.suspend("a", "lunch")
        await client.reset("a", to_event=3)
        status = await client.get_status("a")
        assert (status.status, status.held_because) == (Status.SUSPENDED, "lunch")
        await client.resume("a")
        await client.raise_event("a", GO, "on")
        assert await handle.result() == ["bread 1", "tea 3", "on"]


async def test_one_that_was_terminated_and_one_that_failed_can_go_back(url):
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        handle = await waiting(client)
        await client.terminate("a")
        with pytest.raises(OrchestrationError):
            await handle.result()
        await client.reset("a", to="last")
        await client.raise_event("a", GO, "on")
        assert await handle.result() == ["bread 1", "tea 2", "on"]


def test_a_program_without_an_event_loop_does_the_same(database):
    async def begin() -> None:
        async with Runtime(database, REGISTRY) as runtime:
            await waiting(runtime.client)

    asyncio.run(begin())
    with SyncClient(database) as client:
        assert client.reset("a", to="start").to_event == 0
        assert client.get_status("a").status is Status.PENDING


async def test_no_event_is_lost_or_read_twice_by_resets_under_load(url):
    @orchestration(name="collect")
    async def collect(ctx: OrchestrationContext, count: int) -> list[str]:
        words = []
        while len(words) < count:
            word = await ctx.schedule_wait(GO)
            words.append(await ctx.schedule_activity(echo, word))
        return words

    @activity(name="echo")
    async def echo(word: str) -> str:
        return word

    async with Runtime(url, Registry(collect, echo)) as runtime:
        client = runtime.client
        handle = await client.start_orchestration(collect, 30, instance_id="a")
        await number_of(client, "WaitStarted")

        async def send() -> None:
            for number in range(30):
                await client.raise_event("a", GO, str(number))

        async def go_back() -> None:
            for to in ("last", "start", "last", "start", "last"):
                await client.reset("a", to=to)
                await number_of(client, "WaitStarted")

        await asyncio.gather(send(), go_back())
        assert await handle.result() == [str(number) for number in range(30)]
