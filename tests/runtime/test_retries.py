"""Retries: attempts, backoff on the store's time, what is retried, time limits, and the key that stays the same."""

import asyncio
import logging
from datetime import timedelta

import pytest

from perdure import (
    ActivityContext,
    ActivityError,
    ActivityTimeoutError,
    Backoff,
    NonRetryableError,
    OrchestrationContext,
    OrchestrationError,
    Registry,
    RetryAfter,
    RetryPolicy,
    Runtime,
    activity,
    orchestration,
)
from perdure.testing import Environment

QUICK = Backoff.none()


class Declined(Exception): ...


class Unreachable(ConnectionError): ...


class Flaky:
    """Fails with the given errors, one an attempt, then succeeds; remembers every attempt."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.attempts: list[int] = []
        self.keys: list[str] = []
        self.times: list[float] = []
        self.env: Environment | None = None

    @activity
    async def work(self, ctx: ActivityContext) -> str:
        self.attempts.append(ctx.attempt)
        self.keys.append(ctx.idempotency_key)
        if self.env is not None:
            self.times.append(self.env.now.timestamp())
        if self.errors:
            raise self.errors.pop(0)
        return f"done at {ctx.attempt}"

    def waits(self) -> list[float]:
        return [round(later - earlier, 6) for earlier, later in zip(self.times, self.times[1:], strict=False)]


@orchestration(name="work-it")
async def work_it(ctx: OrchestrationContext) -> str:
    return await ctx.schedule_activity(Flaky.work)


def with_policy(policy: RetryPolicy):
    @orchestration(name="work-it")
    async def work_with_policy(ctx: OrchestrationContext) -> str:
        return await ctx.schedule_activity(Flaky.work, retry=policy)

    return work_with_policy


async def attempt_all(flaky: Flaky, policy: RetryPolicy) -> str:
    program = with_policy(policy)
    async with Environment(Registry(flaky, program)) as env:
        flaky.env = env
        return await env.run(program)


async def test_without_a_policy_there_is_one_attempt():
    flaky = Flaky(RuntimeError("no"))
    async with Environment(Registry(flaky, work_it)) as env:
        with pytest.raises(OrchestrationError, match="no"):
            await env.run(work_it)
    assert flaky.attempts == [1]


async def test_attempts_go_on_until_one_succeeds():
    flaky = Flaky(RuntimeError("one"), RuntimeError("two"))
    assert await attempt_all(flaky, RetryPolicy(5)) == "done at 3"
    assert flaky.attempts == [1, 2, 3]


async def test_the_last_error_is_told_when_all_attempts_failed():
    flaky = Flaky(*(RuntimeError(f"number {n}") for n in range(1, 9)))
    with pytest.raises(OrchestrationError, match="after 3 attempts.*number 3"):
        await attempt_all(flaky, RetryPolicy(3, backoff=QUICK))
    assert flaky.attempts == [1, 2, 3]


async def test_an_attempt_that_is_made_again_is_logged_with_why_and_when(caplog):
    flaky = Flaky(Unreachable("no line"))
    with caplog.at_level(logging.INFO, logger="perdure.runtime"):
        async with Environment(Registry(flaky, with_policy(RetryPolicy(2, backoff=Backoff.fixed(7))))) as env:
            handle = await env.client.start_orchestration("work-it", instance_id="a")
            await handle.result()

    [message] = [record.message for record in caplog.records if "attempt" in record.message]
    name = Flaky.work.name
    assert message.startswith(f"a: attempt 1 of {name} failed, the next is in 7 s: ")
    assert message.endswith("Unreachable: no line")


async def test_the_last_attempt_is_logged_with_why_though_the_orchestration_goes_on(caplog):
    flaky = Flaky(Unreachable("no line"), Declined("no money"))

    @orchestration(name="work-it")
    async def go_on_without(ctx: OrchestrationContext) -> str:
        try:
            return await ctx.schedule_activity(Flaky.work, retry=RetryPolicy(2, backoff=QUICK))
        except ActivityError:
            return "without"

    with caplog.at_level(logging.INFO, logger="perdure.runtime"):
        async with Environment(Registry(flaky, go_on_without)) as env:
            handle = await env.client.start_orchestration("work-it", instance_id="a")
            assert await handle.result() == "without"

    last = caplog.records[-1]
    assert last.levelno == logging.INFO
    assert last.message.startswith(f"a: attempt 2 of {Flaky.work.name} failed, the last one: ")
    assert last.message.endswith("Declined: no money")


async def test_an_activity_that_is_ended_because_its_orchestration_asked_for_that_is_no_failure_to_log(caplog):
    begun = asyncio.Event()

    @activity
    async def endless() -> None: ...

    async def wait_for_ever() -> None:
        begun.set()
        await asyncio.Event().wait()

    @orchestration(name="work-it")
    async def stop_it(ctx: OrchestrationContext) -> str:
        working = ctx.schedule_activity(endless, on_cancel="wait")
        await ctx.schedule_timer(1)
        working.cancel()
        try:
            await working
        except asyncio.CancelledError:
            return "stopped"
        return "not stopped"

    with caplog.at_level(logging.INFO, logger="perdure.runtime"):
        async with Environment(Registry(endless, stop_it)) as env:
            env.fake(endless, wait_for_ever)
            handle = await env.client.start_orchestration("work-it")
            await begun.wait()
            await env.advance(1)
            assert await handle.result() == "stopped"

    assert [record.message for record in caplog.records if "failed" in record.message] == []


async def test_the_idempotency_key_is_the_same_on_all_attempts():
    flaky = Flaky(RuntimeError("one"), RuntimeError("two"))
    await attempt_all(flaky, RetryPolicy(3))
    assert len(set(flaky.keys)) == 1


async def test_history_has_one_scheduled_event_and_one_outcome_however_many_attempts():
    flaky = Flaky(RuntimeError("one"), RuntimeError("two"))
    program = with_policy(RetryPolicy(3))
    async with Environment(Registry(flaky, program)) as env:
        handle = await env.client.start_orchestration(program, instance_id="i-1")
        await handle.result()
        events = [event async for event in env.client.history("i-1")]
    assert [event.kind for event in events] == ["Started", "ActivityScheduled", "ActivityCompleted", "Completed"]
    assert events[2].data["attempts"] == 3


@pytest.mark.parametrize(
    ("backoff", "waits"),
    [
        (Backoff.none(), [0, 0, 0, 0]),
        (Backoff.fixed(5), [5, 5, 5, 5]),
        (Backoff.linear(2, max=5), [2, 4, 5, 5]),
        (Backoff.exponential(2, multiplier=3.0, max=30), [2, 6, 18, 30]),
        (Backoff.exponential(timedelta(hours=1), max=timedelta(days=1)), [3600, 7200, 14400, 28800]),
    ],
    ids=["none", "fixed", "linear", "exponential", "hours"],
)
async def test_attempts_are_apart_as_the_backoff_says(backoff, waits):
    flaky = Flaky(*(RuntimeError("again") for _ in range(4)))
    assert await attempt_all(flaky, RetryPolicy(5, backoff=backoff)) == "done at 5"
    assert flaky.waits() == waits


async def test_jitter_only_shortens_the_wait():
    flaky = Flaky(*(RuntimeError("again") for _ in range(8)))
    await attempt_all(flaky, RetryPolicy(9, backoff=Backoff.fixed(10, jitter=0.5)))
    assert all(5 <= wait <= 10 for wait in flaky.waits())
    assert len(set(flaky.waits())) > 1


async def test_the_decorators_policy_holds_where_the_call_gives_none():
    tries: list[int] = []

    @activity(retry=RetryPolicy(3, backoff=QUICK))
    async def stubborn(ctx: ActivityContext) -> None:
        tries.append(ctx.attempt)
        raise RuntimeError("no")

    @orchestration
    async def both(ctx: OrchestrationContext) -> list[int]:
        counts = []
        for policy in (None, RetryPolicy(2, backoff=QUICK)):
            try:
                await ctx.schedule_activity(stubborn, retry=policy)
            except ActivityError as error:
                counts.append(error.error.attempts)
        return counts

    async with Environment(Registry(stubborn, both)) as env:
        assert await env.run(both) == [3, 2]
    assert tries == [1, 2, 3, 1, 2]


async def test_only_what_retry_on_names_is_tried_again():
    flaky = Flaky(Unreachable("hiccup"), Declined("no money"))
    with pytest.raises(OrchestrationError, match="no money"):
        await attempt_all(flaky, RetryPolicy(9, backoff=QUICK, retry_on=(ConnectionError,)))
    assert flaky.attempts == [1, 2]


async def test_what_never_retry_names_is_final():
    flaky = Flaky(Unreachable("hiccup"), Declined("no money"))
    with pytest.raises(OrchestrationError, match="no money") as caught:
        await attempt_all(flaky, RetryPolicy(9, backoff=QUICK, never_retry=(Declined,)))
    assert flaky.attempts == [1, 2]
    assert caught.value.caused_by(Declined)


async def test_a_non_retryable_error_is_final_and_says_what_caused_it():
    class Stolen:
        tries = 0

        @activity
        async def work(self, _ctx: ActivityContext) -> str:
            self.tries += 1
            try:
                raise Declined("stolen card")
            except Declined as error:
                raise NonRetryableError("give up") from error

    stolen = Stolen()

    @orchestration
    async def pay(ctx: OrchestrationContext) -> bool:
        try:
            await ctx.schedule_activity(Stolen.work, retry=RetryPolicy(9, backoff=QUICK))
        except ActivityError as error:
            return error.caused_by(NonRetryableError) and error.caused_by(Declined)
        return False

    async with Environment(Registry(stolen, pay)) as env:
        assert await env.run(pay)
    assert stolen.tries == 1


async def test_retry_after_says_when():
    flaky = Flaky(RetryAfter(90), RetryAfter(timedelta(hours=2)))
    assert await attempt_all(flaky, RetryPolicy(3, backoff=Backoff.fixed(1))) == "done at 3"
    assert flaky.waits() == [90, 7200]


async def test_retry_after_counts_as_an_attempt():
    flaky = Flaky(*(RetryAfter(1) for _ in range(9)))
    with pytest.raises(OrchestrationError, match="after 2 attempts"):
        await attempt_all(flaky, RetryPolicy(2))
    assert flaky.attempts == [1, 2]


async def test_an_attempt_that_takes_too_long_is_cancelled_and_tried_again():
    ended: list[str] = []

    @activity
    async def slow(ctx: ActivityContext) -> str:
        if ctx.attempt == 3:
            return "at last"
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(f"attempt {ctx.attempt} unwound")
        return "never"

    @orchestration
    async def patient(ctx: OrchestrationContext) -> str:
        return await ctx.schedule_activity(slow, retry=RetryPolicy(3, backoff=QUICK, attempt_timeout=0.01))

    async with Runtime("memory://", Registry(slow, patient)) as runtime:
        handle = await runtime.client.start_orchestration(patient)
        assert await handle.result() == "at last"
    assert ended == ["attempt 1 unwound", "attempt 2 unwound"]


async def test_an_activity_that_never_ends_in_time_is_a_timeout_for_the_orchestration():
    @activity
    async def slow(ctx: ActivityContext) -> None:
        assert ctx.deadline is not None
        await asyncio.Event().wait()

    @orchestration
    async def patient(ctx: OrchestrationContext) -> tuple[int, str]:
        try:
            await ctx.schedule_activity(slow, retry=RetryPolicy(2, backoff=QUICK, attempt_timeout=0.01))
        except ActivityTimeoutError as error:
            return error.error.attempts, error.error.message
        return 0, ""

    async with Runtime("memory://", Registry(slow, patient)) as runtime:
        handle = await runtime.client.start_orchestration(patient)
        assert await handle.result() == (2, "it did not end within 0.01 s")


async def test_a_timeout_of_the_activitys_own_is_an_ordinary_failure():
    @activity
    async def ask() -> None:
        raise TimeoutError("the bank is silent")

    @orchestration
    async def pay(ctx: OrchestrationContext) -> str:
        try:
            await ctx.schedule_activity(ask, retry=RetryPolicy(1, attempt_timeout=60))
        except ActivityError as error:
            return f"{type(error).__name__}: {error.error.message}"
        return ""

    async with Environment(Registry(ask, pay)) as env:
        assert await env.run(pay) == "ActivityError: the bank is silent"


async def test_the_total_time_includes_the_waits():
    flaky = Flaky(*(RuntimeError("again") for _ in range(99)))
    with pytest.raises(OrchestrationError) as caught:
        await attempt_all(flaky, RetryPolicy(99, backoff=Backoff.fixed(10), total_timeout=35))
    assert flaky.attempts == [1, 2, 3, 4]
    assert caught.value.error.type.endswith(("RuntimeError", "TimeoutError", "ActivityError"))


async def test_the_total_time_ends_an_attempt_under_way():
    @activity
    async def slow() -> None:
        await asyncio.Event().wait()

    @orchestration
    async def patient(ctx: OrchestrationContext) -> str:
        try:
            await ctx.schedule_activity(slow, retry=RetryPolicy(9, total_timeout=0.02))
        except ActivityTimeoutError as error:
            return f"timed out after {error.error.attempts} attempt"
        return ""

    async with Runtime("memory://", Registry(slow, patient)) as runtime:
        handle = await runtime.client.start_orchestration(patient)
        assert await handle.result() == "timed out after 1 attempt"


async def test_many_instances_retry_each_on_its_own():
    tries: dict[str, int] = {}

    @activity
    async def flaky(ctx: ActivityContext, needed: int) -> int:
        tries[ctx.instance_id] = tries.get(ctx.instance_id, 0) + 1
        if ctx.attempt < needed:
            raise RuntimeError("again")
        return ctx.attempt

    @orchestration
    async def persist(ctx: OrchestrationContext, needed: int) -> int:
        return await ctx.schedule_activity(flaky, needed, retry=RetryPolicy(60, backoff=Backoff.fixed(1)))

    async with Environment(Registry(flaky, persist)) as env:
        handles = await env.client.start_many(persist, [(f"i-{n}", n) for n in range(1, 51)])
        assert [await handle.result() for handle in handles] == list(range(1, 51))
    assert tries == {f"i-{n}": n for n in range(1, 51)}
