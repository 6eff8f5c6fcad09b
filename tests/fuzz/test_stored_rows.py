"""A damaged row harms its own instance, in words, and no other; in history, a checksum finds every changed byte."""

import asyncio
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, note, settings

from tests.folders import in_memory
from tests.fuzz.damage import Choose, chooser, damage
from tests.fuzz.stored import IDS, Seen, fill, go_on

ENDINGS = {"completed", "failed"}


class Filled:
    """A store at rest, and what becomes of it when nothing is damaged."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "filled.db"
        self.now_us = asyncio.run(fill(self.path))
        copy = self.copy(folder)
        self.sound = asyncio.run(go_on(copy, self.now_us))[1]

    def copy(self, folder: Path) -> Path:
        """The same store again."""
        return Path(shutil.copy(self.path, folder / "copy.db"))


@pytest.fixture(scope="module")
def filled():
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
    with in_memory() as folder:
        copy = filled.copy(Path(folder))
        table, column, before, after = damage(copy, choose)
        note(f"{table}.{column}: {before!r} became {after!r}")
        sick, well = asyncio.run(asyncio.wait_for(go_on(copy, filled.now_us), 20))
    assert well == filled.sound
    if (table, column) in {("history", "data"), ("history", "crc")}:
        check_that_it_is_found(filled.sound, sick)


def check_that_it_is_found(sound: Seen, sick: Seen) -> None:
    """Whoever needed the damaged history is held, and says so; who had ended already, needs it no more."""
    for name in IDS:
        status, output = sick[name]
        if status in ENDINGS:
            assert (status, output) == sound[name], name
        else:
            assert status in {"held", "running"}, (name, sick[name])
