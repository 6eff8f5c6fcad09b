"""A history that says something else is refused in words, or is one that the code could have: nothing in between."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, note, settings

from tests.fuzz.damage import Choose, chooser
from tests.fuzz.recorded import NAMES, Recorded, record, try_other_bytes, try_other_events


@pytest.fixture(scope="module")
def recorded() -> list[Recorded]:
    """Histories of all kinds, with the code that wrote them."""
    found = asyncio.run(record())
    assert len(found) > len(NAMES)
    return found


def test_histories_as_they_were_written_are_replayed(recorded: list[Recorded]):
    for each in recorded:
        each.replay()


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(choose=chooser())
def test_events_that_say_something_else_are_refused_in_words_or_replayed(recorded: list[Recorded], choose: Choose):
    note(try_other_events(recorded, choose))


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(choose=chooser())
def test_rows_of_other_bytes_are_refused_in_words(recorded: list[Recorded], choose: Choose):
    note(try_other_bytes(recorded, choose))
