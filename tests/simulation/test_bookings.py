"""In worlds with schedules activities write in transactions of their own, and what is held is given up."""

from perdure.testing.simulation.lives import lived
from perdure.testing.simulation.schedules import PLANNED


def test_they_do_and_no_promise_is_broken():
    worlds = [lived(seed) for seed in range(1_000_000 + PLANNED, 1_000_300, 10)]
    assert not [world.failure for world in worlds if world.failure is not None]
    assert sum(len(world.bookings.rows) for world in worlds) > len(worlds) // 3
    assert any(entry[-1] == "done" and "discard" in str(entry[2]) for world in worlds for entry in world.trace)
