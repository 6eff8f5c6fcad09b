"""Wherever a number or a span of time is given, one that can't be is refused at once, with the value, in words."""

from datetime import UTC, datetime, timedelta

import pytest

from perdure import (
    Backoff,
    DidNotHappen,
    Every,
    Limit,
    LimitError,
    OrchestrationContext,
    Registry,
    Retention,
    RetryAfter,
    RetryPolicy,
    Runtime,
    UsageError,
    activity,
    orchestration,
)
from perdure._types import COUNT_MAX, DURATION_US_MAX
from perdure.testing import Environment

LAST = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
LONGEST = timedelta(microseconds=DURATION_US_MAX)
MEANINGLESS = [-1, float("nan"), float("inf"), timedelta(-1)]
TOO_LONG = [10**30, 10**400, 1e300, timedelta.max]


@activity(name="again")
async def again() -> None:
    raise RetryAfter(LONGEST)


@orchestration(name="patient")
async def patient(ctx: OrchestrationContext) -> None:
    waiting = ctx.schedule_timer(LONGEST)
    await ctx.schedule_activity(again, retry=RetryPolicy(2, total_timeout=None))
    await waiting


def runtime(**options):
    return Runtime("memory://", Registry(patient), **options)


SPANS = {
    "RetryAfter": RetryAfter,
    "Backoff base": Backoff.fixed,
    "Backoff max": lambda span: Backoff.linear(1, max=span),
    "RetryPolicy attempt_timeout": lambda span: RetryPolicy(attempt_timeout=span),
    "RetryPolicy total_timeout": lambda span: RetryPolicy(total_timeout=span),
    "per": lambda span: Limit("key", rate=1, per=span),
    "interval": Every,
    "offset": lambda span: Every(60, span),
    "after": lambda span: Retention(after=span),
    "failed_after": lambda span: Retention(failed_after=span),
    "grace": lambda span: runtime(grace=span),
    "turn_limit": lambda span: runtime(turn_limit=span),
    "session_idle": lambda span: runtime(session_idle=span),
    "heartbeat_timeout": lambda span: activity(name="x", heartbeat_timeout=span)(again.fn),
    "cancel_grace": lambda span: activity(name="x", cancel_grace=span)(again.fn),
}
COUNTS = {
    "max_activities": lambda count: runtime(max_activities=count),
    "activity_threads": lambda count: runtime(activity_threads=count),
    "max_cached_instances": lambda count: runtime(max_cached_instances=count),
    "max_deliveries": lambda count: runtime(max_deliveries=count),
    "max_sessions": lambda count: runtime(max_sessions=count),
    "executions": lambda count: Retention(executions=count),
}
ASKED = {
    "keep": lambda client, count: client.prune("i", keep=count),
    "execution_id": lambda client, count: anext(client.history("i", execution_id=count)),
    "event_id": lambda client, count: client.retry("i", event_id=count),
    "event_id of a discard": lambda client, count: client.discard("i", event_id=count),
    "event_id of a decision": lambda client, count: client.resolve("i", DidNotHappen(), event_id=count),
}


@pytest.mark.parametrize("span", MEANINGLESS, ids=repr)
@pytest.mark.parametrize("what", SPANS)
def test_a_span_of_time_that_means_nothing_is_refused_where_it_is_given(what, span):
    with pytest.raises(UsageError) as refused:
        SPANS[what](span)

    assert what in str(refused.value)
    assert repr(span) in str(refused.value)


@pytest.mark.parametrize("span", TOO_LONG, ids=lambda span: repr(span)[:20])
@pytest.mark.parametrize("what", SPANS)
def test_a_span_of_time_that_no_calendar_has_is_refused_where_it_is_given(what, span):
    with pytest.raises(UsageError) as refused:
        SPANS[what](span)

    assert f"{what} is {repr(span)[:80]}" in str(refused.value)
    assert "the longest is 253402300799 s, 8029 years" in str(refused.value)


@pytest.mark.parametrize("count", [-1, 1.5, float("nan"), True, "7"], ids=repr)
@pytest.mark.parametrize("what", COUNTS)
def test_a_count_that_is_none_is_refused_where_it_is_given(what, count):
    with pytest.raises(UsageError, match=f"^{what} is {count!r}: use a whole number, "):
        COUNTS[what](count)


@pytest.mark.parametrize("count", [COUNT_MAX + 1, 10**30, 10**5000], ids=["just so", "far", "endless"])
@pytest.mark.parametrize("what", COUNTS)
def test_a_count_that_no_store_can_keep_is_refused_where_it_is_given(what, count):
    with pytest.raises(LimitError, match=f"^{what} is .*: use a whole number from . to {COUNT_MAX:,}"):
        COUNTS[what](count)


@pytest.mark.parametrize("count", [-1, 0, 1.5, float("nan"), 10**30], ids=repr)
@pytest.mark.parametrize("what", ASKED)
async def test_a_client_refuses_a_number_that_nothing_has_before_it_asks_the_store(what, count):
    async with Environment(Registry(again, patient)) as env:
        await env.client.start_orchestration(patient, instance_id="i")

        with pytest.raises(UsageError, match=f"^{what.split()[0]} is {count!r}: use a whole number"):
            await ASKED[what](env.client, count)


async def test_what_is_due_after_the_last_year_is_shown_as_due_at_its_end():
    async with Environment(Registry(again, patient)) as env:
        handle = await env.client.start_orchestration(patient, instance_id="i")
        await env.advance(1)

        [waiting] = await env.client.list_open_activities("i")
        assert (waiting.name, waiting.due_at) == ("again", LAST)
        await handle.cancel()


async def test_time_does_not_pass_beyond_the_last_year():
    async with Environment(Registry(again, patient)) as env:
        with pytest.raises(LimitError, match="which is after the year 9999 from 2026-01-01"):
            await env.advance(LONGEST)
