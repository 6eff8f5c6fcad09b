"""Where the files of power cuts lie."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.folders import in_memory


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder."""
    with in_memory() as name:
        yield Path(name)
