"""Whatever happens at whichever commit, the outcome is that of a run in which nothing happened."""

import pytest

from tests.crashes.harness import Fault, play
from tests.crashes.scenarios import SCENARIOS, Scenario

FAULTS = [fault for fault in Fault if fault is not Fault.NONE]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.name)
async def test_every_fault_at_every_commit(scenario: Scenario):
    commits = await play(scenario, {})
    assert commits > 2
    for number in range(1, commits + 1):
        for fault in FAULTS:
            try:
                await play(scenario, {number: fault})
            except BaseException as error:
                error.add_note(f"{scenario.name}: {fault} at commit {number} of {commits}")
                raise


def test_the_canonical_orchestrations_are_many_and_each_is_known_by_its_name():
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS) >= 40
