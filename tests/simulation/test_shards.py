"""Some worlds lie on several databases, with couriers between them, beside all that goes wrong."""

import pytest

from perdure.testing.simulation.faults import SHARD_FAULTS
from perdure.testing.simulation.lives import lived
from perdure.testing.simulation.sharding import SHARDED, SHARDED_EVERY, ShardedWorld

SEEDS = range(1_000_000 + SHARDED, 1_000_500, SHARDED_EVERY)


@pytest.fixture(scope="module")
def worlds():
    return [lived(seed) for seed in SEEDS]


def test_no_promise_is_broken(worlds):
    assert not [world.failure for world in worlds if world.failure is not None]


def test_there_are_two_or_three_databases_and_each_has_instances(worlds):
    lived_in = {
        (len(world.shards), each.shard.number) for world in worlds for each in world.shards if each.rows.instances
    }

    assert lived_in == {(2, 0), (2, 1), (3, 0), (3, 1), (3, 2)}


def test_much_goes_between_them_and_some_of_it_twice_or_in_vain(worlds):
    parcels = [parcel for world in worlds for parcel in world.checks.post.parcels.values()]
    starts = [parcel for parcel in parcels if parcel.content.start is not None]

    assert len(parcels) > 3 * len(worlds)
    assert len(starts) > len(worlds)
    assert any(parcel.passed_over for parcel in parcels)
    assert all(parcel.settled for parcel in parcels)


def test_databases_are_away_and_couriers_stand_still(worlds):
    assert all(any(world.faults.happened[name] for world in worlds) for name in SHARD_FAULTS)


def test_other_worlds_have_one():
    assert not isinstance(lived(1_000_000), ShardedWorld)
