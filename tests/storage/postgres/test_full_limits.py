"""What waits behind a key that is full is passed over before anything is locked, and is not looked at again."""

from perdure._work import Batch, Claim
from perdure.storage.postgres import PostgresStorage
from perdure.storage.postgres.statements import read_statements
from tests.storage.full_keys import KEYS, fill_keys


def test_a_claim_locks_the_keys_that_have_a_place_and_looks_into_their_lanes_alone(server, url):
    schema = url.rpartition("=")[2]
    storage = PostgresStorage(url)
    worker = fill_keys(storage)
    statement = read_statements(schema)["lock_limits"]

    with server.connect() as connection, connection.transaction():
        [(is_contended, limits, lanes)] = connection.execute(statement).fetchall()
        [(locks,)] = connection.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
        ).fetchall()

    assert not is_contended
    assert limits == f'["key {KEYS - 1}"]'
    assert lanes == f'["tasks\\n\\nkey {KEYS - 1}"]'
    assert locks == 1

    claim = Claim(instances_max=0, tasks_max=KEYS)
    taken = [
        storage.commit(Batch(token=bytes([number]) * 16, items=(), worker=worker, claim=claim)).work.tasks
        for number in range(2)
    ]
    assert [[(task.instance_id, task.event) for task in tasks] for tasks in taken] == [[(f"i-{KEYS - 1}", 3)], []]
    storage.close()
