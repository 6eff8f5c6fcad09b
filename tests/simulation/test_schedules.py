"""In some worlds schedules start what is to run, and somebody steers them, beside all that goes wrong."""

from perdure._schedules.spec import SCHEDULE
from perdure.testing.simulation.lives import lived
from perdure.testing.simulation.schedules import PLANNED

VERBS = {"make", "pause", "resume", "look", "trigger", "update", "delete"}


def test_all_that_can_be_done_to_a_schedule_is_done_and_no_promise_is_broken():
    worlds = [lived(seed) for seed in range(1_000_000 + PLANNED, 1_000_150, 10)]
    assert not [world.failure for world in worlds if world.failure is not None]
    done = {str(word[2]).split()[0] for world in worlds for word in world.trace if word[-1] == "done"}
    assert done >= VERBS
    runs = [row for world in worlds for row in world.rows.instances.values() if row.record.name == "simulated-run"]
    assert len(runs) > 2 * len(worlds)


def test_others_have_none():
    world = lived(1_000_000)
    assert not any(row.record.name == SCHEDULE for row in world.rows.instances.values())
    assert not any("make plan-0" in map(str, entry) for entry in world.trace)
