"""What every test shares: nothing but the rule that the exhaustive model has a marker, and so a target, of its own."""

from pathlib import Path

import pytest

MODEL = Path(__file__).resolve().parent / "model"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give everything in tests/model the marker `model`."""
    for item in items:
        if MODEL in item.path.parents:
            item.add_marker(pytest.mark.model)
