"""What runs has an event, or a start before it: without either it waits for nothing, and its history is damaged."""

import pytest

from perdure import _work as work
from perdure._runtime.live import Live
from perdure._types import Status

START = work.ClaimedMessage(seq=4, body=work.encode_message(work.Start(input=b"[]")))
EVENT = work.ClaimedMessage(seq=5, body=work.encode_message(work.Raised(name="news", data=b"1")))


def claimed(*messages):
    """An instance between two executions, as a worker is granted it."""
    record = work.InstanceRecord(
        id="order", incarnation=7, name="order", version=None, status=Status.RUNNING, execution=2, created_at=1,
        updated_at=2, root="order",
    )  # fmt: skip
    return work.ClaimedInstance(record=record, messages=messages)


def admitted(live, *messages):
    """It is taken in with these messages; whether it is found damaged."""
    grant = claimed(*messages)
    live.take_in(grant)
    live.check_beginning(grant)
    return live.damage is not None


@pytest.fixture
def live():
    return Live.of_record(claimed().record)


def test_with_its_start_it_can_begin(live):
    assert not admitted(live, START, EVENT)


def test_without_a_start_its_history_is_gone(live):
    assert admitted(live, EVENT)


def test_a_message_that_comes_while_its_first_turn_is_on_its_way_finds_nothing_amiss(live):
    # given a turn that has taken the start, and is not committed yet
    assert not admitted(live, START)
    live.pending.clear()
    # when it is granted once more, with the rows that the store still has
    # then it has begun
    assert not admitted(live, START, EVENT)
