"""A server that is told to take no writes: commits and heartbeats alike say so, and go on when it takes them again."""

from contextlib import closing, suppress

import pytest

from perdure._work import APPLIED
from perdure.errors import StorageUnavailableError
from perdure.storage.postgres import PostgresStorage
from tests.storage.postgres.server import Server
from tests.storage.postgres.work import batch, register, start

TRIES_MAX = 1_000
"""A setting reaches the sessions of a server one after the other."""

TAKE_NO_WRITES = "ALTER SYSTEM SET default_transaction_read_only = on"
TAKE_WRITES = "ALTER SYSTEM RESET default_transaction_read_only"


@pytest.fixture(scope="module")
def frozen():
    server = Server()
    yield server
    server.remove()


def _tell(server, setting):
    with server.connect() as connection:
        connection.execute(setting)
    server.reload()


def _refusal(call):
    for _ in range(TRIES_MAX):
        try:
            call()
        except StorageUnavailableError as error:
            return str(error)
    pytest.fail(f"it has written {TRIES_MAX} times")


def _until_it_writes(call):
    for _ in range(TRIES_MAX):
        with suppress(StorageUnavailableError):
            return call()
    pytest.fail("it does not write again")


@pytest.mark.parametrize("call", ["commit", "heartbeat"])
def test_what_writes_is_refused_with_what_to_do_until_it_takes_writes_again(frozen, call):
    with closing(PostgresStorage(frozen.url(schema=call))) as storage:
        worker = register(storage)
        calls = {
            "commit": lambda: storage.commit(batch(worker=worker)),
            "heartbeat": lambda: storage.heartbeat(worker),
        }
        # given a server that takes writes
        calls[call]()
        # when it is told to take none
        _tell(frozen, TAKE_NO_WRITES)
        try:
            # then the call is refused
            assert "takes no writes" in _refusal(calls[call])
        finally:
            _tell(frozen, TAKE_WRITES)
        # and goes on when it takes them again
        _until_it_writes(calls[call])
        assert storage.commit(batch(start("order"), worker=worker)).outcomes == (APPLIED,)
