"""Two empty databases, of each kind."""

import pytest

from tests.storage.postgres.server import Server


@pytest.fixture(scope="session")
def server():
    server = Server()
    yield server
    server.remove()


@pytest.fixture(params=["sqlite", "postgres"])
def urls(request, tmp_path):
    """The URLs of two empty databases."""
    if request.param == "sqlite":
        return [f"sqlite:///{tmp_path / name}.db" for name in ("left", "right")]
    server = request.getfixturevalue("server")
    names = [server.take_schema() for _ in ("left", "right")]
    for name in names:
        server.create_database(name)
    return [server.url(name) for name in names]
