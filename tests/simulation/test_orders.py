"""In some worlds users order: a row of theirs, a start and an event, in one transaction, borrowed or of their own."""

import pytest

from perdure.testing.simulation.ledger import Violation
from perdure.testing.simulation.lives import lived
from perdure.testing.simulation.orders import Orders, Try
from perdure.testing.simulation.own import OWN
from perdure.testing.simulation.twins import SQLITE_EVERY

ENDS = {"done", "TimeoutError", "_ChangedMindError", "CancelledError", "OutcomeUnknownError", "InstanceExistsError"}


@pytest.fixture(scope="module")
def worlds():
    return [lived(seed) for seed in range(1_000_000, 1_000_000 + 20 * SQLITE_EVERY, SQLITE_EVERY)]


def test_they_end_in_every_way_and_no_promise_is_broken(worlds):
    ends = {entry[3] for world in worlds for entry in world.trace if str(entry[2]).startswith("order-")}

    assert not [world.failure for world in worlds if world.failure is not None]
    assert ends >= ENDS


@pytest.mark.parametrize("is_there", [True, None])
def test_a_row_without_what_was_begun_with_it_is_found(worlds, is_there):
    orders = Orders(worlds[0], lambda: frozenset({"row"}))

    with pytest.raises(Violation, match="of the order row there is"):
        orders.check(Try("row", begun=[-1], is_there=is_there))


def test_what_was_begun_without_its_row_is_found(worlds):
    incarnation = next(iter(worlds[0].checks.closed))
    orders = Orders(worlds[0], frozenset)

    with pytest.raises(Violation, match="of the order row there is"):
        orders.check(Try("row", begun=[incarnation]))


@pytest.mark.parametrize("is_there", [True, False])
def test_what_is_otherwise_than_its_user_was_told_is_found(worlds, is_there):
    orders = Orders(worlds[0], lambda: frozenset() if is_there else frozenset({"row"}))

    with pytest.raises(Violation, match=f"its user was told {is_there}"):
        orders.check(Try("row", is_there=is_there))


def test_an_order_of_which_nobody_was_told_is_found(worlds):
    orders = Orders(worlds[0], frozenset)
    orders.tries.append(Try("row"))

    with pytest.raises(Violation, match="nobody was told"):
        orders.judge()


def test_who_wants_an_id_that_an_open_transaction_is_about_to_take_is_put_off_and_no_promise_is_broken():
    worlds = [lived(seed) for seed in range(1_000_000 + OWN, 1_000_400, 10)]

    assert not [world.failure for world in worlds if world.failure is not None]
    assert {kind for world in worlds for kind in world.own.put_off} == {"StartInstance", "Turn"}
    assert sum(len(world.own.rows) for world in worlds) > len(worlds)


def test_elsewhere_nobody_orders():
    assert lived(1_000_001).orders is None
