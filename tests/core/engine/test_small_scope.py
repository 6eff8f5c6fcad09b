"""A sample of the exhaustive model of races (C22, C23); all of it is in tests/model, `make model` runs it."""

import pytest

from tests.model.small_scope import Model, Scope


@pytest.mark.parametrize("arms", ["a", "at", "ab"])
@pytest.mark.parametrize("lazy", [False, True], ids=["eager", "lazy"])
@pytest.mark.parametrize("pauses", [False, True])
def test_c22_c23_some_races_in_every_order(arms, lazy, pauses):
    assert Model(Scope(arms, races=2, lazy=lazy, pauses=pauses)).check_all() > 3
