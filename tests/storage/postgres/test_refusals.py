"""What the server answers when something is wrong, and what it means: tried again, put off, or told to who must act."""

import threading

import pytest

from perdure._work import APPLIED, Deliver
from perdure.errors import (
    StorageBusyError,
    StorageError,
    StorageFullError,
    StorageUnavailableError,
)
from perdure.storage.postgres import PostgresStorage
from tests.storage.postgres.work import batch, start


@pytest.fixture
def storage(url):
    storage = PostgresStorage(url)
    yield storage
    storage.close()


TROUBLE = """
CREATE TABLE troubles (code text, times bigint);
CREATE SEQUENCE troubled;
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE trouble troubles%ROWTYPE;
BEGIN
    SELECT * INTO trouble FROM troubles;
    IF nextval('troubled') <= trouble.times THEN
        RAISE EXCEPTION 'trouble' USING ERRCODE = trouble.code;
    END IF;
    RETURN new;
END $$;
CREATE TRIGGER fail BEFORE INSERT ON instances FOR EACH ROW EXECUTE FUNCTION fail();
"""


@pytest.fixture
def trouble(server, url):
    """Lets the next insertions of instances fail with a code, so many times."""
    with server.connect() as connection:
        connection.execute("SELECT set_config('search_path', %s, false)", [url.rpartition("=")[2]])

        def make(code, times=1):
            connection.execute(TROUBLE)
            connection.execute("INSERT INTO troubles VALUES (%s, %s)", [code, times])

        yield make
        connection.execute("DROP FUNCTION fail CASCADE; DROP TABLE troubles; DROP SEQUENCE troubled")


@pytest.mark.parametrize("code", ["40001", "40P01", "55P03", "23505"])
def test_what_others_were_in_the_way_of_is_tried_again(storage, trouble, code):
    trouble(code, times=3)
    assert storage.commit(batch(start("order"))).outcomes == (APPLIED,)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("40001", StorageBusyError),
        ("57014", StorageBusyError),
        ("53100", StorageFullError),
        ("53200", StorageFullError),
        ("25006", StorageUnavailableError),
        ("53300", StorageUnavailableError),
        ("57P01", StorageUnavailableError),
        ("58030", StorageUnavailableError),
        ("HV000", StorageUnavailableError),
        ("42501", StorageError),
    ],
)
def test_what_lasts_leaves_nothing_behind_and_says_what_it_is(storage, trouble, code, error):
    trouble(code, times=1_000)
    with pytest.raises(error, match="PostgreSQL at 127.0.0.1"):
        storage.commit(batch(start("order")))
    assert storage.get("order") is None


def test_when_it_is_over_work_goes_on(storage, trouble):
    trouble("53100", times=1)
    with pytest.raises(StorageFullError, match="no room"):
        storage.commit(batch(start("order")))
    assert storage.commit(batch(start("order"))).outcomes == (APPLIED,)


def test_a_deadlock_costs_a_moment_and_nothing_else(server, storage, url):
    schema = url.rpartition("=")[2]
    storage.commit(batch(start("first"), start("second")))
    done = []
    both = batch(Deliver(to_id="first", body=b"1"), Deliver(to_id="second", body=b"2"))
    thread = threading.Thread(target=lambda: done.append(storage.commit(both).outcomes))
    lock = "SELECT 1 FROM instances WHERE id = %s FOR UPDATE"
    with server.connect() as other, server.connect() as looker:
        # It never finds out that it is in a deadlock; the store does.
        other.execute("SET deadlock_timeout = '1h'")
        other.execute("SELECT set_config('search_path', %s, false)", [schema])
        other.execute("BEGIN")
        other.execute(lock, ["second"])
        thread.start()
        while not looker.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'").fetchall():
            pass
        other.execute(lock, ["first"])
        other.execute("ROLLBACK")
        thread.join()
    assert done == [(APPLIED, APPLIED)]


def test_starts_of_one_id_at_once_make_one_instance(url):
    stores = [PostgresStorage(url) for _ in range(8)]
    barrier = threading.Barrier(len(stores))
    outcomes = []

    def run(storage):
        barrier.wait()
        outcomes.extend(storage.commit(batch(start("order"))).outcomes)

    threads = [threading.Thread(target=run, args=(each,)) for each in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for each in stores:
        each.close()
    assert outcomes.count(APPLIED) == 1
    assert len(outcomes) == len(stores)
    assert len({outcome.existing.incarnation for outcome in outcomes if outcome != APPLIED}) == 1
