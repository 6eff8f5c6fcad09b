"""Errors across every boundary: typed, with message, attempts and the remote traceback, and asked for their cause."""

import logging

import pytest

from perdure import (
    ActivityError,
    NonRetryableError,
    OrchestrationContext,
    OrchestrationError,
    PayloadError,
    Registry,
    RetryPolicy,
    Runtime,
    activity,
    orchestration,
)
from perdure.testing import Environment


class CardDeclined(Exception):
    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.details = {"code": code}


class CardStolen(CardDeclined): ...


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("even this fails")


@activity(name="charge")
async def charge(card: str) -> str:
    if card == "stolen":
        raise CardStolen("this card was stolen", 17)
    if card == "unprintable":
        raise Unprintable
    if card == "endless":
        raise RuntimeError("x" * 10_000_000)
    if card == "surrogate":
        raise RuntimeError("half \ud83d of a pair and a \0")
    if card == "cycle":
        error = RuntimeError("my own cause")
        error.__cause__ = error
        raise error
    return "charged"


@orchestration(name="pay")
async def pay(ctx: OrchestrationContext, card: str) -> str:
    return await ctx.schedule_activity(charge, card)


@orchestration(name="sell")
async def sell(ctx: OrchestrationContext, card: str) -> str:
    return await ctx.schedule_sub_orchestration(pay, card)


async def test_an_activitys_error_is_caught_by_its_type_and_its_base():
    @orchestration
    async def look(ctx: OrchestrationContext) -> list[bool]:
        try:
            await ctx.schedule_activity(charge, "stolen")
        except ActivityError as error:
            return [error.caused_by(each) for each in (CardStolen, CardDeclined, Exception, LookupError)]
        return []

    async with Environment(Registry(charge, look)) as env:
        assert await env.run(look) == [True, True, True, False]


async def test_an_activitys_error_carries_what_is_known_of_it():
    @orchestration
    async def look(ctx: OrchestrationContext) -> dict[str, object]:
        try:
            await ctx.schedule_activity(charge, "stolen", retry=RetryPolicy(2))
        except ActivityError as error:
            info = error.error
            return {
                "activity": error.activity_name,
                "type": info.type,
                "message": info.message,
                "attempts": info.attempts,
                "details": info.details,
                "line": 'raise CardStolen("this card was stolen", 17)' in (info.traceback or ""),
                "text": str(error),
            }
        return {}

    async with Environment(Registry(charge, look)) as env:
        seen = await env.run(look)
    assert seen.pop("type") == f"{CardStolen.__module__}.CardStolen"
    assert "charge failed after 2 attempts" in seen.pop("text")
    assert seen == {
        "activity": "charge",
        "message": "this card was stolen",
        "attempts": 2,
        "details": {"code": 17},
        "line": True,
    }


async def test_what_an_orchestration_lets_through_is_still_caused_by_what_the_activity_raised(url):
    async with Runtime(url, Registry(charge, pay)) as runtime:
        handle = await runtime.client.start_orchestration(pay, "stolen", instance_id="i-1")
        with pytest.raises(OrchestrationError) as caught:
            await handle.result()
        status = await handle.status()
    assert caught.value.instance_id == "i-1"
    assert caught.value.caused_by(ActivityError)
    assert caught.value.caused_by(CardDeclined)
    assert not caught.value.caused_by(LookupError)
    assert status.status == "failed"
    assert status.error == caught.value.error


async def test_a_childs_error_is_caught_by_what_lies_two_levels_below():
    @orchestration
    async def top(ctx: OrchestrationContext) -> tuple[bool, bool, str]:
        child = ctx.schedule_sub_orchestration(sell, "stolen")
        try:
            await child
        except OrchestrationError as error:
            return error.caused_by(CardDeclined), error.instance_id == child.instance_id, error.error.message
        return False, False, ""

    async with Environment(Registry(charge, pay, sell, top)) as env:
        is_declined, is_childs, message = await env.run(top)
    assert is_declined
    assert is_childs
    assert "this card was stolen" in message


async def test_a_detached_orchestrations_error_is_its_own():
    @orchestration
    async def top(ctx: OrchestrationContext) -> str:
        return ctx.schedule_orchestration(pay, "stolen", instance_id="detached")

    async with Environment(Registry(charge, pay, top)) as env:
        handle = env.client.get_handle(await env.run(top))
        with pytest.raises(OrchestrationError) as caught:
            await handle.result()
    assert caught.value.instance_id == "detached"
    assert caught.value.caused_by(CardStolen)


