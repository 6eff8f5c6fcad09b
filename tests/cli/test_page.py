"""What the page of an instance says of times, at a moment of the test's choice."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from perdure import HeldActivity, InstanceStatus, Status, Tags, WorkerStatus
from perdure.cli.page import View, advice, lines_of
from perdure.cli.timeline import Step, Timeline

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
STATUS = InstanceStatus(
    instance_id="a",
    execution_id=1,
    name="nap",
    version="1.0.0",
    status=Status.RUNNING,
    custom_status=None,
    custom_status_version=0,
    output=None,
    error=None,
    held_because=None,
    created_at=NOON,
    updated_at=NOON,
)


def page(view: View) -> str:
    return "\n".join("".join(text for text, _ in line) for line in lines_of(view, full=False, limit=None))


@pytest.mark.parametrize(
    ("passed", "expected"),
    [
        (20, "timer of 1 min until 2026-03-01 12:01:00, in 40 s, since 12:00:00.000, 20 s ago"),
        (70, "timer of 1 min that was due 2026-03-01 12:01:00, 10 s ago, since 12:00:00.000, 1 min 10 s ago"),
    ],
)
def test_a_timer_is_ahead_or_due(passed, expected):
    timer = Step(2, "timer", NOON, until=NOON + timedelta(minutes=1))

    said = page(View(STATUS, Timeline([timer]), [], NOON + timedelta(seconds=passed), 1))

    assert expected in said


def test_each_day_of_a_timeline_has_its_date_once():
    steps = [Step(number, "status", NOON + timedelta(hours=8 * number), outcome="set") for number in range(1, 6)]

    said = page(View(STATUS, Timeline(steps), [], NOON + timedelta(days=3), 1))

    dates = [line.strip() for line in said.splitlines() if line.strip().startswith("2026-")]
    assert dates == ["2026-03-01", "2026-03-02", "2026-03-03"]


WORKER = WorkerStatus("kitchen", "here", 1, NOON, NOON, ("nap@1.0.0",), ("bake",), Tags())
BAKE = Step(2, "activity", NOON, name="bake", inputs=())
HELD_BAKE = HeldActivity("a", 2, "bake", NOON, "perdure.errors.PoisonedError: 5 workers died", 1, 5)


@pytest.mark.parametrize("workers", [[], [WORKER]])
def test_a_held_activity_is_told_with_what_to_do(workers):
    said = page(View(STATUS, Timeline([BAKE]), workers, NOON, 1, held=[HELD_BAKE]))

    assert "#2 activity bake() (held)" in said
    assert "The activity bake (#2) is held: PoisonedError: 5 workers died. To run it again: perdure retry a" in said
    assert "perdure discard a --event 2" in said


def test_one_that_is_suspended_is_to_be_resumed_whatever_it_waits_for():
    suspended = replace(STATUS, status=Status.SUSPENDED, held_because="")

    said = page(View(suspended, Timeline([Step(2, "event", NOON, name="go")]), [WORKER], NOON, 1, flag=" --url x.db"))

    assert "What to do  It takes no turns until it is resumed: perdure resume a --url x.db\n" in said
    assert "perdure raise" not in said
    assert "held because" not in said


def test_one_that_killed_its_workers_does_not_go_on_by_itself():
    poisoned = replace(STATUS, status=Status.HELD, held_because="perdure.errors.PoisonedError: 5 workers died")

    [sentence] = advice(View(poisoned, Timeline([]), [WORKER], NOON, 1))

    assert sentence == "When the cause is mended: perdure retry a. Or give it up: perdure discard a"


@pytest.mark.parametrize("version", [None, "1.0.0"])
def test_what_every_worker_has_is_not_missed(version):
    keeper = replace(STATUS, name="perdure::orchestration::schedule", version=version)
    looking = Step(2, "activity", NOON, name="perdure::activity::schedule-look", inputs=())

    assert advice(View(keeper, Timeline([looking]), [WORKER], NOON, 1)) == []
