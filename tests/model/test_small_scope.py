"""All races of small scope (C22, C23): live equals replay, whatever happens, in whatever order and turns."""

import pytest

from tests.model.small_scope import Model, scopes

PATHS = {
    (1, 1, False): 428,
    (1, 1, True): 281,
    (1, 2, False): 553,
    (1, 2, True): 364,
    (1, 3, False): 575,
    (1, 3, True): 380,
    (2, 1, False): 1102,
    (2, 1, True): 640,
    (2, 2, False): 1527,
    (2, 2, True): 1011,
    (2, 3, False): 1658,
    (2, 3, True): 1142,
    (3, 1, False): 5911,
    (3, 1, True): 2812,
    (3, 2, False): 2653,
    (3, 2, True): 2653,
    (3, 3, False): 3896,
    (3, 3, True): 3896,
}
"""How many paths there are, by arms, races, and whether arms are lazy: none may get lost unnoticed."""


@pytest.mark.parametrize("arms", [1, 2, 3])
@pytest.mark.parametrize("races", [1, 2, 3])
@pytest.mark.parametrize("lazy", [False, True], ids=["eager", "lazy"])
def test_c22_c23_every_race_in_every_order(arms, races, lazy):
    paths = sum(Model(scope).check_all() for scope in scopes(arms, races, lazy=lazy))

    assert paths == PATHS[arms, races, lazy]
