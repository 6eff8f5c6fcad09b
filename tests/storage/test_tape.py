"""The differential tape: stores that follow the contract agree, and one that breaks a rule is found out and shown."""

from itertools import count

import msgspec
import pytest

from perdure._work import Delete, Deliver, Hold, InstanceRelease, TaskRetry, Turn
from perdure.storage.memory import MemoryStorage
from perdure.storage.sqlite import SqliteStorage
from perdure.testing.storage_suite.__main__ import main
from perdure.testing.storage_suite.tape import DifferenceError, check

replace = msgspec.structs.replace


@pytest.mark.parametrize("first", range(0, 100, 25))
def test_sqlite_agrees_with_the_reference(tmp_path, first):
    names = count()

    def make(clock, entropy):
        return SqliteStorage(tmp_path / f"{next(names)}.db", clock=clock, entropy=entropy, durability="normal")

    assert check(make, seeds=range(first, first + 25)) > 25 * 60


class Careless(MemoryStorage):
    """A store that does not do quite what it was asked."""

    def __init__(self, clock, entropy, careless):
        super().__init__(clock, entropy)
        self._careless = careless

    def commit(self, batch):
        return super().commit(self._careless(batch))


def _each(kind, change):
    """Items of a kind arrive changed."""

    def careless(batch):
        return replace(batch, items=tuple(change(each) if isinstance(each, kind) else each for each in batch.items))

    return careless


def _greedy(batch):
    claim = batch.claim
    return batch if claim is None else replace(batch, claim=replace(claim, tasks_max=claim.tasks_max + 1))


@pytest.mark.parametrize(
    "careless",
    [
        pytest.param(_greedy, id="hands out one task too many"),
        pytest.param(_each(Turn, lambda turn: replace(turn, messages=turn.messages[:-1])), id="drops a message"),
        pytest.param(_each(Turn, lambda turn: replace(turn, consumed=())), id="forgets what was consumed"),
        pytest.param(_each(Turn, lambda turn: replace(turn, timers_gone=())), id="forgets that a timer was cancelled"),
        pytest.param(_each(Turn, lambda turn: replace(turn, tasks_gone=())), id="forgets that a task was cancelled"),
        pytest.param(_each(Turn, lambda turn: replace(turn, next_start=None)), id="loses a continue-as-new"),
        pytest.param(
            _each(Turn, lambda turn: replace(turn, timers=tuple((each, due + 1) for each, due in turn.timers))),
            id="fires a timer a microsecond late",
        ),
        pytest.param(
            _each(Turn, lambda turn: replace(turn, messages=tuple(replace(m, child_of=None) for m in turn.messages))),
            id="takes a stranger for a child",
        ),
        pytest.param(_each(Deliver, lambda item: replace(item, dedup_key=None)), id="delivers twice"),
        pytest.param(_each(Deliver, lambda item: replace(item, control=False)), id="takes control messages for others"),
        pytest.param(_each(Delete, lambda item: replace(item, force=True)), id="deletes what runs"),
        pytest.param(_each(Hold, lambda item: replace(item, messages=())), id="drops what a hold keeps"),
        pytest.param(_each(TaskRetry, lambda item: replace(item, delay_us=0)), id="retries at once"),
        pytest.param(_each(TaskRetry, lambda item: replace(item, last_error=None)), id="forgets the last error"),
        pytest.param(_each(InstanceRelease, lambda item: replace(item, delay_us=0)), id="hands out at once again"),
    ],
)
def test_a_store_that_breaks_a_rule_is_found_out(careless):
    with pytest.raises(DifferenceError):
        check(lambda clock, entropy: Careless(clock, entropy, careless), seeds=range(60))


def test_a_difference_is_shown_with_a_short_tape_that_can_be_played_again():
    def make(clock, entropy):
        return Careless(clock, entropy, _each(Deliver, lambda item: replace(item, body=b"garbled")))

    with pytest.raises(DifferenceError) as caught:
        check(make, seeds=[3])
    assert caught.value.seed == 3
    assert len(caught.value.tape) <= 6
    assert "python -m perdure.testing.storage_suite --seed 3 --steps 60" in str(caught.value)
    assert "the other b'garbled'" in str(caught.value)


def test_a_seed_writes_the_same_tape_again():
    shown = []
    for _ in range(2):
        with pytest.raises(DifferenceError) as caught:
            check(lambda clock, entropy: Careless(clock, entropy, _greedy), seeds=range(20))
        shown.append(str(caught.value))
    assert shown[0] == shown[1]


def test_the_command_plays_tapes_on_sqlite(capsys):
    assert main(["--seeds", "2", "--steps", "20"]) == 0
    assert capsys.readouterr().out == "2 tapes, 52 steps: equal answers\n"
    assert main(["--seed", "7", "--steps", "10"]) == 0
