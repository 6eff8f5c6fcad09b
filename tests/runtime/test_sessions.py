"""Sessions: the activities of one run on one worker, until it is gone, full, or has not used it for a while."""

import asyncio
import os
from collections import defaultdict
from pathlib import Path

import pytest

from perdure import (
    ActivityContext,
    ActivityError,
    Backoff,
    Limit,
    LimitError,
    OrchestrationContext,
    Registry,
    RetryPolicy,
    Runtime,
    Tags,
    UsageError,
    activity,
    orchestration,
)
from perdure.testing import Environment

PROGRAM = Path(__file__).with_name("session_program.py")


class Place:
    """A worker of a test: what it ran, by session, and a gate at which activities wait."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ran: defaultdict[str | None, list[str]] = defaultdict(list)
        self.running: asyncio.Queue[str | None] = asyncio.Queue()
        self.gates: defaultdict[str | None, asyncio.Event] = defaultdict(asyncio.Event)
        self._failed: set[str | None] = set()

    @activity(name="say")
    async def say(self, ctx: ActivityContext, word: str) -> str:
        self.ran[ctx.session].append(word)
        return f"{self.name}: {ctx.session}"

    @activity(name="wait")
    async def wait(self, ctx: ActivityContext) -> str:
        self.running.put_nowait(ctx.session)
        await self.gates[ctx.session].wait()
        return self.name

    @activity(name="stumble")
    async def stumble(self, ctx: ActivityContext) -> str:
        if ctx.attempt == 1:
            self._failed.add(ctx.session)
            raise ValueError(self.name)
        assert ctx.session in self._failed, "the second attempt is elsewhere"
        return self.name


@orchestration(name="talk")
async def talk(ctx: OrchestrationContext, session: str, words: list[str]) -> list[str]:
    return [await ctx.schedule_activity(Place.say, word, session=session) for word in words]


@orchestration(name="at-once")
async def at_once(ctx: OrchestrationContext, sessions: list[str | None]) -> list[str]:
    return list(await asyncio.gather(*(ctx.schedule_activity(Place.say, "hello", session=each) for each in sessions)))


@orchestration(name="hold-on")
async def hold_on(ctx: OrchestrationContext, session: str, times: int) -> list[str]:
    return list(await asyncio.gather(*(ctx.schedule_activity(Place.wait, session=session) for _ in range(times))))


@orchestration(name="by-name")
async def by_name(ctx: OrchestrationContext, session: str) -> str:
    return await ctx.schedule_activity("say", "hello", returns=str, session=session)


@orchestration(name="retrying")
async def retrying(ctx: OrchestrationContext, session: str) -> str:
    retry = RetryPolicy(3, backoff=Backoff.fixed(0.01))
    return await ctx.schedule_activity(Place.stumble, session=session, retry=retry)


@orchestration(name="failing")
async def failing(ctx: OrchestrationContext, session: str) -> str:
    try:
        return await ctx.schedule_activity(Place.stumble, session=session)
    except ActivityError as error:
        return str(error)


@orchestration(name="endless", version="1.0.0")
async def endless(ctx: OrchestrationContext, session: str, times: int) -> str:
    said = await ctx.schedule_activity(Place.say, f"one, {times}", session=session)
    if times:
        ctx.continue_as_new(session, times - 1)
    return said


@orchestration(name="endless", version="2.0.0")
async def endless_2(ctx: OrchestrationContext, session: str, times: int) -> str:
    said = await ctx.schedule_activity(Place.say, f"two, {times}", session=session)
    if times:
        ctx.continue_as_new(session, times - 1)
    return said


PROGRAMS = (talk, at_once, hold_on, by_name, retrying, failing)


async def test_an_activity_knows_its_session(url):
    async with Runtime(url, Registry(Place("here"), *PROGRAMS)) as runtime:
        handle = await runtime.client.start_orchestration(at_once, ["anna", None, "ben", "anna", *map(str, range(20))])
        assert await handle.result() == [
            "here: anna", "here: None", "here: ben", "here: anna", *(f"here: {number}" for number in range(20)),
        ]  # fmt: skip
        named = await runtime.client.start_orchestration(by_name, "carla")
        assert await named.result() == "here: carla"


async def test_it_does_so_on_test_time():
    async with Environment(Registry(Place("here"), *PROGRAMS)) as env:
        assert await env.run(at_once, ["anna", "ben"]) == ["here: anna", "here: ben"]
        assert await env.run(retrying, "anna") == "here"


async def test_conversations_stay_with_their_workers(database):
    places = [Place("first"), Place("second")]
    async with (
        Runtime(database, Registry(places[0], *PROGRAMS), max_activities=2) as first,
        Runtime(database, Registry(places[1], *PROGRAMS), max_activities=2) as second,
    ):
        sessions = [f"conversation {number}" for number in range(30)]
        words = ["one", "two", "three", "four"]
        clients = [first.client, second.client]
        handles = [
            await clients[number % 2].start_orchestration(talk, session, words)
            for number, session in enumerate(sessions)
        ]
        for session, handle in zip(sessions, handles, strict=True):
            [said] = set(await handle.result())
            [place] = [place for place in places if place.ran[session]]
            assert (said, place.ran[session]) == (f"{place.name}: {session}", words)


async def test_several_of_one_session_run_at_once_and_with_a_limit_one_by_one(database):
    @orchestration(name="line-up")
    async def line_up(ctx: OrchestrationContext) -> list[str]:
        limit = Limit("anna", concurrency=1)
        waits = (ctx.schedule_activity(Place.wait, session="anna", limit=limit) for _ in range(2))
        return list(await asyncio.gather(*waits))

    place = Place("here")
    async with Runtime(database, Registry(place, *PROGRAMS, line_up)) as runtime:
        together = await runtime.client.start_orchestration(hold_on, "ben", 3)
        assert [await place.running.get() for _ in range(3)] == ["ben"] * 3
        alone = await runtime.client.start_orchestration(line_up)
        assert await place.running.get() == "anna"
        [limit] = await runtime.client.list_limits()
        assert (limit.running, limit.waiting) == (1, 1)
        for session in ("anna", "ben"):
            place.gates[session].set()
        assert await together.result() == ["here"] * 3
        assert await alone.result() == ["here"] * 2


async def test_a_failure_is_told_and_the_next_attempt_is_on_the_same_worker(database):
    async with (
        Runtime(database, Registry(Place("first"), *PROGRAMS)) as first,
        Runtime(database, Registry(Place("second"), *PROGRAMS)),
    ):
        handles = [await first.client.start_orchestration(retrying, f"session {number}") for number in range(10)]
        assert {await handle.result() for handle in handles} <= {"first", "second"}
        failed = await first.client.start_orchestration(failing, "another")
        assert (await failed.result()).startswith("activity stumble failed: ValueError: ")


async def test_a_session_goes_on_after_a_continue_as_new_and_in_another_version(database):
    elsewhere = Place("elsewhere")
    async with Runtime(database, Registry(elsewhere), max_sessions=5):
        async with Runtime(database, Registry(endless), tags=Tags()) as old:
            handle = await old.client.start_orchestration(endless, "anna", 5)
            assert await handle.result() == "elsewhere: anna"
        newer = Place("newer")
        async with Runtime(database, Registry(newer, endless, endless_2)) as new:
            handle = await new.client.start_orchestration(endless_2, "anna", 5)
            assert await handle.result() == "elsewhere: anna"
            assert newer.ran == {}
    assert [said.partition(",")[0] for said in elsewhere.ran["anna"]] == ["one"] * 6 + ["two"] * 6


async def test_the_next_session_waits_while_those_of_a_full_worker_are_in_use(database):
    place = Place("here")
    async with Runtime(database, Registry(place, *PROGRAMS), max_sessions=2) as runtime:
        client = runtime.client
        handles = {each: await client.start_orchestration(hold_on, each, 2) for each in ("anna", "ben")}
        assert sorted([str(await place.running.get()) for _ in range(4)]) == ["anna", "anna", "ben", "ben"]
        handles["carla"] = await client.start_orchestration(hold_on, "carla", 1)
        again = await client.start_orchestration(hold_on, "anna", 1)
        assert await place.running.get() == "anna"
        [queue] = (await client.get_queues()).activities
        assert (queue.running, queue.waiting) == (5, 1)
        place.gates["ben"].set()
        assert await place.running.get() == "carla"
        for session in ("anna", "carla"):
            place.gates[session].set()
        for handle in (*handles.values(), again):
            assert set(await handle.result()) == {"here"}


async def test_workers_have_as_many_as_each_wants(database):
    one, two, none = Place("one"), Place("two"), Place("none")
    async with (
        Runtime(database, Registry(none, *PROGRAMS), max_sessions=0) as client_of,
        Runtime(database, Registry(one, *PROGRAMS), max_sessions=1),
        Runtime(database, Registry(two, *PROGRAMS), max_sessions=2),
    ):
        client = client_of.client
        handles = [await client.start_orchestration(hold_on, f"session {number}", 1) for number in range(4)]
        first = await one.running.get()
        others = [await two.running.get() for _ in range(2)]
        one.gates[first].set()
        last = await one.running.get()
        assert len({first, last, *others}) == 4
        for place in (one, two):
            for session in (last, *others):
                place.gates[session].set()
        assert sorted([(await handle.result())[0] for handle in handles]) == ["one", "one", "two", "two"]


async def test_a_session_moves_when_its_worker_leaves(database):
    first, second = Place("first"), Place("second")
    async with Runtime(database, Registry(second, *PROGRAMS)) as there:
        client = there.client
        leaving = Runtime(database, Registry(first), max_sessions=5)
        await leaving.__aenter__()
        sessions = [f"session {number}" for number in range(20)]
        for session in sessions:
            await (await client.start_orchestration(talk, session, ["one"])).result()
        assert set(first.ran) | set(second.ran) == set(sessions)
        await leaving.__aexit__(None, None, None)
        for session in sessions:
            handle = await client.start_orchestration(talk, session, ["two"])
            assert await handle.result() == [f"second: {session}"]


async def test_a_session_moves_when_its_worker_is_killed(database, spawn):
    async with Runtime(database, Registry(*PROGRAMS), max_sessions=0) as runtime:
        first = await spawn(database, script=PROGRAM)
        await first.hear("ready")
        begun = await runtime.client.start_orchestration(talk, "anna", ["one"])
        [said] = await begun.result()
        second = await spawn(database, script=PROGRAM)
        await second.hear("ready")
        going_on = await runtime.client.start_orchestration(talk, "anna", ["two"])
        assert await going_on.result() == [said]
        await first.kill()
        last = await runtime.client.start_orchestration(talk, "anna", ["three"])
        [moved] = await last.result()
        assert moved not in (said, f"{os.getpid()}: anna")


async def test_one_that_its_worker_does_not_use_is_anybodys(database):
    first, second = Place("first"), Place("second")
    async with (
        Runtime(database, Registry(*PROGRAMS), max_sessions=0) as runtime,
        Runtime(database, Registry(first), session_idle=2, max_activities=1),
    ):
        client = runtime.client
        assert await (await client.start_orchestration(talk, "anna", ["one"])).result() == ["first: anna"]
        busy = await client.start_orchestration(hold_on, "ben", 1)
        assert await first.running.get() == "ben"
        async with Runtime(database, Registry(second)):
            assert await (await client.start_orchestration(talk, "anna", ["two"])).result() == ["second: anna"]
        first.gates["ben"].set()
        assert await busy.result() == ["first"]


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"session_idle": 1.9}, UsageError, "session_idle is 1.9: use 2 seconds or more"),
        ({"session_idle": -1}, UsageError, "session_idle"),
        ({"session_idle": 1e15}, LimitError, "session_idle"),
        ({"max_sessions": -1}, UsageError, "max_sessions is -1: use a whole number, 0 or more"),
        ({"max_sessions": 1.5}, UsageError, "max_sessions is 1.5"),
    ],
)
def test_what_can_not_be_is_said_at_once(options, error, said):
    with pytest.raises(error, match=said):
        Runtime("memory://", Registry(), **options)
