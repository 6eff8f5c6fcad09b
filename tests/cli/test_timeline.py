"""A timeline tells each thing that was asked for once, with what became of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

from perdure import Event
from perdure.cli.timeline import Step, Timeline, timeline_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def read(*events: tuple[Any, ...]) -> Timeline:
    """The timeline of (kind, source, data), one event a second."""
    return timeline_of(
        Event(number, kind, NOON + timedelta(seconds=number), source, None, data)
        for number, (kind, source, data) in enumerate(events, 1)
    )


def outcomes(timeline: Timeline) -> list[tuple[int, str, str | None]]:
    return [(step.event, step.kind, step.outcome) for step in timeline.steps]


STARTED = ("Started", None, {"name": "o", "input": [1]})


def test_an_activity_is_told_with_its_outcome_and_how_long_it_took():
    timeline = read(
        STARTED,
        ("ActivityScheduled", None, {"name": "a", "input": ["x"]}),
        ("ActivityCompleted", 2, {"result": "y", "attempts": 3}),
    )

    step = timeline.steps[1]
    assert (step.name, step.inputs, step.outcome, step.value, step.attempts) == ("a", ("x",), "completed", "y", 3)
    assert (step.at, step.ended_at) == (NOON + timedelta(seconds=2), NOON + timedelta(seconds=3))
    assert timeline.waits_for == []


def test_a_failed_activity_has_its_error_and_one_out_of_time_says_so():
    error = {"type": "builtins.ValueError", "message": "no", "attempts": 2}
    timeline = read(
        STARTED,
        ("ActivityScheduled", None, {"name": "a", "input": []}),
        ("ActivityScheduled", None, {"name": "b", "input": []}),
        ("ActivityFailed", 2, {"error": error}),
        ("ActivityFailed", 3, {"error": error, "timed_out": True}),
    )

    assert outcomes(timeline)[1:] == [(2, "activity", "failed"), (3, "activity", "timed out")]
    assert (timeline.steps[1].error, timeline.steps[1].attempts) == (error, 2)


def test_what_has_no_outcome_yet_is_waited_for():
    timeline = read(
        STARTED,
        ("ActivityScheduled", None, {"name": "a", "input": []}),
        ("TimerCreated", None, {"fire_at": 1_772_366_410_000_000}),
        ("WaitStarted", None, {"name": "e"}),
        ("ChildScheduled", None, {"name": "c", "input": [], "instance_id": "child"}),
        ("DetachedStarted", None, {"name": "d", "input": [], "instance_id": "other"}),
        ("EventSent", None, {"name": "e", "data": 1, "instance_id": "other"}),
    )

    assert [(step.kind, step.name, step.instance_id) for step in timeline.waits_for] == [
        ("activity", "a", None),
        ("timer", None, None),
        ("event", "e", None),
        ("child", "c", "child"),
    ]
    assert timeline.waits_for[1].until == NOON + timedelta(seconds=10)


def test_what_was_cancelled_is_not_waited_for_and_a_late_outcome_changes_nothing():
    timeline = read(
        STARTED,
        ("ActivityScheduled", None, {"name": "a", "input": []}),
        ("TimerCreated", None, {"fire_at": 0}),
        ("ChildScheduled", None, {"name": "c", "input": [], "instance_id": "child"}),
        ("ActivityCancelled", 2, {}),
        ("TimerCancelled", 3, {}),
        ("ChildCancelled", 4, {}),
        ("ActivityCompleted", 2, {"result": 1}),
        ("ChildFailed", 4, {"error": {"type": "e", "message": ""}, "ending": "cancelled"}),
    )

    assert outcomes(timeline)[1:] == [
        (2, "activity", "cancelled"),
        (3, "timer", "cancelled"),
        (4, "child", "cancelled"),
    ]


def test_a_child_ends_as_it_ended():
    timeline = read(
        STARTED,
        ("ChildScheduled", None, {"name": "c", "input": [], "instance_id": "one"}),
        ("ChildScheduled", None, {"name": "c", "input": [], "instance_id": "two"}),
        ("ChildCompleted", 2, {"result": 5}),
        ("ChildFailed", 3, {"error": {"type": "e", "message": "m"}, "ending": "terminated"}),
    )

    assert outcomes(timeline)[1:] == [(2, "child", "completed"), (3, "child", "terminated")]


def test_an_event_is_told_with_the_wait_that_got_it():
    timeline = read(
        STARTED,
        ("WaitStarted", None, {"name": "e"}),
        ("EventRaised", None, {"name": "e", "data": "late", "wait": 2}),
        ("EventRaised", None, {"name": "f", "data": "early"}),
        ("WaitStarted", None, {"name": "f", "took": 4}),
        ("EventRaised", None, {"name": "g", "data": "unread"}),
    )

    assert [(step.event, step.outcome, step.value) for step in timeline.steps[1:]] == [
        (2, "received", "late"),
        (5, "received", "early"),
    ]
    assert [(step.name, step.value) for step in timeline.unread.values()] == [("g", "unread")]


def test_an_event_that_a_cancelled_wait_gives_back_is_unread_again_or_another_s():
    given_back = [
        STARTED,
        ("WaitStarted", None, {"name": "e"}),
        ("EventRaised", None, {"name": "e", "data": 1, "wait": 2}),
        ("EventRaised", None, {"name": "e", "data": 2}),
    ]

    alone = read(*given_back, ("WaitCancelled", 2, {"gave_back": 3}))
    handed_on = read(
        *given_back, ("WaitStarted", None, {"name": "e"}), ("WaitCancelled", 2, {"gave_back": 3, "gave_to": 5})
    )

    assert outcomes(alone)[1:] == [(2, "event", "cancelled")]
    assert [step.value for step in alone.unread.values()] == [1, 2]
    assert outcomes(handed_on)[1:] == [(2, "event", "cancelled"), (5, "event", "received")]
    assert [step.value for step in handed_on.unread.values()] == [2]


def test_a_wait_that_is_cancelled_before_anything_came_is_over():
    timeline = read(STARTED, ("WaitStarted", None, {"name": "e"}), ("WaitCancelled", 2, {}))

    assert outcomes(timeline)[1:] == [(2, "event", "cancelled")]


def test_events_of_the_execution_before_are_carried_over():
    timeline = read(
        ("Started", None, {"name": "o", "input": [], "carried": [["e", 1], ["f", 2]]}),
        ("WaitStarted", None, {"name": "e", "took": -2}),
    )

    assert [(step.outcome, step.value) for step in timeline.steps[1:]] == [("received", 1)]
    assert [(step.name, step.value) for step in timeline.unread.values()] == [("f", 2)]


def test_the_first_request_to_cancel_is_the_one_that_counts():
    timeline = read(STARTED, ("CancelRequested", None, {"reason": "one"}), ("CancelRequested", None, {"reason": "two"}))

    assert timeline.cancel is not None
    assert timeline.cancel.value == "one"


def test_every_ending_is_a_step():
    endings = [
        ("Completed", {"output": 1}),
        ("Failed", {"error": {"type": "e", "message": "m"}}),
        ("Cancelled", {"reason": "r"}),
        ("Terminated", {}),
        ("ContinuedAsNew", {"input": [2]}),
    ]

    last = [read(STARTED, (kind, None, data)).steps[-1] for kind, data in endings]

    assert [step.outcome for step in last] == ["completed", "failed", "cancelled", "terminated", "continued as new"]
    assert {step.kind for step in last} == {"end"}


def test_every_kind_of_event_is_known():
    """An event that a release adds must find its place here."""
    from perdure._events import Event as Stored  # noqa: PLC0415 - only this test compares
    from perdure.cli import timeline  # noqa: PLC0415 - the same

    kinds = {cls.__name__ for cls in Stored.__args__}

    passed_over = {"EventRaised", "ActivityStopped"}
    assert kinds == {*timeline._ASKED, *timeline._OUTCOMES, *passed_over}  # noqa: SLF001 - the tables are the point


def test_an_activity_that_was_asked_to_end_is_open_until_it_has():
    asked = ("ActivityScheduled", None, {"name": "charge", "input": [1]})
    stopped = [asked, ("ActivityStopped", 2, {})]
    assert read(STARTED, *stopped).steps[-1].is_open
    assert not read(STARTED, *stopped, ("ActivityCompleted", 2, {"result": 1})).steps[-1].is_open


def test_a_step_is_open_until_it_has_an_outcome():
    assert Step(1, "activity", NOON).is_open
    assert not Step(1, "activity", NOON, outcome="completed").is_open
