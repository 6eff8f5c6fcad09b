"""In some worlds an operator puts instances back, forks and deletes them, beside all that goes wrong."""

from perdure.testing.simulation.lives import lived
from perdure.testing.simulation.operator import OPERATED

VERBS = {"rewind", "reset", "fork", "retry", "delete", "prune", "resume"}


def test_all_that_an_operator_can_do_is_done_and_no_promise_is_broken():
    worlds = [lived(seed) for seed in range(1_000_000 + OPERATED, 1_000_100, 10)]
    assert not [world.failure for world in worlds if world.failure is not None]
    done = {word[2].split()[0] for world in worlds for word in map(_words, world.trace) if word[-1] == "done"}
    assert done >= VERBS


def test_others_have_none():
    assert not any("operator" in _words(entry) for entry in lived(1_000_000).trace)


def _words(entry: tuple[object, ...]) -> list[str]:
    return [str(word) for word in entry]
