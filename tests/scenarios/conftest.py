"""What the scenarios share: a file for the store, and all the kinds of store that a worker may use."""

import pytest


@pytest.fixture
def database(tmp_path) -> str:
    """The URL of a SQLite store that does not exist yet."""
    return f"sqlite:///{tmp_path / 'shop.db'}"


@pytest.fixture(params=["memory", "sqlite"])
def url(request, tmp_path) -> str:
    """The URL of an empty store, of each kind."""
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'shop.db'}"
