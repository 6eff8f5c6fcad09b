"""From messages to events (B21 to B26): each becomes one, or none when nothing waits for it any more."""

import pytest

from perdure import OrchestrationContext, orchestration
from perdure import _events as ev
from perdure import _work as work
from tests.core.harness import START_US, Conversation, error, json, kinds


@orchestration
async def patient(ctx: OrchestrationContext) -> None:
    waiting = [
        ctx.schedule_activity("charge"),
        ctx.schedule_timer(5),
        ctx.schedule_sub_orchestration("ship"),
    ]
    await ctx.schedule_wait("end")
    for each in waiting:
        each.cancel()


ACTIVITY, TIMER, CHILD, WAIT = 2, 3, 4, 5


def completed(execution=1, source=ACTIVITY):
    return work.ActivityOutcome(execution=execution, source=source, result=json("receipt"))


def failed(execution=1, source=ACTIVITY):
    return work.ActivityOutcome(execution=execution, source=source, error=error())


def due(execution=1, source=TIMER):
    return work.TimerDue(execution=execution, source=source, fire_at=START_US + 5_000_000)


def child_completed(execution=1, source=CHILD):
    return work.ChildOutcome(execution=execution, source=source, ending="completed", result=json("parcel"))


def child_failed(execution=1, source=CHILD):
    return work.ChildOutcome(execution=execution, source=source, ending="failed", error=error())


ANSWERS = [completed, failed, due, child_completed, child_failed]


@pytest.mark.parametrize(
    ("message", "kind", "source"),
    [
        (completed(), ev.ActivityCompleted, ACTIVITY),
        (failed(), ev.ActivityFailed, ACTIVITY),
        (due(), ev.TimerFired, TIMER),
        (child_completed(), ev.ChildCompleted, CHILD),
        (child_failed(), ev.ChildFailed, CHILD),
    ],
)
def test_b21_each_answer_becomes_its_event_with_the_id_that_it_answers(message, kind, source):
    talk = Conversation(patient)
    talk.start()

    talk.apply(message)

    assert type(talk.history[-1]) is kind
    assert talk.history[-1].source == source


def test_b21_external_events_and_cancel_requests_become_events():
    talk = Conversation(patient)
    talk.start()

    talk.raise_event("other", 1)
    talk.cancel("enough")

    raised, asked = [event for event in talk.history if isinstance(event, ev.EventRaised | ev.CancelRequested)]
    assert (raised.name, bytes(raised.data), raised.wait) == ("other", b"1", None)
    assert asked.reason == "enough"


@pytest.mark.parametrize("first", ANSWERS)
def test_b22_a_second_answer_becomes_no_event(first):
    talk = Conversation(patient)
    talk.start()
    talk.apply(first())
    before = len(talk.history)

    for second in (answer() for answer in ANSWERS):
        if second.source == first().source:
            assert talk.apply(second) == []

    assert len(talk.history) == before


@pytest.mark.parametrize("answer", ANSWERS)
def test_b23_an_answer_for_another_execution_or_for_no_such_question_becomes_no_event(answer):
    talk = Conversation(patient)
    talk.start()

    for execution in (0, 2):
        talk.apply(answer(execution))
    for source in {0, 1, ACTIVITY, TIMER, CHILD, WAIT, 99} - {answer().source}:
        talk.apply(answer(source=source))

    assert len(talk.history) == 5


def test_b24_an_event_that_nobody_waits_for_is_recorded_as_unread():
    talk = Conversation(patient)
    talk.start()

    assert talk.raise_event("other", 1) == []

    assert talk.history[-1].wait is None


def test_b25_equal_events_are_all_kept():
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[int]:
        await ctx.schedule_timer(1)
        return [await ctx.schedule_wait("n") for _ in range(3)]

    talk = Conversation(program)
    (timer,) = talk.start()
    for _ in range(3):
        talk.raise_event("n", 1)

    assert kinds(talk.fire(timer.id))[-1] == "done [1,1,1]"


def test_b26_many_answers_are_recorded_in_their_order():
    talk = Conversation(patient)
    talk.start()

    talk.apply(child_failed())
    talk.apply(completed())
    talk.apply(due())

    assert kinds(talk.history[5:]) == ["sub- 4", "act+ 2", "tim+ 3"]


def test_a_second_start_and_a_terminate_become_no_event():
    talk = Conversation(patient)
    talk.start()

    talk.apply(work.Start(input=json([])))
    talk.apply(work.Terminate(reason="enough"))

    assert len(talk.history) == 5


@pytest.mark.parametrize(
    "message",
    [completed(), due(), child_failed(), work.Raised(name="end", data=json(1)), work.Cancel(reason="late")],
)
def test_nothing_becomes_an_event_after_the_end(message):
    talk = Conversation(patient)
    talk.start()
    talk.raise_event("end")
    end = talk.history[-1]

    talk.apply(message)

    assert talk.history[-1] is end


def test_an_activity_that_returns_nothing_returns_none():
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[None]:
        return [await ctx.schedule_activity("a"), await ctx.schedule_sub_orchestration("b")]

    talk = Conversation(program)
    talk.start()
    (child,) = talk.apply(work.ActivityOutcome(execution=1, source=2))

    assert kinds(talk.apply(work.ChildOutcome(execution=1, source=child.id, ending="completed"))) == [
        "done [null,null]"
    ]


def test_a_child_that_ended_without_words_still_ends_as_an_error():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        await ctx.schedule_sub_orchestration("b", instance_id="parcel-1")

    talk = Conversation(program)
    talk.start()

    (end,) = talk.apply(work.ChildOutcome(execution=1, source=2, ending="cancelled"))

    assert end.error.type == "perdure.errors.OrchestrationCancelledError"
    assert "'parcel-1' was cancelled" in end.error.message


def test_the_time_of_an_event_never_goes_back():
    talk = Conversation(patient)
    talk.start()
    talk.now = START_US - 1

    talk.raise_event("other", 1)

    assert talk.history[-1].at == START_US


def test_a_timer_never_fires_before_its_time():
    talk = Conversation(patient)
    talk.start()

    talk.apply(due())

    assert talk.history[-1].at == START_US + 5_000_000


def test_many_messages_may_be_one_row_of_history():
    talk = Conversation(patient)
    talk.start()
    with talk.stage, talk.stage.on(talk.execution):
        for message in (completed(), due(), completed(), work.Raised(name="end", data=json(1))):
            talk.execution.apply(message, talk.now)

    assert kinds(talk.execution.take_events()) == ["act+ 2", "tim+ 3", "evt end", "sub! 4", "done null"]
    assert talk.execution.take_events() == []
