"""Damage that fuzzing has found to be told in the wrong words, or not at all, one row at a time."""

import asyncio
from pathlib import Path

import apsw
import pytest

from perdure import HistoryCorruptError
from tests.folders import in_memory
from tests.fuzz.stored import Seen, fill, go_on


def after(statement: str, *values: object) -> Seen:
    """What is seen of the damaged set when this has been done to a store at rest; the other set is never touched."""
    with in_memory() as folder:
        path = Path(folder) / "store.db"
        now_us = asyncio.run(fill(path))
        connection = apsw.Connection(str(path))
        connection.execute(statement, values)
        assert connection.changes() == 1
        connection.close()
        sick, well = asyncio.run(asyncio.wait_for(go_on(path, now_us), 20))
    assert {status for status, _ in well.values()} == {"completed", "failed"}
    return sick


@pytest.mark.parametrize("policy", [b'{"max_attempts":', b"\xff"])
def test_an_activity_with_an_unreadable_policy_ends_in_words_and_gives_its_slot_back(policy):
    seen = after("UPDATE tasks SET retry = ? WHERE incarnation = (SELECT incarnation FROM instances "
                 "WHERE id = 'sick-works') AND retry IS NOT NULL", policy)  # fmt: skip
    status, what = seen["works"]
    assert status == "failed"
    assert "the stored retry policy" in what


def test_an_instance_whose_history_is_gone_is_held_and_does_not_wait_in_silence():
    seen = after("DELETE FROM history WHERE incarnation = (SELECT incarnation FROM instances WHERE id = 'sick-again') "
                 "AND execution = 2")  # fmt: skip
    assert seen["again"][0] == "held"


def test_an_instance_whose_last_turn_is_gone_is_held_and_not_run_again_from_before_it():
    seen = after("DELETE FROM history WHERE incarnation = (SELECT incarnation FROM instances WHERE id = 'sick-waits') "
                 "AND first_event > 1")  # fmt: skip
    assert seen["waits"][0] == "held"


@pytest.mark.parametrize("error", [b"{", b'{"type":"\xff"}', b"[]"])
def test_an_unreadable_error_is_told_in_words(error):
    seen = after("UPDATE instances SET error = ? WHERE id = 'sick-fails'", error)
    kind, message = seen["fails"]
    assert kind == HistoryCorruptError.__name__
    assert "the stored error of instance 'sick-fails'" in message
