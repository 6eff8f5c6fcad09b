"""Histories that each version of Python recorded replay on every other; where they can't, the error names both."""

import sys
from typing import Any

import pytest

from perdure import _events as ev
from perdure._core.history import check
from perdure._core.matching import PYTHON
from perdure.errors import ReplayMismatchError
from tests.core.golden.programs import PROGRAMS, SCRIPTS, play
from tests.core.golden.record import FOLDER, read
from tests.core.harness import Conversation, kinds

CORPORA = {path.stem.removeprefix("python-"): read(path) for path in sorted(FOLDER.glob("*.json"))}
RECORDED = [(version, name) for version, corpus in CORPORA.items() for name in corpus]

GROUPS_CANCEL_AGAIN = (3, 13)
WAIT_FOR_MAKES_NO_TASK = (3, 12)


def minor(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def history(version: str, name: str) -> list[Any]:
    return [event for turn in CORPORA[version][name] for event in ev.decode_events(turn)]


def replay(version: str, name: str) -> Conversation:
    """A conversation whose execution has gone through a recorded history."""
    talk = Conversation(PROGRAMS[name])
    events = history(version, name)
    check(events, 1)
    with talk.stage, talk.stage.on(talk.execution):
        talk.execution.replay(events)
    return talk


def differs(version: str, since: tuple[int, int]) -> bool:
    return (minor(version) >= since) != (sys.version_info[:2] >= since)


@pytest.mark.parametrize(("version", "name"), RECORDED)
def test_a_recorded_history_replays_here(version: str, name: str) -> None:
    if name == "golden::swallows-a-cancel" and differs(version, GROUPS_CANCEL_AGAIN):
        with pytest.raises(ReplayMismatchError) as mismatch:
            replay(version, name)
        assert f"{history(version, name)[0].python}" in str(mismatch.value)
        assert PYTHON in str(mismatch.value)
        return

    assert replay(version, name).execution.ending is not None


@pytest.mark.parametrize("version", CORPORA)
def test_another_order_between_versions_is_tolerated_and_each_task_gets_its_own_result(version: str) -> None:
    recorded = history(version, "golden::waits-for-coroutines")
    here = play(Conversation(PROGRAMS["golden::waits-for-coroutines"]), ("complete b", "complete a"))

    other_order = kinds(recorded[1:4]) != kinds(here.history[1:4])

    assert other_order == differs(version, WAIT_FOR_MAKES_NO_TASK)
    assert kinds(recorded[-1:]) == kinds(here.history[-1:]) == ['done ["a","b"]']
    assert replay(version, "golden::waits-for-coroutines").execution.ending is not None


@pytest.mark.parametrize("version", CORPORA)
def test_an_execution_begun_elsewhere_goes_on_here(version: str) -> None:
    events = history(version, "golden::waits-for-coroutines")[:4]
    talk = Conversation(PROGRAMS["golden::waits-for-coroutines"])
    with talk.stage, talk.stage.on(talk.execution):
        talk.execution.replay(events)
    talk.turns.append(events)
    by_name = {event.name: event.id for event in events if isinstance(event, ev.ActivityScheduled)}

    talk.complete(by_name["a"], "A")

    assert kinds(talk.complete(by_name["b"], "B")) == ['done ["A","B"]']


def test_the_start_records_the_version() -> None:
    started = [history(version, "golden::gathers")[0] for version in CORPORA]

    assert [start.python.rpartition(".")[0] for start in started] == list(CORPORA)


def test_every_program_is_recorded_by_every_version() -> None:
    assert {"3.11", "3.12", "3.13"} <= set(CORPORA)
    for corpus in CORPORA.values():
        assert set(corpus) == {program.name for program in SCRIPTS}
