"""What a context says and refuses: values that are the same on replay, and arguments that are wrong."""

import random
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from perdure import ExternalEvent, OrchestrationContext, RetryPolicy, activity, orchestration
from perdure import _events as ev
from perdure.errors import PayloadError, UsageError
from tests.core.harness import START_US, Conversation, dropped, kinds, replayed


def test_who_and_what_it_is():
    @orchestration(name="shop::checkout", version="1.2.3")
    async def program(ctx: OrchestrationContext) -> list[object]:
        return [ctx.instance_id, ctx.execution_id, ctx.orchestration_name, ctx.version]

    assert kinds(Conversation(program).start(execution=4)) == ['done ["order-7",4,"shop::checkout","1.2.3"]']


def test_time_is_that_of_the_event_being_handled():
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[datetime]:
        before = ctx.utc_now()
        await ctx.schedule_timer(timedelta(minutes=1))
        return [before, ctx.utc_now()]

    talk = Conversation(program)
    talk.start()
    at = datetime.fromtimestamp(START_US / 1e6, UTC)

    (end,) = talk.fire(2)

    seen = [datetime.fromisoformat(text) for text in bytes(end.output).decode().strip('[]"').split('","')]
    assert seen == [at, at + timedelta(minutes=1)]


def test_a_timer_may_name_an_instant():
    instant = datetime(2030, 1, 1, 12, tzinfo=UTC)

    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        await ctx.schedule_timer(instant)

    (timer,) = Conversation(program).start()

    assert timer.fire_at == int(instant.timestamp()) * 1_000_000


@pytest.mark.parametrize("until", [-1, timedelta(seconds=-1), float("nan"), datetime(2030, 1, 1)])  # noqa: DTZ001 - that is the mistake
def test_a_timer_without_a_time_is_refused(until):
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        try:
            ctx.schedule_timer(until)
        except UsageError:
            return "refused"
        return ""

    assert kinds(Conversation(program).start()) == ['done "refused"']


def test_chance_and_guids_are_the_same_on_replay_and_others_in_another_execution():
    drawn = []

    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        drawn.append((ctx.random.random(), ctx.random.randrange(100), ctx.new_guid(), ctx.new_guid()))
        await ctx.schedule_wait("e")

    talk = Conversation(program)
    talk.start()
    other = Conversation(program, always_replay=False)
    other.start(secret="00" * 32)

    first, again, differs = drawn
    assert first == again
    assert first[2] != first[3]
    assert isinstance(first[2], uuid.UUID)
    assert first[2].version == 4
    assert not set(first) & set(differs)


def test_the_source_of_chance_is_one_object():
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[bool]:
        return [ctx.random is ctx.random, isinstance(ctx.random, random.Random), ctx.logger is ctx.logger]

    assert kinds(Conversation(program).start()) == ["done [true,true,true]"]


def test_the_logger_is_silent_on_replay(caplog):
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        ctx.logger.warning("charging %s", "order-7")
        ctx.trace_warn("charging", order="order-7")
        await ctx.schedule_wait("e")

    talk = Conversation(program)
    talk.start()

    assert [record.name for record in caplog.records] == ["perdure.orchestration"] * 2
    assert caplog.records[0].instance_id == "order-7"


@activity(name="charge", tag="eu", retry=RetryPolicy(5))
async def charge(cents: int) -> None: ...


def test_the_options_of_an_activity_are_written_down():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        ctx.schedule_activity(charge, 5)
        ctx.schedule_activity(charge, 5, retry=RetryPolicy(2), tag="us", session="s", priority=-3, schedule_to_start=60)
        ctx.schedule_activity("refund", 5)
        await ctx.schedule_wait("e")

    own, given, bare, _ = Conversation(program).start()

    assert own.tag == "eu"
    assert bytes(own.retry) == RetryPolicy(5).wire_json
    assert (given.tag, given.session, given.priority, given.schedule_to_start_us) == ("us", "s", -3, 60_000_000)
    assert bytes(given.retry) == RetryPolicy(2).wire_json
    assert bytes(bare.retry) == b""
    assert (bare.tag, bare.session, bare.priority, bare.schedule_to_start_us) == (None, None, 0, None)


async def plain(x: int) -> int:
    return x


WRONG = {
    "plain function as activity": (lambda ctx: ctx.schedule_activity(plain, 1), "got the plain function 'plain'"),
    "plain function as child": (
        lambda ctx: ctx.schedule_sub_orchestration(plain, 1),
        "decorate it with @orchestration",
    ),
    "number as activity": (lambda ctx: ctx.schedule_activity(5), "takes an activity made with @activity"),
    "number as detached": (
        lambda ctx: ctx.schedule_orchestration(5),
        "takes an orchestration made with @orchestration",
    ),
    "empty name": (lambda ctx: ctx.schedule_activity(""), "activity"),
    "name with control characters": (lambda ctx: ctx.schedule_wait("a\nb"), "event"),
    "empty tag": (lambda ctx: ctx.schedule_activity("a", tag=""), "tag"),
    "empty session": (lambda ctx: ctx.schedule_activity("a", session=""), "session"),
    "negative schedule_to_start": (lambda ctx: ctx.schedule_activity("a", schedule_to_start=-1), "schedule_to_start"),
    "input without a JSON form": (lambda ctx: ctx.schedule_activity("a", object()), "inputs of activity a"),
    "status without a JSON form": (lambda ctx: ctx.set_custom_status(object()), "custom status"),
    "event data without a JSON form": (lambda ctx: ctx.raise_event("i", "e", object()), "external event 'e'"),
    "event data of another type": (
        lambda ctx: ctx.raise_event("i", ExternalEvent[int]("e"), "many"),
        "external event 'e'",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_arguments_are_refused_at_the_call_and_ask_for_nothing(wrong):
    call, words = WRONG[wrong]

    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        try:
            call(ctx)
        except UsageError as error:
            return str(error)
        return ""

    (end,) = Conversation(program).start()

    assert words in bytes(end.output).decode().replace('\\"', '"')


def test_payload_errors_are_value_errors():
    assert issubclass(PayloadError, ValueError)


def test_an_event_is_sent_with_the_type_of_its_data():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        ctx.raise_event("order-8", ExternalEvent[int]("paid"), 5)

    sent, _ = Conversation(program).start()

    assert (sent.instance_id, sent.name, bytes(sent.data)) == ("order-8", "paid", b"5")


def test_replaying_is_true_while_an_execution_is_dropped():
    seen = []

    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        try:
            await ctx.schedule_wait("e")
        finally:
            seen.append(ctx.is_replaying)

    talk = Conversation(program, always_replay=False)
    talk.start()
    talk.drop()
    twin = replayed(talk.stage, program, talk.history)
    dropped(talk.stage, twin)

    assert seen == [True, True]
    assert isinstance(talk.history[1], ev.WaitStarted)
