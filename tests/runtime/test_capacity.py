"""How many activities a worker takes upon itself: beside others, what it has slots for and will begin in a moment."""

import pytest

from perdure._runtime.capacity import BACKLOG_ALONE_MAX, BACKLOG_MAX, Capacity

SLOTS = 100
TICK_US = 50_000


@pytest.fixture
def capacity():
    capacity = Capacity(SLOTS)
    capacity.is_alone = False
    return capacity


class Hands:
    def __init__(self):
        self.kept = []

    def keep(self, waiting_max):
        self.kept.append(waiting_max)


@pytest.fixture
def hands():
    return Hands()


def pass_time(capacity, ticks, *, ending_each, since=0):
    for tick in range(since, since + ticks):
        capacity.ended += ending_each
        capacity.look(tick * TICK_US)


def test_who_is_alone_takes_everything():
    assert Capacity(SLOTS).total == BACKLOG_ALONE_MAX


def test_beside_others_it_takes_what_it_has_slots_for(capacity):
    assert capacity.total == SLOTS


def test_quick_activities_are_taken_a_quarter_of_a_second_ahead(capacity):
    pass_time(capacity, 100, ending_each=40)
    assert capacity.ahead == pytest.approx(5 * 40, abs=5)
    assert capacity.total == SLOTS + capacity.ahead


def test_nobody_takes_more_than_others_should_have(capacity):
    pass_time(capacity, 100, ending_each=10_000)
    assert capacity.ahead == BACKLOG_MAX


def test_looking_often_changes_nothing(capacity):
    pass_time(capacity, 100, ending_each=40)
    before = capacity.ahead
    for _ in range(100):
        capacity.look(99 * TICK_US)
    assert capacity.ahead == before


def test_when_they_become_slow_what_waits_goes_back(capacity, hands):
    pass_time(capacity, 100, ending_each=40)
    busy = capacity.total
    capacity.share(2, busy, hands)
    assert hands.kept == []
    pass_time(capacity, 20, ending_each=0, since=100)
    capacity.share(2, busy, hands)
    capacity.share(2, SLOTS, hands)
    assert hands.kept == [capacity.ahead]


def test_a_newcomer_may_have_all_that_waits(hands):
    capacity = Capacity(SLOTS)
    capacity.share(1, 1_000, hands)
    capacity.share(2, 1_000, hands)
    assert hands.kept == [0]


def test_after_a_pause_nothing_is_taken_ahead(capacity):
    pass_time(capacity, 100, ending_each=40)
    capacity.look(1_000 * TICK_US)
    assert capacity.ahead == 0
