"""The command: so many seeds with their totals, or one seed again with its timeline."""

import json

import pytest

from perdure.testing.simulation.__main__ import main
from perdure.testing.simulation.lives import CLASSES


def test_the_totals_come_last_as_json(capsys):
    assert main(["--seeds", "5", "--first", "7", "--jobs", "1", "--json"]) == 0
    totals = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (totals["seeds"], totals["first"], totals["violations"]) == (5, 7, [])
    assert totals["faults"] == sum(totals["faults_by_kind"].values()) > 0
    assert totals["seconds"] >= 0


def test_the_totals_in_words(capsys):
    assert main(["--seeds", "2", "--first", "7", "--jobs", "0"]) == 0
    assert "2 seeds from 7" in capsys.readouterr().out


def test_it_ends_after_the_seconds(capsys):
    assert main(["--seconds", "0", "--jobs", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["seeds"] == 1


def test_one_seed_again(capsys):
    assert main(["--seed", "7", "--lines", "3"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 4
    assert out[-1] == "seed 7: all promises kept"


def test_one_seed_without_faults_and_with_one_program(capsys):
    without = ",".join(sorted(CLASSES))
    assert main(["--seed", "7", "--without", without, "--roots", "0", "--lines", "1000"]) == 0
    out = capsys.readouterr().out
    assert "root-0" in out
    assert "root-1 " not in out
    assert "unknown" not in out


def test_a_fault_that_there_is_not(capsys):
    assert main(["--seed", "7", "--without", "earthquake"]) == 2
    assert "earthquake" in capsys.readouterr().out


@pytest.mark.parametrize("word", ["--seed x", "--nonsense"])
def test_a_mistake_on_the_command_line(word):
    with pytest.raises(SystemExit):
        main(word.split())
