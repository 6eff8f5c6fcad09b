"""Activities that wait for a slot begin by priority, and among equals in the order in which they came."""

import random

from msgspec import structs

from perdure._runtime.line import Line, WaitingRoom
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


class _Threads:
    has_one = False


def test_who_waits_for_a_thread_lets_others_pass_and_goes_first_among_equals_when_there_is_one():
    # given
    threads = _Threads()
    room = WaitingRoom({"plain"}, threads)
    names = ["plain", "charge", "plain", "charge", "plain"]
    tasks = [structs.replace(_task(place, 0), name=name) for place, name in enumerate(names)]
    room.join(tasks)
    begun = []

    def begin():
        assert room.can_begin()
        begun.append(room.next().event)

    # when
    begin()
    begin()
    assert not room.can_begin()
    urgent = structs.replace(_task(5, 3), name="charge")
    late = structs.replace(_task(6, 0), name="charge")
    room.join([urgent, late])
    threads.has_one = True
    for _ in range(4):
        begin()

    # then
    assert begun == [1, 3, 5, 0, 2, 4]
    assert room.length == 1
    assert room.clear() == [late]
    assert (room.length, list(room), room.can_begin()) == (0, [], False)
