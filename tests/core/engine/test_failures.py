"""What raises in an orchestration, and what becomes of it (B38, B39)."""

import asyncio

import pytest

from perdure import OrchestrationContext, activity, orchestration
from perdure.errors import ActivityError, OrchestrationError, PayloadError
from tests.core.harness import Conversation, error, json, kinds


def test_b38_a_failed_activity_reaches_the_code_with_what_was_recorded():
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[str]:
        try:
            await ctx.schedule_activity("charge")
        except ActivityError as failure:
            return [failure.activity_name, failure.error.message, str(failure.caused_by(RuntimeError))]
        return []

    talk = Conversation(program)
    talk.start()

    assert kinds(talk.fail(2, error("declined"))) == ['done ["charge","declined","True"]']


def test_b38_an_activity_that_killed_its_workers_can_be_caught_too():
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        try:
            await ctx.schedule_activity("charge")
        except ActivityError as failure:
            return failure.error.type
        return ""

    talk = Conversation(program)
    talk.start()

    assert kinds(talk.fail(2, error("gave up", "perdure.errors.PoisonedError"))) == [
        'done "perdure.errors.PoisonedError"'
    ]


@pytest.mark.parametrize("ending", ["failed", "cancelled", "terminated", "refused"])
def test_b38_a_child_that_ended_without_a_result_can_be_caught(ending):
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[str]:
        try:
            await ctx.schedule_sub_orchestration("ship", instance_id="parcel-1")
        except OrchestrationError as failure:
            return [type(failure).__name__, failure.instance_id]
        return []

    talk = Conversation(program)
    talk.start()
    names = {"cancelled": "OrchestrationCancelledError", "terminated": "OrchestrationTerminatedError"}

    assert kinds(talk.child_failed(2, ending=ending)) == [
        f'done ["{names.get(ending, "OrchestrationError")}","parcel-1"]'
    ]


class Declined(Exception):
    pass


async def _after_an_await(ctx):
    await ctx.schedule_activity("charge")
    raise Declined(42)


async def _in_a_task(ctx):
    await ctx.schedule_activity("charge")

    async def fails():
        raise Declined("in a task")

    await asyncio.create_task(fails())


async def _in_a_group(ctx):
    await ctx.schedule_activity("charge")

    async def fails():
        raise Declined("in a group")

    async with asyncio.TaskGroup() as group:
        group.create_task(fails())


async def _base_exception(ctx):
    await ctx.schedule_activity("charge")
    raise BaseException("not even an Exception")


@pytest.mark.parametrize(
    ("body", "type_", "words"),
    [
        (_after_an_await, "Declined", "42"),
        (_in_a_task, "Declined", "in a task"),
        (_in_a_group, "ExceptionGroup", "in a group"),
        (_base_exception, "BaseException", "not even an Exception"),
    ],
)
def test_b39_an_uncaught_exception_fails_the_orchestration_in_words(body, type_, words):
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        await body(ctx)

    talk = Conversation(program)
    talk.start()

    (end,) = talk.complete(2)

    assert end.error.type.endswith(type_)
    assert words in end.error.message
    assert "test_failures.py" in end.error.traceback


@pytest.mark.parametrize("exit_", [SystemExit(3), KeyboardInterrupt()])
def test_leaving_the_process_is_no_outcome(exit_):
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        raise exit_

    talk = Conversation(program)

    with pytest.raises(type(exit_)):
        talk.start()
    assert talk.history == []
    talk.drop()


def test_an_input_that_does_not_fit_fails_the_instance_on_its_first_turn():
    @orchestration
    async def program(ctx: OrchestrationContext, cents: int) -> None: ...

    talk = Conversation(program)

    (end,) = talk.start(0, input=json(["many"]))

    assert end.error.type == "perdure.errors.PayloadError"
    assert "input 1" in end.error.message


@activity
async def charge(cents: int) -> int:
    return cents


@orchestration(name="ship")
async def ship(ctx: OrchestrationContext) -> int:
    return 1


@pytest.mark.parametrize(
    ("verb", "answer", "what"),
    [
        (lambda ctx: ctx.schedule_activity(charge, 5), lambda talk: talk.complete(2, "x"), "result of activity"),
        (
            lambda ctx: ctx.schedule_sub_orchestration(ship),
            lambda talk: talk.child_completed(2, "x"),
            "result of orchestration ship",
        ),
        (lambda ctx: ctx.schedule_wait("e", int), lambda talk: talk.raise_event("e", "x"), "external event 'e'"),
    ],
)
def test_what_does_not_fit_its_annotation_is_raised_where_it_is_awaited(verb, answer, what):
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        try:
            await verb(ctx)
        except PayloadError as error:
            return str(error)
        return ""

    talk = Conversation(program)
    talk.start()

    (end,) = answer(talk)

    assert what in bytes(end.output).decode()


def test_a_result_that_does_not_fit_the_annotation_fails_the_orchestration():
    @orchestration
    async def program(ctx: OrchestrationContext) -> int:
        return "many"

    (end,) = Conversation(program).start()

    assert end.error.type == "perdure.errors.PayloadError"
    assert "result of orchestration" in end.error.message


def test_an_input_that_does_not_fit_is_raised_at_the_call_and_asks_for_nothing():
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        try:
            ctx.schedule_activity(charge, "many")
        except PayloadError:
            return "refused"
        return ""

    assert kinds(Conversation(program).start()) == ['done "refused"']
