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


@pytest.fixture(scope="session")
def databases(server):
    """Two databases of one server."""
    for name in ("left", "right"):
        server.create_database(name)
    return ("left", "right")


@pytest.fixture(params=["sqlite", "postgres"])
def urls(request, tmp_path):
    """The URLs of two empty databases."""
    if request.param == "sqlite":
        return [f"sqlite:///{tmp_path / name}.db" for name in ("left", "right")]
    server, databases = request.getfixturevalue("server"), request.getfixturevalue("databases")
    schema = server.take_schema()
    return [server.url(name, schema=schema) for name in databases]
