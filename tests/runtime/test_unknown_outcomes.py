"""`on_unknown="hold"`: what may have happened is not run again before a probe or a person has said that it did not."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from perdure import (
    ActivityContext,
    ActivityError,
    ActivityTimeoutError,
    CannotTell,
    Client,
    DidNotHappen,
    Failed,
    Happened,
    NonRetryableError,
    NotHeldError,
    OrchestrationCancelledError,
    OrchestrationContext,
    OrchestrationTerminatedError,
    OutcomeUnknownError,
    Registry,
    RetryAfter,
    RetryPolicy,
    Runtime,
    Status,
    UsageError,
    Verdict,
    activity,
    orchestration,
)


class World:
    """What activities have done in it, and how the next call goes."""

    def __init__(self):
        self.calls = []
        self.called = asyncio.Event()
        self.hangs = True
        self.verdict = CannotTell()
        self.probed = []

    async def charge(self, key: str) -> str:
        self.calls.append(key)
        self.called.set()
        if self.hangs:
            await asyncio.Event().wait()
        return f"receipt {len(self.calls)}"


@pytest.fixture
async def world():
    return World()


def made(world: World, retry: RetryPolicy | None = None) -> Registry:
    """An activity that asks nobody, and one that asks a probe; what may not be charged twice."""

    @activity(name="charge", on_unknown="hold")
    async def charge(ctx: ActivityContext, order: str) -> str:
        return await world.charge(ctx.idempotency_key)

    async def probe(ctx: ActivityContext, order: str) -> Verdict[str]:
        world.probed.append((ctx.idempotency_key, order))
        if isinstance(world.verdict, BaseException):
            raise world.verdict
        return world.verdict

    @activity(name="find-out", on_unknown="hold", probe=probe)
    async def find_out(ctx: ActivityContext, order: str) -> str:
        return await world.charge(ctx.idempotency_key)

    @orchestration(name="pay")
    async def pay(ctx: OrchestrationContext, which: str) -> str:
        try:
            return await ctx.schedule_activity(which, "order-1", returns=str, retry=retry)
        except ActivityTimeoutError as late:
            return f"late: {late.error.message}"
        except ActivityError as error:
            return f"failed: {error.error.summary}"

    return Registry(charge, find_out, pay)


async def begin(url: str, world: World, which: str, retry: RetryPolicy | None = None) -> None:
    """A worker calls it, and ends before there is an outcome."""
    async with Runtime(url, made(world, retry), grace=0) as runtime:
        await runtime.client.start_orchestration("pay", which, instance_id="i")
        await world.called.wait()
    world.hangs = False


async def begin_with(url: str, world: World, probe: Callable[..., Verdict[str]]) -> Registry:
    """The same of an activity that asks this probe."""

    @activity(name="charge", on_unknown="hold", probe=probe)
    async def charge(order: str) -> str:
        return await world.charge(order)

    @orchestration(name="pay")
    async def pay(ctx: OrchestrationContext) -> str:
        return await ctx.schedule_activity(charge, "order-1")

    registry = Registry(charge, pay)
    async with Runtime(url, registry, grace=0) as runtime:
        await runtime.client.start_orchestration(pay, instance_id="i")
        await world.called.wait()
    return registry


async def held(runtime: Runtime):
    """What is held, as soon as something is."""
    while not (found := await runtime.client.list_held_activities()):
        await asyncio.sleep(0)
    return found


async def test_an_attempt_that_ends_has_an_outcome(database, world):
    world.hangs = False
    async with Runtime(database, made(world)) as runtime:
        handle = await runtime.client.start_orchestration("pay", "charge")
        assert await handle.result() == "receipt 1"


async def test_what_nobody_knows_of_is_held_and_not_run_again(database, world):
    await begin(database, world, "charge")
    async with Runtime(database, made(world)) as runtime:
        [item] = await held(runtime)
        assert (item.instance_id, item.name, item.attempt) == ("i", "charge", 1)
        assert item.began_at is not None
        assert item.held_because.startswith("whether it has happened is unknown")
        assert (await runtime.client.get_status("i")).status is Status.RUNNING
        assert len(world.calls) == 1


async def test_what_nobody_knows_of_is_held_when_its_instance_takes_back_a_later_turn(database, world):
    @activity(name="charge", on_unknown="hold")
    async def charge(order: str) -> str:
        return await world.charge(order)

    @orchestration(name="pay")
    async def pay(ctx: OrchestrationContext) -> str:
        receipt = ctx.schedule_activity(charge, "order-1")
        ctx.set_custom_status(await ctx.schedule_wait("note"))
        return await receipt

    registry = Registry(charge, pay)
    async with Runtime(database, registry, grace=0) as runtime:
        handle = await runtime.client.start_orchestration(pay, instance_id="i")
        await world.called.wait()
        await handle.raise_event("note", "hurry")
        await handle.wait_for_status_change()
    world.hangs = False
    async with Client(database) as client:
        await client.reset("i", to="last")
    async with Runtime(database, registry) as runtime:
        [item] = await held(runtime)
        assert item.held_because.startswith("whether it has happened is unknown")
        assert len(world.calls) == 1


async def test_a_person_says_that_it_happened(database, world):
    await begin(database, world, "charge")
    async with Runtime(database, made(world)) as runtime:
        await held(runtime)
        await runtime.client.resolve("i", Happened("receipt from the bank"))
        assert await runtime.client.get_handle("i").result() == "receipt from the bank"
        assert len(world.calls) == 1


async def test_a_person_says_that_it_failed(database, world):
    await begin(database, world, "charge")
    async with Runtime(database, made(world, retry=RetryPolicy(5))) as runtime:
        await held(runtime)
        await runtime.client.resolve("i", Failed("declined"))
        assert await runtime.client.get_handle("i").result() == "failed: perdure.errors.NonRetryableError: declined"
        assert len(world.calls) == 1


async def test_a_person_says_that_it_did_not_happen_and_it_runs_once_more_with_its_key(database, world):
    await begin(database, world, "charge")
    async with Runtime(database, made(world)) as runtime:
        [item] = await held(runtime)
        await runtime.client.resolve(item, DidNotHappen())
        assert await runtime.client.get_handle("i").result() == "receipt 2"
        assert world.calls[0] == world.calls[1]
        assert await runtime.client.list_held_activities(instance_id="i") == []


async def test_a_retry_asks_and_does_not_repeat(database, world):
    await begin(database, world, "charge")
    async with Runtime(database, made(world)) as runtime:
        [first] = await held(runtime)
        await runtime.client.retry("i", event_id=first.event_id)
        await runtime.client.resume("i")
        [again] = await held(runtime)
        assert (again.began_at, len(world.calls)) == (first.began_at, 1)


async def test_what_is_no_decision_or_names_nothing_that_is_held_is_refused(database, world):
    await begin(database, world, "charge")
    async with Runtime(database, made(world)) as runtime:
        [item] = await held(runtime)
        with pytest.raises(UsageError, match=r"CannotTell\(reason=''\) is no decision"):
            await runtime.client.resolve("i", CannotTell())
        with pytest.raises(NotHeldError):
            await runtime.client.resolve("i", Happened("x"), event_id=item.event_id + 1)
        with pytest.raises(NotHeldError):
            await runtime.client.resolve(replace(item, began_at=item.held_at + timedelta(seconds=1)), DidNotHappen())
        await runtime.client.resolve("i", Happened("x"))
        await runtime.client.get_handle("i").result()
        with pytest.raises(NotHeldError):
            await runtime.client.resolve("i", Happened("x"))


@pytest.mark.parametrize(
    ("verdict", "result", "calls"),
    [
        (Happened("found"), "found", 1),
        (Failed(NonRetryableError("declined")), "failed: perdure.errors.NonRetryableError: declined", 1),
        (DidNotHappen(), "receipt 2", 2),
    ],
    ids=["happened", "failed", "did-not-happen"],
)
async def test_a_probe_resolves_it_by_itself(database, world, verdict, result, calls):
    await begin(database, world, "find-out")
    world.verdict = verdict
    async with Runtime(database, made(world)) as runtime:
        assert await runtime.client.get_handle("i").result() == result
    assert len(world.calls) == calls
    assert world.probed == [(world.calls[0], "order-1")]


@pytest.mark.parametrize(
    ("verdict", "why"),
    [
        (CannotTell("the bank is closed"), "(the bank is closed)"),
        (Happened(["not", "a", "str"]), "(it has happened, and the result does not fit:"),
        (ConnectionError("no bank"), "(its probe failed: ConnectionError: no bank)"),
        (SystemExit(3), "(its probe failed: SystemExit: 3: it asks the whole process to end"),
        (GeneratorExit(), "(its probe failed: GeneratorExit: "),
        ("done", "(its probe returned 'done', which is no verdict)"),
    ],
    ids=["cannot-tell", "misfit", "raises", "leaves", "ends", "no-verdict"],
)
async def test_a_probe_that_does_not_find_out_leaves_it_to_a_person(database, world, verdict, why):
    await begin(database, world, "find-out")
    world.verdict = verdict
    async with Runtime(database, made(world)) as runtime:
        [item] = await held(runtime)
        assert why in item.held_because
        assert len(world.calls) == 1


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration])
async def test_a_plain_probe_that_raises_has_not_found_out_whatever_it_is(database, world, error):
    def probe(ctx: ActivityContext, order: str) -> Verdict[str]:
        raise error("enough")

    registry = await begin_with(database, world, probe)
    async with Runtime(database, registry) as runtime:
        [item] = await held(runtime)
    assert "its probe failed: " in item.held_because
    assert error.__name__ in item.held_because


async def test_a_probe_may_ask_to_be_asked_later(database, world):
    await begin(database, world, "find-out")
    world.verdict = RetryAfter(0.05)
    async with Runtime(database, made(world)) as runtime:
        result = asyncio.ensure_future(runtime.client.get_handle("i").result())
        while len(world.probed) < 2:
            await asyncio.sleep(0)
        world.verdict = Happened("at last")
        assert await result == "at last"
    assert len(world.calls) == 1


async def test_a_plain_probe_runs_in_a_thread(database, world):
    threads = []

    def probe(ctx: ActivityContext, order: str) -> Verdict[str]:
        threads.append(threading.current_thread())
        return Happened(f"{order} was found")

    registry = await begin_with(database, world, probe)
    async with Runtime(database, registry) as runtime:
        assert await runtime.client.get_handle("i").result() == "order-1 was found"
    assert threads != [threading.main_thread()]


async def test_an_error_is_an_outcome_and_its_policy_decides(database, world):
    failures = iter([OSError("no route"), None])

    @activity(name="charge", on_unknown="hold", retry=RetryPolicy(3))
    async def charge(order: str) -> str:
        world.calls.append(order)
        if error := next(failures):
            raise error
        return "paid"

    @orchestration(name="pay")
    async def pay(ctx: OrchestrationContext) -> str:
        return await ctx.schedule_activity(charge, "order-1")

    async with Runtime(database, Registry(charge, pay)) as runtime:
        handle = await runtime.client.start_orchestration(pay)
        assert await handle.result() == "paid"
        assert len(world.calls) == 2


async def test_what_its_attempt_timeout_cuts_off_is_not_tried_again_but_held(database, world):
    async with Runtime(database, made(world, retry=RetryPolicy(5, attempt_timeout=0.05))) as runtime:
        await runtime.client.start_orchestration("pay", "charge", instance_id="i")
        await held(runtime)
        assert len(world.calls) == 1


async def test_the_total_timeout_ends_it_while_it_is_held(database, world):
    await begin(database, world, "charge", retry=RetryPolicy(5, total_timeout=1.0))
    async with Runtime(database, made(world)) as runtime:
        result = await runtime.client.get_handle("i").result()
        assert result.startswith("late: it did not end within its total timeout of 1 s; whether it has happened")
        assert len(world.calls) == 1


async def test_a_terminated_instance_takes_it_out_of_the_list(database, world):
    await begin(database, world, "charge")
    async with Runtime(database, made(world)) as runtime:
        await held(runtime)
        await runtime.client.terminate("i")
        with pytest.raises(OrchestrationTerminatedError):
            await runtime.client.get_handle("i").result()
        assert await runtime.client.list_held_activities() == []


async def test_a_cancel_that_waits_for_its_end_is_told_that_nobody_knows(database, world):
    heard = []

    @orchestration(name="careful")
    async def careful(ctx: OrchestrationContext) -> None:
        charged = ctx.schedule_activity("charge", "order-1", returns=str, on_cancel="wait")
        try:
            await charged
        finally:
            error = charged.exception()
            heard.append(isinstance(error, ActivityError) and error.caused_by(OutcomeUnknownError))

    registry = Registry(careful, made(world))
    async with Runtime(database, registry, grace=0) as runtime:
        await runtime.client.start_orchestration("careful", instance_id="i")
        await world.called.wait()
    async with Runtime(database, registry) as runtime:
        await held(runtime)
        handle = runtime.client.get_handle("i")
        await handle.cancel("enough")
        with pytest.raises(OrchestrationCancelledError):
            await handle.result()
    assert heard == [True]
    assert len(world.calls) == 1
