"""Tests a connection."""

from perdure import activity
from tests.typing.seed_layout import names


@activity(name=names.TEST_CONNECTION)
def test_connection(connection: str) -> bool:
    return connection.startswith("postgres://")
