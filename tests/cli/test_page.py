"""What the page of an instance says of times, at a moment of the test's choice."""

from datetime import UTC, datetime, timedelta

import pytest

from perdure import InstanceStatus, Status
from perdure.cli.page import View, lines_of
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
