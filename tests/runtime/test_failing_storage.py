"""When storage fails, work is delayed: nothing is lost, nothing is done twice in history, nobody waits for ever."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from perdure import (
    ActivityContext,
    Backoff,
    ExternalEvent,
    OrchestrationContext,
    OutcomeUnknownError,
    Registry,
    RetryPolicy,
    Runtime,
    StorageError,
    StorageUnavailableError,
    activity,
    orchestration,
)
from tests.runtime.faulty import (
    BROKEN,
    FAULTS,
    LOST_AFTER,
    LOST_BEFORE,
    UNAVAILABLE,
    FaultyEnvironment,
    FaultyRuntime,
    Plan,
)

MAIL = ExternalEvent[int]("mail")


@orchestration(name="wait")
async def wait(ctx: OrchestrationContext) -> int:
    return await ctx.schedule_wait(MAIL)


class Ledger:
    """Remembers effects by their idempotency keys, as the outside world should."""

    def __init__(self) -> None:
        self.effects: dict[str, str] = {}

    @activity
    async def write(self, ctx: ActivityContext, entry: str) -> str:
        if entry == "charge" and ctx.attempt == 1:
            raise ConnectionError("the first attempt always fails")
        self.effects[ctx.idempotency_key] = entry
        return entry


@orchestration(name="child")
async def child(ctx: OrchestrationContext, name: str) -> str:
    return await ctx.schedule_activity(Ledger.write, name)


@orchestration(name="detached")
async def detached(ctx: OrchestrationContext) -> str:
    return await ctx.schedule_activity(Ledger.write, "detached")


@orchestration(name="order")
async def order(ctx: OrchestrationContext, execution: int) -> list[object]:
    """A little of everything, in two executions."""
    if execution == 1:
        await ctx.schedule_activity(Ledger.write, "reserve")
        ctx.schedule_orchestration(detached, instance_id="detached")
        ctx.continue_as_new(2)
    answers = await asyncio.gather(
        ctx.schedule_activity(Ledger.write, "charge", retry=RetryPolicy(2, backoff=Backoff.fixed(5))),
        ctx.schedule_sub_orchestration(child, "child"),
        ctx.schedule_wait(MAIL),
    )
    await ctx.schedule_timer(60)
    return [*answers, await ctx.schedule_wait(MAIL), str(ctx.execution_id)]


EFFECTS = ["charge", "child", "detached", "reserve"]
RESULT = ["charge", "child", 1, 2, "2"]


async def insist(call: Callable[[], Awaitable[object]]) -> None:
    """What a careful caller does: again, until it is known to have landed."""
    while True:
        try:
            await call()
        except StorageError:
            continue
        return


async def play(plan: Plan) -> dict[str, int]:
    """One run of an order with these faults; checks all that must hold, and returns how often what was called."""
    ledger = Ledger()
    async with FaultyEnvironment(Registry(ledger, order, child, detached), plan) as env:
        client = env.client
        await insist(partial(client.start_orchestration, order, 1, instance_id="order", on_conflict="use_existing"))
        for number in (1, 2):
            await insist(partial(client.raise_event, "order", MAIL, number, dedup_key=f"mail {number}"))
        assert await client.get_handle("order", order).result() == RESULT
        assert await client.get_handle("detached", detached).result() == "detached"
        calls = dict(env.faulty.calls)
        plan.clear()
        for execution in (1, 2):
            events = [event async for event in client.history("order", execution_id=execution)]
            assert [event.id for event in events] == list(range(1, len(events) + 1))
            answers = [event.source for event in events if event.kind.endswith(("Completed", "Failed", "Fired"))][:-1]
            assert len(answers) == len(set(answers))
        assert len((await client.list_instances()).items) == 3
    assert sorted(ledger.effects.values()) == EFFECTS
    return calls


async def test_without_faults_it_works():
    calls = await play({})
    assert calls["commit"] > 10


@pytest.mark.parametrize("fault", FAULTS)
async def test_every_single_commit_may_fail(fault):
    commits = (await play({}))["commit"]
    for number in range(1, commits + 3):
        await play({("commit", number): fault})


@pytest.mark.parametrize(("first", "second"), list(itertools.product(FAULTS, FAULTS)))
async def test_every_two_neighbouring_commits_may_fail(first, second):
    commits = (await play({}))["commit"]
    for number in range(1, commits + 1, 2):
        await play({("commit", number): first, ("commit", number + 1): second})


async def test_a_long_outage_is_only_a_delay():
    for fault in FAULTS:
        await play({("commit", number): fault for number in range(4, 40)})


@pytest.mark.parametrize("method", ["history", "get_many", "reap", "applied", "changed", "unregister", "register"])
async def test_every_other_call_may_fail_too(method):
    for number in range(1, 6):
        lost = {("commit", 5): LOST_AFTER, ("commit", 9): LOST_BEFORE}
        first = 2 if method == "register" else 1
        await play({**lost, (method, first + number): UNAVAILABLE})


async def test_while_nobody_tells_what_came_of_a_commit_the_log_says_why_nobody_does(caplog):
    await play({("commit", 5): LOST_AFTER, ("applied", 1): UNAVAILABLE})

    told = (
        "a commit's outcome is unknown (planned, and it was applied), and the store does not tell it (planned); asking"
    )
    assert told in caplog.text


async def test_an_event_lands_once_or_not_at_all_and_its_sender_knows_or_is_told_that_nobody_does():
    @orchestration(name="collect")
    async def collect(ctx: OrchestrationContext) -> list[int]:
        seen: list[int] = []
        while True:
            match await ctx.select2(ctx.schedule_timer(60), ctx.schedule_wait(MAIL)):
                case 1, number:
                    seen.append(number)
                case _:
                    return seen

    for fault, number in itertools.product(FAULTS, range(2, 9)):
        async with FaultyEnvironment(Registry(collect), {("commit", number): fault}) as env:
            handle = await env.client.start_orchestration(collect)
            sure, unsure = [], []
            for event in range(6):
                try:
                    await handle.raise_event(MAIL, event)
                except OutcomeUnknownError:
                    unsure.append(event)
                except StorageUnavailableError:
                    continue
                else:
                    sure.append(event)
            seen = await handle.result()
        assert len(seen) == len(set(seen))
        assert set(sure) <= set(seen) <= {*sure, *unsure}
        assert seen == sorted(seen)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_real_file_survives_it_too(database, fault):
    ledger = Ledger()

    @orchestration(name="chain")
    async def chain(ctx: OrchestrationContext, length: int) -> int:
        for number in range(length):
            await ctx.schedule_activity(Ledger.write, f"{ctx.instance_id} {number}")
        return length

    class Unlucky(FaultyRuntime):
        plan = {("commit", number): fault for number in (3, 5, 6, 9)}  # noqa: RUF012 - one plan for this test

    async with Unlucky(database, Registry(ledger, chain)) as runtime:
        handles = [await runtime.client.start_orchestration(chain, 4, instance_id=f"i-{n}") for n in range(4)]
        assert await asyncio.gather(*(handle.result() for handle in handles)) == [4] * 4
    assert sorted(ledger.effects.values()) == sorted(f"i-{n} {number}" for n in range(4) for number in range(4))


async def test_a_runtime_closes_although_storage_is_gone(database):
    class Unlucky(FaultyRuntime):
        plan: Plan = {}  # noqa: RUF012 - one plan for this test

    async with Unlucky(database, Registry(wait)) as runtime:
        handle = await runtime.client.start_orchestration(wait, instance_id="i")
        runtime.plan.update({("commit", number): UNAVAILABLE for number in range(1, 10_000)})
        runtime.plan[("unregister", 1)] = UNAVAILABLE
        waiting = asyncio.create_task(handle.result())
        with pytest.raises(StorageUnavailableError):
            await runtime.client.start_orchestration("another", start_at=(await handle.status()).created_at)
    with pytest.raises(Exception, match="closed"):
        await waiting
    async with Runtime(database, Registry(wait)) as runtime:
        await runtime.client.raise_event("i", MAIL, 5)
        assert await runtime.client.get_handle("i", wait).result(timeout=8) == 5


async def test_an_unexpected_failure_of_storage_is_no_hang_and_no_loss(database):
    class Unlucky(FaultyRuntime):
        plan = {("commit", number): BROKEN for number in (3, 4)}  # noqa: RUF012 - one plan for this test

    async with Unlucky(database, Registry(wait)) as runtime:
        handles = []
        for number in range(4):
            start = partial(
                runtime.client.start_orchestration, wait, instance_id=f"i-{number}", on_conflict="use_existing"
            )
            await insist(start)
            handles.append(runtime.client.get_handle(f"i-{number}", wait))
        for number, handle in enumerate(handles):
            await insist(partial(handle.raise_event, MAIL, number, dedup_key="once"))
        assert [await handle.result() for handle in handles] == [0, 1, 2, 3]


async def test_an_unexpected_failure_while_it_starts_over_is_no_hang_either(database):
    # given: somebody waits for an instance
    class Unlucky(FaultyRuntime):
        plan: Plan = {}  # noqa: RUF012 - one plan for this test

    async with Unlucky(database, Registry(wait)) as runtime:
        handle = await runtime.client.start_orchestration(wait)
        waiting = asyncio.create_task(handle.result())
        await handle.status()

        # when: the answer of a commit is lost, and the looks from the new place at who waits fail as none should
        calls = runtime.faulty.calls
        runtime.plan["commit", calls["commit"] + 1] = LOST_AFTER
        runtime.plan.update({("get_many", calls.get("get_many", 0) + number): BROKEN for number in (1, 2, 3)})
        await insist(partial(handle.raise_event, MAIL, 7, dedup_key="once"))

        # then
        assert await asyncio.wait_for(waiting, 30) == 7
