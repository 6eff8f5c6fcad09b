"""Limits by key: never more than so many, whoever dies, and the next begins when one leaves."""

import asyncio
from pathlib import Path

import pytest

from perdure import (
    ActivityContext,
    ActivityTimeoutError,
    Client,
    ExternalEvent,
    Limit,
    OrchestrationCancelledError,
    OrchestrationContext,
    Registry,
    Runtime,
    UsageError,
    activity,
    orchestration,
)
from perdure.testing import Environment
from tests.runtime import limit_program
from tests.runtime.limit_program import PLACES, guest

GO = ExternalEvent[None]("go")
AT_A_TIME = 3
GUESTS = 100
KILLS = 3


class Counter:
    """How many run at a time, and how many did at most."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.all_there = asyncio.Barrier(AT_A_TIME)

    @activity(name="count", limit=Limit("smtp", concurrency=AT_A_TIME))
    async def count(self, _: ActivityContext) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        await self.all_there.wait()
        self.now -= 1

    @activity(name="look")
    async def look(self, _: ActivityContext) -> int:
        return self.now


@orchestration(name="many")
async def many(ctx: OrchestrationContext) -> None:
    await asyncio.gather(*(ctx.schedule_activity(Counter.count) for _ in range(3 * AT_A_TIME)))


@orchestration(name="holder")
async def holder(ctx: OrchestrationContext) -> None:
    async with ctx.limit("room", 1):
        ctx.set_custom_status("inside")
        await ctx.schedule_wait(GO)


@orchestration(name="impatient")
async def impatient(ctx: OrchestrationContext) -> str:
    try:
        async with ctx.limit("room", 1):
            return "inside"
    finally:
        ctx.set_custom_status("gone")


async def inside(handle) -> None:
    """Wait until it holds its place."""
    async for status in handle.watch():
        if status.custom_status == "inside":
            return


async def some_go_in(workers, many: int) -> None:
    """Wait until so many have gone in, wherever they run."""
    heard = {asyncio.create_task(worker.hear("in")): worker for worker in workers}
    for _ in range(many):
        done, _ = await asyncio.wait(heard, return_when=asyncio.FIRST_COMPLETED)
        task = done.pop()
        worker = heard.pop(task)
        await task
        heard[asyncio.create_task(worker.hear("in"))] = worker
    for task in heard:
        task.cancel()
    await asyncio.gather(*heard, return_exceptions=True)


async def test_activities_run_no_more_than_so_many_at_a_time(url):
    counter = Counter()
    async with Runtime(url, Registry(counter, many)) as runtime:
        handle = await runtime.client.start_orchestration(many)
        await handle.result()
    assert counter.most == AT_A_TIME


async def test_a_full_key_delays_nothing_else(url):
    @orchestration(name="beside")
    async def beside(ctx: OrchestrationContext) -> int:
        counts = [ctx.schedule_activity(Counter.count) for _ in range(4 * AT_A_TIME)]
        before = await ctx.schedule_activity(Counter.look)
        await asyncio.gather(*counts)
        return before

    async with Runtime(url, Registry(Counter(), beside)) as runtime:
        handle = await runtime.client.start_orchestration(beside)
        assert await handle.result() <= AT_A_TIME


async def test_the_next_enters_when_one_leaves_in_whatever_way(url):
    async with Runtime(url, Registry(holder)) as runtime:
        client = runtime.client
        handles = [await client.start_orchestration(holder, instance_id=f"h{number}") for number in range(5)]
        await inside(handles[0])
        [limit] = await client.list_limits()
        assert (limit.key, limit.concurrency, limit.running, limit.waiting) == ("room", 1, 1, 4)
        users = await client.list_limit_users("room")
        assert [(each.instance_id, each.running) for each in users][:2] == [("h0", True), ("h1", False)]
        assert users[0].activity is None
        await handles[0].raise_event(GO, None)
        await inside(handles[1])
        await handles[1].cancel()
        await inside(handles[2])
        await handles[2].terminate()
        await inside(handles[3])
        await client.delete("h3", force=True)
        await inside(handles[4])
        await handles[4].raise_event(GO, None)
        await handles[4].result()
        assert await client.list_limits() == []


async def test_who_has_left_and_goes_on_leaves_the_place_to_the_next(url):
    @orchestration(name="leaver")
    async def leaver(ctx: OrchestrationContext) -> None:
        async with ctx.limit("room", 1):
            ctx.set_custom_status("inside")
        await ctx.schedule_wait(GO)

    async with Runtime(url, Registry(leaver)) as runtime:
        client = runtime.client
        handles = [await client.start_orchestration(leaver, instance_id=f"l{number}") for number in range(2)]
        for handle in handles:
            await inside(handle)
        statuses = [(await handle.status()).status for handle in handles]
        assert statuses == ["running", "running"]
        for handle in handles:
            await handle.raise_event(GO, None)
            await handle.result()


async def test_who_is_cancelled_in_line_is_in_line_no_more(url):
    async with Runtime(url, Registry(holder, impatient)) as runtime:
        first = await runtime.client.start_orchestration(holder)
        await inside(first)
        second = await runtime.client.start_orchestration(impatient)
        await second.cancel()
        with pytest.raises(OrchestrationCancelledError):
            await second.result()
        [limit] = await runtime.client.list_limits()
        assert (limit.running, limit.waiting) == (1, 0)


async def test_who_waits_for_a_place_longer_than_it_may_does_not_begin(url):
    @orchestration(name="late")
    async def late(ctx: OrchestrationContext) -> str:
        first = ctx.schedule_activity(Counter.count, limit=Limit("one", 1))
        try:
            await ctx.schedule_activity(Counter.look, limit=Limit("one", 1), schedule_to_start=0.1)
        except ActivityTimeoutError:
            return "too late"
        finally:
            first.cancel()
        return "in time"

    async with Runtime(url, Registry(Counter(), late)) as runtime:
        handle = await runtime.client.start_orchestration(late)
        assert await handle.result() == "too late"


async def test_a_rate_is_kept_without_a_worker_that_looks_for_work_meanwhile(url):
    @orchestration(name="rated")
    async def rated(ctx: OrchestrationContext) -> float:
        begun = ctx.utc_now()
        for _ in range(3):
            async with ctx.limit("api", rate=1, per=0.1):
                pass
        return (ctx.utc_now() - begun).total_seconds()

    async with Runtime(url, Registry(rated)) as runtime:
        handle = await runtime.client.start_orchestration(rated)
        assert await handle.result() >= 0.2


async def test_the_key_of_a_limit_is_of_all_inputs_also_of_those_that_take_their_default():
    keys = []

    def key(tenant: str, cents: int) -> str:
        keys.append((tenant, cents))
        return tenant

    @activity(name="charge", limit=Limit(key, 1))
    async def charge(tenant: str, cents: int = 7) -> int:
        return cents

    @orchestration(name="bill")
    async def bill(ctx: OrchestrationContext) -> list[int]:
        return [await ctx.schedule_activity(charge, "a"), await ctx.schedule_activity(charge, "b", 8)]

    async with Environment(Registry(charge, bill)) as env:
        assert await env.run(bill) == [7, 8]
    assert keys == [("a", 7), ("b", 8)]


def test_a_mistaken_limit_is_refused():
    for mistake in ({"concurrency": 0}, {"concurrency": 1.5}, {"rate": True}, {"rate": 1, "per": 0}, {}):
        with pytest.raises(UsageError):
            Limit("smtp", **mistake)
    with pytest.raises(UsageError, match="the largest is 10,000"):
        Limit("smtp", concurrency=10_001)
    with pytest.raises(UsageError, match="limit key"):
        Limit("", concurrency=1)
    assert repr(Limit("smtp", 5, rate=2, per=60)) == "Limit('smtp', concurrency=5, rate=2, per=60)"


async def test_a_hundred_orchestrations_never_hold_more_than_five_places_and_all_end_under_kill_9(
    database, spawn, tmp_path
):
    door = tmp_path / "door"
    program = Path(limit_program.__file__)
    async with Client(database) as client:
        workers = [await spawn(database, str(door), script=program) for _ in range(2)]
        handles = await client.start_many(guest, [(f"guest-{number}", number) for number in range(GUESTS)])
        for _ in range(KILLS):
            await some_go_in(workers, GUESTS // (KILLS + 2))
            await workers.pop(0).kill()
            workers.append(await spawn(database, str(door), script=program))
        assert await asyncio.gather(*(handle.result() for handle in handles)) == [*range(GUESTS)]
        assert await client.list_limits() == []
    present: set[str] = set()
    most = 0
    for line in door.read_text().splitlines():
        way, who = line.split()
        (present.add if way == "in" else present.discard)(who)
        most = max(most, len(present))
    assert (most, present) == (PLACES, set())
