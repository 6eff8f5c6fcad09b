"""In some worlds users write to one life of an id by the handle of its start, and others get the id meanwhile."""

from perdure.testing.simulation.letters import ADDRESSED
from perdure.testing.simulation.lives import lived

ANSWERS = {"done", "InstanceReplacedError", "InstanceNotFoundError", "InstanceClosedError"}


def test_letters_are_delivered_and_refused_and_reach_no_other():
    worlds = [lived(seed) for seed in range(1_000_000 + ADDRESSED, 1_000_400, 10)]
    assert not [world.failure for world in worlds if world.failure is not None]
    told = {str(entry[-1]) for world in worlds for entry in world.trace if _is_letter(entry)}
    assert told >= ANSWERS


def test_elsewhere_nobody_writes_any():
    assert not any(map(_is_letter, lived(1_000_000).trace))


def _is_letter(entry: tuple[object, ...]) -> bool:
    return any(str(word).startswith("write ") for word in entry)
