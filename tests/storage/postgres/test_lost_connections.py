"""Connections that are cut or fall silent: every call ends as applied, not applied, or unknown, and never hangs."""

import pytest

from perdure._work import APPLIED
from perdure.errors import OutcomeUnknownError, StorageError, StorageUnavailableError
from perdure.storage.postgres import PostgresStorage
from tests.storage.postgres.proxy import Proxy
from tests.storage.postgres.work import batch, register, start


@pytest.fixture
def proxy(server):
    proxy = Proxy(server.port)
    yield proxy
    proxy.close()


@pytest.fixture
def storage(proxy, server, url):
    storage = PostgresStorage(url.replace(str(server.port), str(proxy.port)))
    yield storage
    proxy.mode = ""
    # What has fallen silent would be waited for.
    proxy.cut_all()
    storage.close()


class Silence:
    """A time in which nothing passes, and a server is given up sooner than in production: one that is busy is not."""

    def __init__(self, proxy, monkeypatch):
        self._proxy = proxy
        self._monkeypatch = monkeypatch

    def begin(self, *_):
        self._proxy.mode = "silent"
        self._monkeypatch.setattr("perdure.storage.postgres.wire.SILENCE_MS_MAX", 200)
        return []

    def end(self):
        self._proxy.mode = ""
        self._monkeypatch.undo()


@pytest.fixture
def silence(proxy, monkeypatch):
    return Silence(proxy, monkeypatch)


@pytest.mark.parametrize(("mode", "landed"), [("cut before", False), ("cut after", True)])
def test_a_connection_that_is_cut_at_commit_leaves_the_outcome_unknown_and_the_token_tells_it(
    storage, proxy, mode, landed
):
    worker = register(storage)
    proxy.mode = mode
    sent = batch(start("order"), worker=worker)
    with pytest.raises(OutcomeUnknownError, match="ask with applied"):
        storage.commit(sent)
    assert storage.applied(worker, sent.token) is landed
    assert (storage.get("order") is not None) is landed
    # Sent again, a start lands once.
    assert storage.commit(batch(*sent.items, worker=worker)).outcomes == (APPLIED,)


@pytest.mark.parametrize("mode", ["cut before", "cut after"])
def test_the_next_commit_goes_over_a_new_connection(storage, proxy, mode):
    proxy.mode = mode
    with pytest.raises(OutcomeUnknownError):
        storage.commit(batch(start("order")))
    assert storage.commit(batch(start("other"))).outcomes == (APPLIED,)
    assert proxy.cuts == 1


@pytest.mark.parametrize("mode", ["cut before", "cut after"])
def test_a_worker_goes_on_whatever_became_of_a_commit_of_unknown_outcome(storage, proxy, mode):
    worker = register(storage)
    storage.commit(batch(start("first"), worker=worker))
    proxy.mode = mode
    with pytest.raises(OutcomeUnknownError):
        storage.commit(batch(start("order"), worker=worker))
    assert storage.commit(batch(worker=worker, claim=True)).work is not None


def test_a_worker_whose_last_commit_is_gone_has_no_place_in_the_store(server, url, storage, caplog):
    worker = register(storage)
    storage.commit(batch(start("first"), worker=worker))
    with server.connect() as connection:
        connection.execute("SELECT set_config('search_path', %s, false)", [url.rpartition("=")[2]])
        connection.execute("UPDATE tokens SET token = 'an earlier one'")
    terminate_all(server, "idle")
    assert storage.commit(batch(worker=worker, claim=True)).work is None
    assert "has forgotten commits" in caplog.text


def test_a_server_that_is_silent_is_given_up(storage, silence):
    worker = register(storage)
    silence.begin()
    for call in (
        lambda: storage.commit(batch(start("order"))),
        lambda: storage.applied(worker, b"token"),
        lambda: storage.get("order"),
        lambda: storage.heartbeat(worker),
        lambda: storage.reap(worker),
    ):
        with pytest.raises(StorageUnavailableError):
            call()


@pytest.mark.parametrize("meanwhile", [lambda: None, lambda: 1], ids=["nothing to do", "always more to do"])
def test_a_server_that_falls_silent_between_a_commits_trips_leaves_nothing(
    server, storage, monkeypatch, silence, meanwhile
):
    storage.while_waiting(meanwhile)
    worker = register(storage)
    monkeypatch.setattr("perdure.storage.postgres.storage.claims", silence.begin)
    sent = batch(start("order"), worker=worker, claim=True)
    with pytest.raises(OutcomeUnknownError, match="the server has said nothing for 0.2 seconds"):
        storage.commit(sent)
    silence.end()
    # The server has the transaction still, and who asks waits until it has given it up.
    terminate_all(server, "idle in transaction")
    assert storage.applied(worker, sent.token) is False


def test_a_backend_that_is_killed_between_calls_is_replaced_unnoticed(server, storage):
    worker = register(storage)
    for number in range(5):
        terminate_all(server, "idle")
        assert storage.commit(batch(start(f"order-{number}"), worker=worker)).outcomes == (APPLIED,)
        assert storage.heartbeat(worker)
        assert storage.get(f"order-{number}") is not None


def test_a_closed_store_says_so(storage):
    storage.close()
    with pytest.raises(StorageError, match="is closed"):
        storage.commit(batch(start("order")))


def terminate_all(server, state):
    """Kill the backends of stores that are in this state."""
    with server.connect() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE application_name = 'perdure' AND state = %s",
            [state],
        )
