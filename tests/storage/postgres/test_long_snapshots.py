"""Somebody keeps the server from forgetting what was removed: who that is, is told once, with what to do."""

import logging

import pytest

from perdure.storage.postgres import PostgresStorage
from perdure.storage.postgres.__main__ import main
from perdure.storage.postgres.horizon import AGE_MIN, LOOK_US
from perdure.testing import ManualClock
from tests.storage.postgres.server import Server
from tests.storage.postgres.work import register

TRANSACTIONS = """
DO $$ BEGIN
    FOR i IN 1..current_setting('test.many')::int LOOP
        PERFORM pg_current_xact_id();
        COMMIT;
    END LOOP;
END $$
"""
SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1"


@pytest.fixture
def worker(url):
    """A worker that looks when a test says so."""
    worker = Worker(url)
    yield worker
    worker.storage.close()


class Worker:
    """One that looks after others."""

    def __init__(self, url):
        self._clock = ManualClock()
        self.storage = PostgresStorage(url, clock=self._clock)
        self._number = register(self.storage, lease_us=100 * LOOK_US)

    def look(self, times):
        """As it does when it is time again, so many times."""
        for _ in range(times):
            self.storage.reap(self._number)
            self._clock.advance(LOOK_US)


def _told(caplog):
    return [record.getMessage() for record in caplog.records if "can't forget" in record.message]


def _begin_many(server, number=AGE_MIN):
    with server.connect() as connection:
        connection.execute("SELECT set_config('test.many', %s, false)", [str(number)])
        connection.execute(TRANSACTIONS)


def test_a_session_that_keeps_a_snapshot_is_told_once_with_how_to_end_it(server, worker, caplog):
    with server.connect(application_name="forgotten") as other:
        pid = other.info.backend_pid
        other.execute(SNAPSHOT)
        _begin_many(server)
        worker.look(1)
        assert _told(caplog) == []
        worker.look(3)
        [told] = _told(caplog)
        assert f"the session {pid} (forgotten, user perdure) has kept all of it since 2" in told
        assert f"SELECT pg_terminate_backend({pid})" in told
        other.execute("COMMIT")
        other.execute(SNAPSHOT)
        _begin_many(server)
        worker.look(2)
        assert len(_told(caplog)) == 2


def test_a_transaction_that_has_written_is_told_too(server, worker, caplog):
    with server.connect(application_name="forgotten") as other:
        other.execute("BEGIN; CREATE TABLE public.never_there (a int)")
        _begin_many(server)
        worker.look(2)
        other.execute("ROLLBACK")
    assert "(forgotten, user perdure)" in _told(caplog)[0]


def test_who_comes_and_goes_or_does_no_harm_is_not_told(server, worker, caplog):
    with server.connect() as other:
        for _ in range(3):
            other.execute(SNAPSHOT)
            _begin_many(server)
            worker.look(1)
            other.execute("COMMIT")
        other.execute(SNAPSHOT)
        _begin_many(server, AGE_MIN // 2)
        worker.look(3)
    assert _told(caplog) == []


def test_what_another_database_keeps_is_none_of_ours(server, worker, caplog):
    server.create_database("elsewhere")
    with server.connect("elsewhere") as other:
        other.execute(SNAPSHOT)
        _begin_many(server)
        worker.look(2)
    assert _told(caplog) == []


def test_a_role_of_least_right_tells_who_it_is_and_how_long_it_has_seen_that(server, url, caplog):
    schema = url.rpartition("=")[2]
    with server.connect() as admin:
        PostgresStorage(url).close()
        admin.execute("CREATE ROLE low LOGIN")
        assert main(["grant", "run", "low", url]) == 0
        with server.connect(application_name="forgotten") as other:
            other.execute(SNAPSHOT)
            _begin_many(server)
            worker = Worker(server.url(user="low", schema=schema))
            worker.look(3)
            worker.storage.close()
        admin.execute("DROP OWNED BY low; DROP ROLE low")
    [told] = _told(caplog)
    assert "(forgotten, user perdure) has kept all of it for 60 seconds at least" in told


@pytest.mark.usefixtures("worker")
def test_a_role_from_which_it_is_hidden_works_as_well(server, url, caplog):
    schema = url.rpartition("=")[2]
    with server.connect() as admin, caplog.at_level(logging.INFO):
        admin.execute("CREATE ROLE lower LOGIN")
        assert main(["grant", "run", "lower", url]) == 0
        admin.execute("REVOKE SELECT ON pg_catalog.pg_replication_slots FROM PUBLIC")
        try:
            lower = Worker(server.url(user="lower", schema=schema))
            lower.look(3)
            lower.storage.close()
        finally:
            admin.execute("GRANT SELECT ON pg_catalog.pg_replication_slots TO PUBLIC")
            admin.execute("DROP OWNED BY lower; DROP ROLE lower")
    assert caplog.text.count("does not look who keeps removed rows") == 1


def test_a_prepared_transaction_and_a_slot_whose_standby_is_gone_are_told(caplog):
    primary = Server()
    with primary.connect() as admin:
        admin.execute("ALTER SYSTEM SET max_prepared_transactions = 5")
    primary.stop("fast")
    primary.start()
    try:
        with primary.connect() as admin:
            admin.execute("SELECT pg_create_physical_replication_slot('left_behind')")
            standby = Server(of=primary)
            try:
                with standby.connect() as follower:
                    follower.execute("ALTER SYSTEM SET primary_slot_name = 'left_behind'")
                    follower.execute("ALTER SYSTEM SET hot_standby_feedback = on")
                    follower.execute("SELECT pg_reload_conf()")
                while not admin.execute("SELECT 1 FROM pg_replication_slots WHERE xmin IS NOT NULL").fetchall():
                    pass
            finally:
                standby.remove()
            admin.execute("BEGIN; CREATE TABLE public.half (a int); PREPARE TRANSACTION 'half'")
            _begin_many(primary)
        worker = Worker(primary.url())
        worker.look(2)
        worker.storage.close()
    finally:
        primary.remove()
    text = "\n".join(_told(caplog))
    assert "the replication slot left_behind (in use by nobody)" in text
    assert "SELECT pg_drop_replication_slot('left_behind')" in text
    assert "the prepared transaction half (user perdure)" in text
    assert "ROLLBACK PREPARED 'half'" in text
