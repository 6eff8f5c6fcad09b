"""A world that is over leaves nothing in memory, so that thousands can live in one process."""

import gc
import weakref

import pytest

from perdure.testing.simulation.lives import lived

SEEDS = (
    3,  # a worker died with a turn on its way
    5,  # a client was told of an error of the store
    16,  # somebody waited for the end of an instance at a worker that died
)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_world_is_let_go_of(seed):
    world = weakref.ref(lived(seed))
    gc.collect()
    assert world() is None