async def test_an_orchestrations_own_error_fails_it_at_once():
    @orchestration
    async def check(ctx: OrchestrationContext) -> None:
        raise CardDeclined("not today", 3)

    async with Environment(Registry(check)) as env:
        with pytest.raises(OrchestrationError, match="not today") as caught:
            await env.run(check)
    assert caught.value.caused_by(CardDeclined)
    assert caught.value.error.details == {"code": 3}


async def test_a_group_of_errors_fails_it_and_names_its_members():
    @orchestration
    async def check(ctx: OrchestrationContext) -> None:
        raise ExceptionGroup("several", [CardDeclined("first"), KeyError("second")])

    async with Environment(Registry(check)) as env:
        with pytest.raises(OrchestrationError, match="CardDeclined: first; KeyError: 'second'"):
            await env.run(check)


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ("unprintable", "<no message: str.. of the exception raised RuntimeError>"),
        ("endless", "cut, 10000000 bytes in all"),
        ("surrogate", "half \ufffd of a pair and a \ufffd"),
        ("cycle", "my own cause"),
    ],
)
async def test_an_exception_that_resists_being_recorded_is_recorded_all_the_same(card, words):
    async with Environment(Registry(charge, pay)) as env:
        with pytest.raises(OrchestrationError, match=words) as caught:
            await env.run(pay, card)
    assert len(caught.value.error.message) < 17_000


async def test_a_result_that_does_not_fit_fails_the_activity_once_and_in_words():
    tries: list[int] = []

    @activity
    async def lie() -> int:
        tries.append(1)
        return "a string"  # type: ignore[return-value]  # the mistake under test

    @orchestration
    async def look(ctx: OrchestrationContext) -> str:
        try:
            await ctx.schedule_activity(lie, retry=RetryPolicy(5))
        except ActivityError as error:
            return error.error.message if error.caused_by(PayloadError) else "caused by something else"
        return ""

    async with Environment(Registry(lie, look)) as env:
        message = await env.run(look)
    assert "lie" in message
    assert "int" in message
    assert tries == [1]


async def test_an_orchestrations_result_that_does_not_fit_fails_it_in_words():
    @orchestration(name="lie")
    async def lie(ctx: OrchestrationContext) -> int:
        return "a string"  # type: ignore[return-value]  # the mistake under test

    async with Environment(Registry(lie)) as env:
        with pytest.raises(OrchestrationError, match="result of orchestration lie") as caught:
            await env.run(lie)
    assert caught.value.caused_by(PayloadError)


async def test_inputs_that_do_not_fit_are_refused_at_the_line_that_gives_them():
    @orchestration
    async def careless(ctx: OrchestrationContext) -> str:
        try:
            ctx.schedule_activity(charge, 12)  # type: ignore[call-overload]  # the mistake under test
        except PayloadError as error:
            return str(error)
        return ""

    async with Environment(Registry(charge, careless)) as env:
        message = await env.run(careless)
        with pytest.raises(PayloadError, match="str"):
            await env.run(pay, 12)
    assert "charge" in message
    assert "str" in message


async def test_inputs_from_elsewhere_that_do_not_fit_fail_the_activity_or_the_orchestration():
    @orchestration
    async def by_name(ctx: OrchestrationContext) -> str:
        try:
            await ctx.schedule_activity("charge", {"not": "a string"}, returns=str)
        except ActivityError as error:
            return error.error.type
        return ""

    async with Environment(Registry(charge, pay, by_name)) as env:
        assert (await env.run(by_name)).endswith("PayloadError")
        handle = await env.client.start_orchestration("pay", {"not": "a string"}, returns=str)
        with pytest.raises(OrchestrationError) as caught:
            await handle.result()
    assert caught.value.caused_by(PayloadError)


async def test_a_non_retryable_error_says_what_it_wraps():
    @activity
    async def give_up() -> None:
        raise NonRetryableError("no use") from CardDeclined("no money")

    @orchestration
    async def look(ctx: OrchestrationContext) -> list[bool]:
        try:
            await ctx.schedule_activity(give_up, retry=RetryPolicy(5))
        except ActivityError as error:
            return [error.caused_by(NonRetryableError), error.caused_by(CardDeclined), error.error.retryable]
        return []

    async with Environment(Registry(give_up, look)) as env:
        assert await env.run(look) == [True, True, False]


async def test_a_failed_instance_is_in_the_log_of_its_worker_with_its_error(caplog):
    with caplog.at_level(logging.INFO, logger="perdure.runtime"):
        async with Environment(Registry(charge, pay)) as env:
            handle = await env.client.start_orchestration(pay, "stolen", instance_id="a")
            with pytest.raises(OrchestrationError):
                await handle.result()
    [message] = [record.getMessage() for record in caplog.records if "(pay) failed" in record.message]
    assert message.startswith("a (pay) failed: perdure.errors.ActivityError: ")
    assert message.endswith("CardStolen: this card was stolen")
