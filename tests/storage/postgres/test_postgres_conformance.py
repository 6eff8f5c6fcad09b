"""The storage contract on PostgreSQL, as two processes would use it: with a handle each."""

import pytest

from perdure.storage.postgres import PostgresStorage
from perdure.testing.storage_suite import StorageSuite
from perdure.testing.storage_suite.tape import check


class TestPostgresStorage(StorageSuite):
    @pytest.fixture(autouse=True)
    def _place(self, url):
        self._url = url

    def make(self, clock):
        self._clock = clock
        return PostgresStorage(self._url, clock=clock)

    def connect(self, _storage):
        return PostgresStorage(self._url, clock=self._clock)


@pytest.mark.parametrize("first", range(0, 20, 10))
def test_random_calls_have_the_answers_of_the_reference(server, first):
    class Emptied(PostgresStorage):
        """A store whose schema is used again when it is closed."""

        def __init__(self, clock, entropy):
            self._name = server.take_schema()
            super().__init__(server.url(schema=self._name), clock=clock, entropy=entropy)

        def close(self):
            super().close()
            server.give_schema_back(self._name)

    assert check(Emptied, seeds=range(first, first + 10)) > 10 * 60
