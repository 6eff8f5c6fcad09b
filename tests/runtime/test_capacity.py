"""How many activities a worker takes upon itself: beside others, what it has slots for and will begin in a moment."""

import pytest

from perdure._runtime.capacity import BACKLOG_ALONE_MAX, BACKLOG_MAX, CLAIM_BESIDE_MAX, Capacity
from perdure._runtime.hands import TURNS_PER_COMMIT_MAX

SLOTS = 100
TICK_US = 50_000


class Hands:
    def __init__(self):
        self.kept = []

    def keep(self, waiting_max):
        self.kept.append(waiting_max)


@pytest.fixture
def hands():
    return Hands()


@pytest.fixture
def capacity(hands):
    capacity = Capacity(SLOTS)
    capacity.share(2, hands)
    return capacity


class Time:
    """Time that passes for a capacity."""

    def __init__(self, capacity, hands):
        self.capacity = capacity
        self.hands = hands
        self.us = 0

    def full(self, ticks, *, ending_each):
        """All slots are in use all the time, and so many become free each tick."""
        self.capacity.take(SLOTS, self.us)
        for _ in range(ticks):
            self.us += TICK_US
            self.capacity.end(ending_each, self.us)
            self.capacity.take(ending_each, self.us)
            self.look()
        self.capacity.leave(SLOTS, self.us)

    def burst(self, count, *, us):
        """So many begin and end together."""
        self.capacity.take(count, self.us)
        self.us += us
        self.capacity.end(count, self.us)

    def idle(self, ticks):
        for _ in range(ticks):
            self.us += TICK_US
            self.look()

    def look(self):
        self.capacity.look(self.us, self.hands)


@pytest.fixture
def time(capacity, hands):
    return Time(capacity, hands)


def test_who_is_alone_takes_everything():
    assert Capacity(SLOTS).total == BACKLOG_ALONE_MAX
    assert Capacity(SLOTS).instances_max == TURNS_PER_COMMIT_MAX


def test_beside_others_it_takes_what_it_has_slots_for(capacity):
    assert capacity.total == SLOTS
    assert capacity.instances_max == CLAIM_BESIDE_MAX


def test_quick_activities_are_taken_a_quarter_of_a_second_ahead(capacity, time):
    time.full(100, ending_each=40)

    assert capacity.ahead == pytest.approx(5 * 40, abs=1)
    assert capacity.total == SLOTS + capacity.ahead


def test_nobody_takes_more_than_others_should_have(capacity, time):
    time.full(100, ending_each=10_000)

    assert capacity.ahead == BACKLOG_MAX


def test_looking_often_changes_nothing(capacity, time):
    time.full(100, ending_each=40)
    before = capacity.ahead

    for _ in range(100):
        time.look()

    assert capacity.ahead == before


def test_a_few_activities_tell_how_many_all_slots_would_end(capacity, time):
    time.burst(4, us=100_000)
    time.idle(1)

    # Each takes 100 ms, so a quarter of a second is enough for two and a half in each slot.
    assert capacity.ahead == 250


def test_what_ends_at_once_is_taken_as_quick(capacity, time):
    time.burst(1, us=0)
    time.idle(1)

    assert capacity.ahead == BACKLOG_MAX


def test_after_a_pause_the_pace_is_still_known(capacity, time):
    time.full(100, ending_each=40)
    before = capacity.ahead

    time.idle(1_000)

    assert capacity.ahead == before


def test_activities_that_do_not_end_are_a_pace_too(capacity, time):
    time.burst(50, us=1_000)
    time.idle(1)
    assert capacity.ahead == BACKLOG_MAX

    capacity.take(SLOTS, time.us)
    time.idle(20)

    assert capacity.ahead == 0


def test_when_they_become_slow_what_waits_goes_back(capacity, time, hands):
    time.full(100, ending_each=40)
    capacity.take(capacity.total, time.us)
    time.look()
    assert hands.kept == []

    time.idle(20)

    assert hands.kept
    assert hands.kept[-1] == capacity.ahead


def test_however_quick_they_were_that_is_forgotten_in_a_moment(capacity, time, hands):
    time.full(20, ending_each=1_000_000)
    capacity.take(capacity.total, time.us)

    time.idle(5)

    assert hands.kept
    assert capacity.ahead < BACKLOG_MAX / 4


def test_what_runs_does_not_go_back(capacity, time, hands):
    time.full(100, ending_each=40)
    capacity.take(SLOTS, time.us)

    time.idle(100)

    assert hands.kept == []


def test_a_newcomer_may_have_all_that_waits(hands):
    capacity = Capacity(SLOTS)
    capacity.share(1, hands)
    capacity.take(1_000, 0)

    capacity.share(2, hands)
    capacity.share(2, hands)

    assert hands.kept == [0]


def test_who_is_alone_gives_nothing_back(hands):
    capacity = Capacity(SLOTS)
    capacity.take(1_000, 0)

    capacity.look(TICK_US, hands)
    capacity.share(1, hands)

    assert hands.kept == []
