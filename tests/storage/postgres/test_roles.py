"""Roles: one that makes and upgrades the schema, one that runs, one that looks; none can do more than it needs."""

import pytest

from perdure._work import APPLIED
from perdure.errors import StorageError
from perdure.storage.postgres import PostgresStorage
from perdure.storage.postgres.__main__ import main
from tests.storage.postgres.work import batch, register, start


@pytest.fixture(scope="module")
def roles(server):
    with server.connect() as connection:
        connection.execute("CREATE DATABASE roles")
        connection.execute("CREATE ROLE migrator LOGIN; CREATE ROLE runner LOGIN; CREATE ROLE viewer LOGIN")
        connection.execute("GRANT CREATE ON DATABASE roles TO migrator")
    assert main(["migrate", server.url("roles", user="migrator")]) == 0
    for purpose, role in (("run", "runner"), ("view", "viewer")):
        assert main(["grant", purpose, role, server.url("roles", user="migrator")]) == 0

    def url(role):
        return server.url("roles", user=role)

    return url


def test_migrating_twice_is_harmless(roles, capsys):
    assert main(["migrate", roles("migrator")]) == 0
    assert capsys.readouterr().out.endswith("schema perdure has version 1\n")


def test_who_runs_can_do_all_that_a_worker_does(roles):
    storage = PostgresStorage(roles("runner"))
    worker = register(storage)
    assert storage.commit(batch(start("order"), worker=worker)).outcomes == (APPLIED,)
    assert storage.commit(batch(worker=worker, claim=True)).work.instances
    assert storage.heartbeat(worker)
    assert storage.reap(worker).buried == 0
    storage.changed()
    storage.unregister(worker)
    storage.close()


def test_who_runs_sees_which_numbers_the_outbox_has_had(roles, server):
    storage = PostgresStorage(roles("runner"))
    with server.connect("roles") as connection:
        connection.execute("INSERT INTO perdure.outbox (shard, incarnation, sent_at, body) VALUES (1, 1, 1, '')")
        connection.execute("DELETE FROM perdure.outbox")
    assert storage.lowest_parcel() == 2
    storage.close()


def test_who_looks_can_look_and_nothing_else(roles):
    storage = PostgresStorage(roles("viewer"), create=False)
    assert storage.workers() == []
    assert storage.get("nobody") is None
    with pytest.raises(StorageError, match="does not let this role"):
        storage.commit(batch(start("in vain")))
    storage.close()


def test_who_runs_can_not_change_the_schema(roles, server):
    main(["grant", "run", "viewer", roles("runner")])
    with server.connect("roles") as connection:
        [(may,)] = connection.execute(
            "SELECT has_schema_privilege('runner', 'perdure', 'CREATE')"
            " OR has_table_privilege('viewer', 'perdure.instances', 'INSERT')"
        ).fetchall()
    assert may is False


def test_the_command_says_what_is_wrong(server, capsys):
    assert main(["migrate"]) == 2
    assert main(["migrate", server.url(port=1)]) == 1
    assert main(["grant", "run", "no such role", server.url("roles", user="migrator")]) == 1
    said = capsys.readouterr().err
    assert "usage: python -m perdure.storage.postgres" in said
    assert "can't be reached" in said
    assert 'role "no such role" does not exist' in said
