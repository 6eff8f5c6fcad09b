"""Workers in processes of their own: killed, restarted with the server, and woken."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from perdure._work import APPLIED, COMING, Deliver, Suspend
from perdure.errors import StorageError
from perdure.storage.postgres import PostgresStorage
from tests.storage.postgres.server import Server
from tests.storage.postgres.work import batch, register, start

OWNER = """
import sys
from perdure.storage.postgres import PostgresStorage
from tests.storage.postgres.work import batch, register
storage = PostgresStorage(sys.argv[1])
worker = register(storage, sys.argv[2], lease_us=int(sys.argv[3]))
claimed = storage.commit(batch(worker=worker, claim=True)).work.instances
print(*(each.record.id for each in claimed), flush=True)
sys.stdin.read()
if sys.argv[4] == "leave":
    storage.unregister(worker)
"""


@pytest.fixture
def storage(url):
    storage = PostgresStorage(url)
    yield storage
    storage.close()


def _owner(url, *, name, lease_us, then="die"):
    """A process that owns whatever there is to be claimed."""
    command = [sys.executable, "-c", OWNER, url, name, str(lease_us), then]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_what_a_killed_process_owned_is_taken_over(storage, url):
    storage.commit(batch(start("order")))
    with _owner(url, name="victim", lease_us=1_000_000) as victim:
        assert victim.stdout.readline().split() == ["order"]
        survivor = register(storage, "survivor")
        assert storage.commit(batch(worker=survivor, claim=True)).work.instances == ()
        os.kill(victim.pid, signal.SIGKILL)
        while not storage.reap(survivor).buried:
            pass
    [claimed] = storage.commit(batch(worker=survivor, claim=True)).work.instances
    assert claimed.record.id == "order"


def test_what_a_process_leaves_in_order_is_free_at_once(storage, url):
    storage.commit(batch(start("order")))
    with _owner(url, name="leaving", lease_us=3_600_000_000, then="leave") as leaving:
        assert leaving.stdout.readline().split() == ["order"]
        leaving.stdin.close()
        assert leaving.wait() == 0
    [claimed] = storage.commit(batch(worker=register(storage), claim=True)).work.instances
    assert claimed.record.id == "order"


def test_workers_that_claim_at_once_share_without_doubles(url):
    stores = [PostgresStorage(url) for _ in range(4)]
    stores[0].commit(batch(*(start(f"order-{number}") for number in range(200))))
    claimed = []

    def run(storage):
        worker = register(storage)
        mine = set()
        while True:
            # What it has comes again, as nothing is done about it.
            found = {each.record.id for each in storage.commit(batch(worker=worker, claim=True)).work.instances}
            if found <= mine:
                claimed.extend(mine)
                return
            mine |= found

    threads = [threading.Thread(target=run, args=(each,)) for each in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for each in stores:
        each.close()
    assert sorted(claimed) == sorted(f"order-{number}" for number in range(200))


def _listening(url):
    """A worker's store that hears what it is told, the worker, and what is set when it is woken."""
    storage = PostgresStorage(url)
    woken = threading.Event()
    storage.wake_by(woken.set)
    worker = register(storage)
    while not storage._listener.hears:  # noqa: SLF001 - when it is ready is nobody's business but these tests'
        pass
    return storage, worker, woken


def test_a_worker_is_woken_by_work_for_all_and_for_what_it_owns(storage, url):
    other, worker, woken = _listening(url)
    for item in (start("order"), Deliver(to_id="order", body=b"news")):
        woken.clear()
        other.changed()
        storage.commit(batch(item))
        assert woken.wait(60)
        assert other.changed()
        assert other.commit(batch(worker=worker, claim=True)).work.instances
    other.close()


def test_a_worker_is_woken_when_what_somebody_ends_is_a_copy_no_more(storage, url):
    storage.commit(batch(start("order"), Deliver(to_id="order", body=b"terminate", control=True)))
    storage.commit(batch(Suspend(id="order", reason=COMING)))
    other, worker, woken = _listening(url)
    other.changed()
    woken.clear()

    storage.commit(batch(Suspend(id="order", reason="come", instead_of=COMING)))

    assert woken.wait(60)
    [claimed] = other.commit(batch(worker=worker, claim=True)).work.instances
    assert claimed.for_control
    other.close()


def test_a_deaf_listener_is_replaced_and_nothing_is_missed(server, storage, url):
    other = PostgresStorage(url)
    register(other)
    listener = other._listener  # noqa: SLF001 - a fault of the inside
    while not listener.hears:
        pass
    with server.connect() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE query LIKE '%%pg_notify(c%%'"
            " AND pid <> pg_backend_pid()"
        )
    storage.commit(batch(start("order")))
    while not other.changed():
        pass
    while not listener.hears:
        pass
    other.close()


def test_a_server_that_crashes_again_and_again_loses_nothing_that_was_acknowledged():
    server = Server(durable=True)
    try:
        storage = PostgresStorage(server.url())
        worker = register(storage)
        acknowledged = []
        for number in range(6):
            assert storage.commit(batch(start(f"order-{number}"), worker=worker)).outcomes == (APPLIED,)
            acknowledged.append(f"order-{number}")
            server.stop("immediate" if number % 2 else "fast")
            with pytest.raises(StorageError):
                storage.commit(batch(start("in vain"), worker=worker))
            server.start()
        assert sorted(storage.get_many(acknowledged)) == acknowledged
        assert storage.get("in vain") is None
        assert storage.heartbeat(worker)
        storage.close()
    finally:
        server.remove()
