"""A durable future that is taken for its outcome says so, with the line that asked: an `await` was forgotten."""

import asyncio

import pytest

from perdure import ExternalEvent, OrchestrationContext, Registry, Status, activity, orchestration
from perdure.testing import Environment
from tests.core.harness import Conversation, kinds

APPROVED = ExternalEvent[bool]("approved")


@activity
async def charge(order: str) -> str:
    return order


@orchestration
async def ship(ctx: OrchestrationContext, order: str) -> str:
    return order


VERBS = {
    "activity tests::activity::charge": lambda ctx: ctx.schedule_activity(charge, "o-1"),
    "sub-orchestration tests::orchestration::ship": lambda ctx: ctx.schedule_sub_orchestration(ship, "o-1"),
    "external event approved": lambda ctx: ctx.schedule_wait(APPROVED),
    "timer": lambda ctx: ctx.schedule_timer(60),
}
USES = {
    "was used as a truth value and not awaited: write `await`": lambda outcome: "paid" if outcome else "not paid",
    "was compared with a value and not awaited": lambda outcome: outcome == "paid",
    "was put into a string and not awaited": lambda outcome: f"receipt {outcome}",
    "was iterated over or unpacked and not awaited": lambda outcome: [*outcome],
}
RAISED_BY_PYTHON = [
    lambda outcome: outcome.total,
    lambda outcome: outcome > 5,
    lambda outcome: outcome["total"],
    len,
    lambda outcome: "receipt " + outcome,
    lambda outcome: 5 + outcome,
]


def what_is_said_of(ask, use):
    @orchestration
    async def careless(ctx: OrchestrationContext) -> str:
        return str(use(ask(ctx)))

    talk = Conversation(careless)
    return talk.start()[-1].error


@pytest.mark.parametrize(("what", "ask"), VERBS.items())
@pytest.mark.parametrize(("words", "use"), USES.items())
def test_what_would_go_unnoticed_is_refused_with_the_line_that_asked(what, ask, words, use):
    error = what_is_said_of(ask, use)

    assert error.type == "perdure.errors.UsageError"
    assert error.message.startswith(f"{what}, asked for at tests/core/engine/test_forgotten_awaits.py:")
    assert words in error.message


@pytest.mark.parametrize(("what", "ask"), VERBS.items())
@pytest.mark.parametrize("use", RAISED_BY_PYTHON)
def test_what_python_refuses_anyway_names_what_was_not_awaited(what, ask, use):
    error = what_is_said_of(ask, use)

    assert f"un-awaited {what.removesuffix(' approved').partition(' tests')[0]}" in error.message


@pytest.mark.parametrize(("what", "ask"), VERBS.items())
def test_it_shows_itself_as_what_it_stands_for(what, ask):
    shown = []

    @orchestration
    async def curious(ctx: OrchestrationContext) -> None:
        shown.append(repr(ask(ctx)))

    Conversation(curious, always_replay=False).start()

    asked_at = f"tests/core/engine/test_forgotten_awaits.py:{ask.__code__.co_firstlineno}"
    assert shown == [f"<{what}, asked for at {asked_at}, to be awaited>"]


@pytest.mark.parametrize(
    "use",
    [
        lambda _, outcome: outcome,
        lambda ctx, outcome: ctx.schedule_activity(charge, outcome),
        lambda ctx, outcome: ctx.set_custom_status({"receipt": outcome}),
    ],
    ids=["returned", "input", "status"],
)
def test_what_cannot_be_stored_of_it_is_named_as_not_awaited(use):
    @orchestration
    async def careless(ctx: OrchestrationContext) -> str:
        return use(ctx, ctx.schedule_activity(charge, "o-1"))

    error = Conversation(careless).start()[-1].error

    assert error.type == "perdure.errors.PayloadError"
    assert any(
        words in error.message
        for words in ("expected str, not un-awaited activity", "un-awaited activity was not awaited: write `await`")
    )


@pytest.mark.parametrize("verb", ["select", "select2"])
def test_a_race_that_nobody_awaited_is_warned_of_with_its_line(verb):
    @orchestration
    async def careless(ctx: OrchestrationContext) -> str:
        race = getattr(ctx, verb)(ctx.schedule_timer(60), ctx.schedule_wait(APPROVED))
        return str(type(race).__name__)

    line = careless.fn.__code__.co_firstlineno + 2
    with pytest.warns(
        RuntimeWarning, match=rf"ctx.{verb}, asked for at .*/test_forgotten_awaits.py:{line},' was never"
    ):
        Conversation(careless, always_replay=False).start()


def test_futures_are_still_told_apart_and_from_none():
    @orchestration
    async def careful(ctx: OrchestrationContext) -> list[bool]:
        one, other = ctx.schedule_timer(1), ctx.schedule_timer(1)
        both = [one, other]
        return [one == one, one == other, one == None, both.index(other) == 1]  # noqa: E711, PLR0124 - the subject

    talk = Conversation(careful)

    assert kinds(talk.start())[-1] == "done [true,false,false,true]"


async def test_an_activity_that_is_called_there_without_await_holds_the_instance():
    @orchestration
    async def careless(ctx: OrchestrationContext, order: str) -> str:
        charge(order)
        await asyncio.sleep(1)
        return "charged?"

    async with Environment(Registry(charge, careless)) as env:
        handle = await env.client.start_orchestration(careless, "o-1")
        await env.advance(2)
        status = await handle.status()

    assert status.status is Status.HELD
    assert "write `await ctx.schedule_activity(charge, ...)`" in str(status.held_because)
