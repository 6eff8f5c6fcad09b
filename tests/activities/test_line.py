"""Activities that wait for a slot begin by priority, and among equals in the order in which they came."""

import random

from perdure._runtime.line import Line
from perdure._work import ClaimedTask


def _task(event, priority):
    return ClaimedTask(
        incarnation=1, instance_id="order", orchestration_name="pay", orchestration_version="1.0.0", execution=1,
        event=event, name="charge", input=b"[]", scheduled_at=0, priority=priority,
    )  # fmt: skip


def test_whoever_has_come_meanwhile_the_next_one_is_the_oldest_of_the_highest_priority():
    dice = random.Random(7)  # noqa: S311 - the same each time
    line, waiting = Line(), []
    for event in range(2_000):
        # given some that come, or nobody
        coming = [_task(4 * event + place, dice.choice([-1, 0, 0, 3])) for place in range(dice.choice([0, 1, 1, 3]))]
        line.join(coming)
        waiting += coming
        assert line.length == len(waiting)
        assert sorted(task.event for task in line) == [task.event for task in waiting]
        # when some leave
        for _ in range(min(len(waiting), dice.choice([0, 1, 2, 20]))):
            # then
            expected = max(waiting, key=lambda task: (task.priority, -task.event))
            assert line.next() is expected
            waiting.remove(expected)
