"""A damaged row harms its own instance, in words, and no other; in history, a checksum finds every changed byte."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, note, settings

from tests.folders import in_memory
from tests.fuzz.damage import Choose, chooser
from tests.fuzz.stored import ENDINGS, Filled, go_on


@pytest.fixture(scope="module")
def filled() -> Iterator[Filled]:
    with in_memory() as folder:
        yield Filled(Path(folder))


def test_without_damage_both_sets_end_alike(filled: Filled):
    with in_memory() as folder:
        sick, well = asyncio.run(go_on(filled.copy(Path(folder)), filled.now_us))
    assert {status for status, _ in well.values()} == ENDINGS
    assert {name: status for name, (status, _) in sick.items()} == {name: status for name, (status, _) in well.items()}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(choose=chooser())
def test_a_damaged_row_harms_no_other_instance_and_raises_only_what_is_documented(filled: Filled, choose: Choose):
    note(filled.try_damage(choose))
