"""Limits by key: a section holds a place from one event to another, and an activity takes its limit along."""

import asyncio

import pytest

from perdure import Limit, OrchestrationContext, UsageError, activity, orchestration
from perdure import _events as ev
from perdure.errors import ReplayMismatchError
from tests.core.harness import Conversation, kinds, replayed


@activity(name="mail", limit=Limit("smtp", concurrency=5))
async def mail(to: str) -> None: ...


@activity(name="charge", limit=Limit(lambda tenant, _: f"tenant:{tenant}", concurrency=2, rate=10, per=60))
async def charge(tenant: str, cents: int) -> None: ...


@orchestration(name="train")
async def train(ctx: OrchestrationContext) -> str:
    async with ctx.limit("gpu", 5):
        await ctx.schedule_activity("fit", returns=str)
    await ctx.schedule_activity("tell", returns=str)
    return "trained"


def test_a_section_waits_for_its_place_holds_it_and_leaves_it():
    talk = Conversation(train)
    assert kinds(talk.start()) == ["lim gpu"]
    assert kinds(talk.enter(2)) == ["act fit"]
    assert kinds(talk.complete(4, "x")) == ["lim! 2", "act tell"]
    assert kinds(talk.complete(7, "x")) == ['done "trained"']


def test_a_place_comes_once():
    talk = Conversation(train)
    talk.start()
    talk.enter(2)
    assert talk.enter(2) == []
    assert talk.enter(4) == []


def test_a_section_that_fails_leaves_its_place():
    talk = Conversation(train)
    talk.start()
    talk.enter(2)
    assert kinds(talk.fail(4)) == ["lim! 2", "fail perdure.errors.ActivityError"]


def test_who_is_cancelled_in_a_section_leaves_its_place():
    talk = Conversation(train)
    talk.start()
    talk.enter(2)
    assert kinds(talk.cancel()) == ["act! 4", "lim! 2", "cancelled"]


def test_who_is_cancelled_while_it_waits_waits_no_more():
    talk = Conversation(train)
    talk.start()
    assert kinds(talk.cancel()) == ["lim! 2", "cancelled"]


def test_waiting_can_be_limited_like_any_waiting():
    @orchestration(name="impatient")
    async def impatient(ctx: OrchestrationContext) -> str:
        try:
            async with asyncio.timeout(5), ctx.limit("gpu", 1):
                return "in"
        except TimeoutError:
            return "went away"

    talk = Conversation(impatient)
    assert kinds(talk.start()) == ["tim", "lim gpu"]
    assert kinds(talk.fire(2)) == ["lim! 3", 'done "went away"']


def test_what_continues_as_new_in_a_section_asks_for_nothing_more():
    @orchestration(name="endless")
    async def endless(ctx: OrchestrationContext) -> None:
        async with ctx.limit("gpu", 1):
            ctx.continue_as_new()

    talk = Conversation(endless)
    talk.start()
    assert kinds(talk.enter(2)) == ["can"]


def test_what_is_dropped_from_memory_is_still_in_its_section():
    talk = Conversation(train)
    talk.start()
    talk.enter(2)
    assert talk.drop() == 0
    talk.execution = replayed(talk.stage, train, talk.history)
    assert kinds(talk.complete(4, "x")) == ["lim! 2", "act tell"]


def test_other_numbers_are_no_other_program():
    @orchestration(name="train")
    async def more(ctx: OrchestrationContext) -> str:
        async with ctx.limit(Limit("gpu", concurrency=50, rate=3)):
            await ctx.schedule_activity("fit", returns=str)
        await ctx.schedule_activity("tell", returns=str)
        return "trained"

    talk = Conversation(train)
    talk.start()
    talk.enter(2)
    talk.drop()
    talk.definition, talk.execution = more, replayed(talk.stage, more, talk.history)
    assert kinds(talk.complete(4, "x")) == ["lim! 2", "act tell"]


def test_another_key_is_another_program():
    @orchestration(name="train")
    async def other(ctx: OrchestrationContext) -> None:
        async with ctx.limit("cpu", 5):
            await ctx.schedule_activity("fit", returns=str)

    talk = Conversation(train)
    talk.start()
    talk.enter(2)
    with pytest.raises(ReplayMismatchError, match="a place of the limit 'cpu'"):
        replayed(talk.stage, other, talk.history)


def test_a_section_that_is_left_elsewhere_is_another_program():
    @orchestration(name="train")
    async def longer(ctx: OrchestrationContext) -> None:
        async with ctx.limit("gpu", 5):
            await ctx.schedule_activity("fit", returns=str)
            await ctx.schedule_activity("tell", returns=str)

    talk = Conversation(train)
    talk.start()
    talk.enter(2)
    talk.complete(4, "x")
    with pytest.raises(ReplayMismatchError, match="to leave the place of the limit that event 2 asked for"):
        replayed(talk.stage, longer, talk.history)


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda ctx: ctx.limit("gpu"), "limits nothing"),
        (lambda ctx: ctx.limit(lambda _: "gpu", 5), "is a function of an activity's inputs"),
        (lambda ctx: ctx.schedule_activity("fit", limit="gpu"), "use a Limit, such as"),
        (lambda ctx: ctx.schedule_activity(charge, "a" * 300, 1), "at most 256"),
    ],
)
def test_a_mistaken_limit_is_refused_where_it_is_written(mistake, words):
    @orchestration(name="mistaken")
    async def mistaken(ctx: OrchestrationContext) -> None:
        mistake(ctx)

    [failed] = Conversation(mistaken).start()
    assert words in failed.error.message


def test_a_section_is_entered_once():
    @orchestration(name="twice")
    async def twice(ctx: OrchestrationContext) -> None:
        section = ctx.limit("gpu", 5)
        async with section:
            pass
        async with section:
            pass

    talk = Conversation(twice)
    talk.start()
    *_, failed = talk.enter(2)
    assert "is entered once" in failed.error.message


def test_leaving_what_was_not_entered_is_nothing():
    @orchestration(name="hasty")
    async def hasty(ctx: OrchestrationContext) -> None:
        await ctx.limit("gpu", 5).__aexit__(None, None, None)

    assert kinds(Conversation(hasty).start()) == ["done null"]


def test_an_activity_takes_its_limit_along_with_a_key_that_its_inputs_may_say():
    @orchestration(name="pay")
    async def pay(ctx: OrchestrationContext) -> None:
        await asyncio.gather(
            ctx.schedule_activity(mail, "a"),
            ctx.schedule_activity(charge, "acme", 100),
            ctx.schedule_activity(mail, "a", limit=Limit("bulk", rate=1, per=2)),
            ctx.schedule_activity("fit", limit=Limit("bulk", 3)),
        )

    asked = Conversation(pay).start()
    assert [event.limit for event in asked] == [
        ev.KeyLimit("smtp", 5, None, 1_000_000),
        ev.KeyLimit("tenant:acme", 2, 10, 60_000_000),
        ev.KeyLimit("bulk", None, 1, 2_000_000),
        ev.KeyLimit("bulk", 3, None, 1_000_000),
    ]


def test_a_key_that_is_no_name_is_refused():
    with pytest.raises(UsageError, match="limit key must be a string"):
        Limit(lambda _: None, 1).key_of([1])
