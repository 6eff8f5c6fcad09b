"""A push's share of worlds, beside the thousands of `make simulate`: no promise is broken in any of them."""

import pytest

from perdure.testing.simulation.lives import CLASSES, live, live_many

SEEDS = range(1_000_000, 1_000_100)
FAULTS_EACH = 20

# What each of these found is told by the test that its mending brought, in tests/runtime and tests/storage.
KNOWN = (
    0,  # an activity that was given up before its first step kept its slot for ever
    22,  # a worker that was draining went round and round
    46,  # the same
    67,  # a worker held an unstarted instance that was to be cancelled, as it lacked its code
    75,  # a suspend came before the start, and was told that nothing is held
    279,  # the same
    1591,  # a terminate was older than the event before it
    5880,  # an event came before the start of the next execution, where the store's clock had been set back
    6961,  # the same
    8941,  # the same
    1004982,  # a cancel that was to come before the start held an instance at a worker without its code
    1014017,  # a commit that landed for clients of a buried worker was sent again
    142679867461677,  # a worker did not see that another had gone on with an instance while it was held
    198742864265960,  # SQLite counted deaths against an instance that had ended
    247684324279574,  # an activity elsewhere outlived its orchestration, which the judge took for a lost slot
    19753103940,  # an outcome was given to what a worker remembered of an instance that had gone on elsewhere, and lost
    124069756331400,  # the reference held nobody who waited in vain for an activity with a limit, SQLite did
    900002187,  # a turn was taken on from before a suspend, as its worker had the instance back for a terminate
    970030760,  # the time of a loan began with its answer, which was late while others waited for its end
    900004813,  # an instance was resumed and deleted in one commit: the simulator looked for its row
    960013623,  # who was asked spoke of what was held while an instance was reset, by what its key had meant before
    145585752055023,  # who was asked said what had come of an activity, and the judge of a reset thought it unknown
    930010673,  # one that was terminated was reset, and the judge wanted to be asked for what was open at its end
    940000129,  # a message came while the first turn after a continue-as-new was on its way: held for lack of a start
    54465703793045,  # two attempts of one activity that must not run twice gave back what the other had, for ever
    500294,  # an execution began before the one that it came from had ended, where the clocks of workers differ
    810053688,  # a start whose answer was lost began once more what had been deleted since
    174,  # a move by status that broke off was not gone on with: its own suspending had changed the status
    454,  # a second copy whose writing nobody knew of counted as written, though it was lost: the first one was there
    1574,  # a copy that was left in the middle was taken for the instance by who moved back
    31134,  # one who was late with a move wrote a copy over what had moved away since, and another let it go on
    9059834,  # a copy was ended by a terminate that came along, before its move was done, and then copied anew
    140204446777503,  # a child ended while its failed parent was being rewound, which then waited for it for ever
    3001767,  # an order that was begun while the world was at rest took longer than the rest
)


@pytest.fixture(scope="module")
def totals():
    return live_many(SEEDS, jobs=0)


def test_no_promise_is_broken(totals):
    assert not totals.violations
    assert totals.seeds == len(SEEDS)


def test_much_goes_wrong_in_every_world(totals):
    assert totals.faults.total() >= FAULTS_EACH * len(SEEDS)


def test_every_kind_of_fault_happens(totals):
    assert set(totals.faults) == CLASSES


@pytest.mark.parametrize("seed", KNOWN)
def test_what_once_found_something_finds_nothing_any_more(seed):
    assert live(seed).found is None
