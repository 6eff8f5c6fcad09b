"""One server for all tests that don't break theirs, and places for stores at which there is none."""

import pytest

from tests.storage.postgres.server import Server


@pytest.fixture(scope="session")
def server():
    server = Server()
    yield server
    server.remove()


@pytest.fixture
def url(server):
    """An empty store."""
    schema = server.take_schema()
    yield server.url(schema=schema)
    server.give_schema_back(schema)
