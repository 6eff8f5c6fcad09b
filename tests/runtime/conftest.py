"""What the runtime's tests share: files for the store, and programs in processes of their own."""

import pytest

from tests.runtime.processes import programs


@pytest.fixture
def database(tmp_path) -> str:
    """The URL of a SQLite store that does not exist yet."""
    return f"sqlite:///{tmp_path / 'shop.db'}"


@pytest.fixture(params=["memory", "sqlite"])
def url(request, tmp_path) -> str:
    """The URL of an empty store, of each kind."""
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'shop.db'}"


@pytest.fixture
async def spawn():
    """Starts programs, by default workers, and kills what is left of them."""
    async with programs() as start:
        yield start
