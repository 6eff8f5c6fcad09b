"""The table of mutants fits the source, and a few of them, found within moments, are found here as well."""

import pytest

from tests.mutants.__main__ import found
from tests.mutants.table import SIMULATED, STORED

ALL = (*SIMULATED, *STORED)
AT_ONCE = (
    "what another owns is handed out",
    "a message is lost on its way in",
    "an answer before the commit",
)
SEEDS = 200


@pytest.mark.parametrize("mutant", ALL, ids=lambda mutant: mutant.name)
def test_it_still_applies(mutant):
    assert mutant.applied()


def test_there_are_many_and_each_has_its_own_name():
    assert len({mutant.name for mutant in ALL}) == len(ALL) >= 40


@pytest.mark.parametrize("name", AT_ONCE)
def test_it_is_found(name):
    [mutant] = [each for each in ALL if each.name == name]
    assert found(mutant, SEEDS)
