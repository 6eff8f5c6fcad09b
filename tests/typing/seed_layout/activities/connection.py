"""Tests a connection."""

from tests.typing.seed_layout import names
from tests.typing.surface import activity


@activity(name=names.TEST_CONNECTION)
def test_connection(connection: str) -> bool:
    return connection.startswith("postgres://")
