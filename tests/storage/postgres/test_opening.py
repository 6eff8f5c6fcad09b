"""Opening a store: what can be wrong with the URL, the server, the rights and the schema, each in one sentence."""

import threading
from datetime import timedelta

import pytest

from perdure.errors import (
    ForeignDatabaseError,
    SchemaVersionError,
    StorageError,
    StorageUnavailableError,
    UsageError,
)
from perdure.storage import open_storage
from perdure.storage.postgres import PostgresStorage
from perdure.storage.postgres.migrations import lock_key
from perdure.storage.postgres.wire import LOCK_IN_COMMIT_MS_MAX
from tests.storage.postgres.server import Server
from tests.storage.postgres.work import batch, start

SECRET = "hunter2'%@ space"  # noqa: S105 - it must not be seen in any message


@pytest.fixture(scope="module")
def strict():
    """A server that asks for passwords."""
    server = Server()
    with server.connect() as connection:
        connection.execute("CREATE ROLE guest LOGIN PASSWORD 'right'")
        connection.execute("CREATE ROLE poor LOGIN")
        connection.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
        connection.execute("CREATE DATABASE frozen")
        connection.execute("ALTER DATABASE frozen SET default_transaction_read_only = on")
    server.write("pg_hba.conf", "host all guest 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n")
    server.reload()
    yield server
    server.remove()


def _refused(url, error=StorageError):
    with pytest.raises(error) as caught:
        PostgresStorage(url)
    said = str(caught.value)
    assert "hunter" not in said
    assert "\n" not in said
    return said


def test_wrong_credentials_are_told_without_them(strict):
    url = strict.url(user="guest:hunter2%27%25%40%20space")
    assert "refused the user or its password" in _refused(url)
    assert "refused the user or its password" in _refused(strict.url(user="guest"))


def test_what_is_not_there_is_named(strict):
    assert "no database of that name" in _refused(strict.url("nowhere", user="poor"))
    assert "no role of that name" in _refused(strict.url(user="nobody"))
    assert "does not speak TLS" in _refused(strict.url(sslmode="require"))
    assert "can't be reached" in _refused(strict.url(port=1), StorageUnavailableError)


def test_a_database_that_can_not_hold_all_texts_is_refused(strict):
    assert "UTF8" in _refused(strict.url("latin"))


def test_a_server_that_takes_no_writes_is_refused(strict):
    assert "takes no writes" in _refused(strict.url("frozen"), StorageUnavailableError)


def test_a_role_that_may_not_create_is_told_who_can(strict):
    assert "as a role that may create schemas" in _refused(strict.url(user="poor"))


def test_a_schema_of_somebody_else_is_left_alone(strict):
    with strict.connect() as connection:
        connection.execute("CREATE SCHEMA theirs")
        connection.execute("CREATE TABLE theirs.instances (id text)")
    assert "not Perdure's" in _refused(strict.url(schema="theirs"), ForeignDatabaseError)


def test_a_newer_schema_is_left_alone(strict):
    PostgresStorage(strict.url(schema="newer")).close()
    with strict.connect() as connection:
        connection.execute("INSERT INTO newer.schema_versions VALUES (99, 0)")
    assert "version 99" in _refused(strict.url(schema="newer"), SchemaVersionError)


def test_who_may_not_create_finds_no_store(strict):
    with pytest.raises(StorageError, match="has no store in schema"):
        PostgresStorage(strict.url(schema="absent"), create=False)


def test_six_at_once_make_one_schema(strict):
    errors = []

    def run():
        try:
            PostgresStorage(strict.url(schema="together")).close()
        except StorageError as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_who_comes_while_another_makes_the_schema_waits_for_it_longer_than_in_a_commit(strict):
    # given: somebody who makes the schema, and takes a while
    errors = []
    waited = "SELECT clock_timestamp() - query_start > %s FROM pg_stat_activity WHERE wait_event = 'advisory'"

    def run():
        try:
            PostgresStorage(strict.url(schema="awaited")).close()
        except StorageError as error:
            errors.append(error)

    with strict.connect() as maker:
        maker.execute("SELECT pg_advisory_lock(%s)", [lock_key("awaited")])
        comer = threading.Thread(target=run)

        # when
        comer.start()
        patience = timedelta(milliseconds=LOCK_IN_COMMIT_MS_MAX + 100)
        while comer.is_alive() and maker.execute(waited, [patience]).fetchall() != [(True,)]:
            pass

    # then: the lock has gone with its session
    comer.join()
    assert errors == []


def test_a_hostile_search_path_changes_nothing(strict):
    with strict.connect() as connection:
        connection.execute("CREATE DATABASE hostile")
    with strict.connect("hostile") as connection:
        connection.execute("CREATE SCHEMA evil CREATE TABLE instances (id int) CREATE TABLE workers (number int)")
        connection.execute("ALTER DATABASE hostile SET search_path = evil, pg_catalog")
    storage = PostgresStorage(strict.url("hostile"))
    storage.commit(batch(start("order")))
    assert storage.get("order") is not None
    storage.close()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://host:port/database",
        "postgresql://[::1/database",
        "postgresql://host/database?schema=Drop%20Table",
        "postgresql://host/database?schema=pg_mine",
        "postgresql://host/database?options=-csearch_path%3Dx",
        "postgresql:///?pasword=hunter2",
    ],
)
def test_a_url_that_makes_no_sense_is_refused_at_once(url):
    with pytest.raises(UsageError) as caught:
        open_storage(url)
    assert "hunter" not in str(caught.value)
