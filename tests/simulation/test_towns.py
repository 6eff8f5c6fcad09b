"""In some worlds there are two stores, and instances move from one to the other while workers run on both."""

from perdure._types import Status
from perdure.testing.simulation.lives import live, lived
from perdure.testing.simulation.towns import MOVING, MOVING_EVERY


def test_instances_move_to_and_fro_and_no_promise_is_broken():
    worlds = [lived(seed) for seed in range(1_000_000 + MOVING, 1_000_300, MOVING_EVERY)]
    assert not [world.failure for world in worlds if world.failure is not None]
    rows = [row for world in worlds for town in world.towns for row in town.rows.instances.values()]
    assert sum(row.record.status is Status.MOVED for row in rows) > len(worlds)
    # Who comes home has moved twice at least.
    assert any(row.record.resets > 1 for row in rows)
    words = [" ".join(map(str, entry)) for world in worlds for entry in world.trace]
    assert any("['stale']" in word for word in words)
    assert any("Dead()" in word for word in words)


def test_a_seed_goes_the_same_way_again():
    first, again = (live(1_000_000 + MOVING) for _ in range(2))
    assert first == again
