"""The CMS: every change may be made again, and says how it shall be."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import apsw
import pytest

from examples.toygres.activity_types import (
    Endpoint,
    HealthCheck,
    ImageReservation,
    RecordState,
    ServerReservation,
    ServerStarted,
)
from examples.toygres.cms import HEALTH_CHECKS_KEPT, Cms, NameTakenError, UnknownRecordError

ENDPOINT = Endpoint("127.0.0.1", 15432, "postgres", "postgres", "/pgpass")
STARTED = ServerStarted("s-1", ENDPOINT, "PostgreSQL 18.6", "actor-s-1")
BEGUN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cms.db"


@pytest.fixture
def cms(path):
    cms = Cms(path)
    yield cms
    cms.close()


def _look(number):
    return HealthCheck(
        healthy=True,
        detail=f"look {number}",
        at=BEGUN + timedelta(seconds=number),
        latency=timedelta(milliseconds=3),
    )


def test_a_name_belongs_to_one_server_until_it_is_forgotten(cms):
    for _ in range(2):
        cms.reserve_server(ServerReservation("s-1", "orders", "i-1"), "create-s-1")
    with pytest.raises(NameTakenError, match="'orders'"):
        cms.reserve_server(ServerReservation("s-2", "orders"), "create-s-2")
    for _ in range(2):
        cms.mark_running(STARTED)

    record = cms.find_server("orders")

    assert record == cms.get_server("s-1")
    assert (record.state, record.endpoint, record.creation_id, record.image_id, record.actor_id) == (
        RecordState.RUNNING, ENDPOINT, "create-s-1", "i-1", "actor-s-1",
    )  # fmt: skip
    for _ in range(2):
        cms.forget_server("s-1")
    cms.reserve_server(ServerReservation("s-2", "orders"), "create-s-2")
    assert [each.server_id for each in cms.list_servers()] == ["s-2"]


def test_a_server_that_goes_does_not_come_back_to_life(cms):
    cms.reserve_server(ServerReservation("s-1", "orders"), "create-s-1")
    assert cms.mark_deleting("s-1").state is RecordState.DELETING

    cms.mark_running(STARTED)

    assert cms.get_server("s-1").state is RecordState.DELETING
    cms.mark_failed("s-1", "why")
    assert (cms.get_server("s-1").state, cms.get_server("s-1").error) == (RecordState.FAILED, "why")
    assert cms.mark_deleting("s-2") is None


def test_a_look_is_kept_once_and_old_ones_go(cms):
    cms.reserve_server(ServerReservation("s-1", "orders"), "create-s-1")
    for number in range(HEALTH_CHECKS_KEPT + 5):
        for _ in range(2):
            cms.record_health("s-1", f"key-{number}", _look(number))
    cms.record_health("s-2", "of nobody", _look(0))

    looks = cms.list_health("s-1")

    assert looks == [_look(number) for number in reversed(range(5, HEALTH_CHECKS_KEPT + 5))]
    assert cms.list_health("s-1", 1) == looks[:1]
    assert cms.list_health("s-2") == []
    cms.forget_server("s-1")
    assert cms.list_health("s-1") == []


def test_an_image_is_of_a_server_that_runs(cms):
    wanted = ImageReservation("i-1", "nightly", "s-1")
    with pytest.raises(UnknownRecordError, match="does not run"):
        cms.reserve_image(wanted)
    cms.reserve_server(ServerReservation("s-1", "orders"), "create-s-1")
    with pytest.raises(UnknownRecordError, match="does not run"):
        cms.reserve_image(wanted)
    cms.mark_running(STARTED)

    for _ in range(2):
        cms.reserve_image(wanted)
        cms.mark_image_ready("i-1", 7)

    (image,) = cms.list_images()
    assert (image.name, image.server_name, image.state, image.size_bytes) == ("nightly", "orders", RecordState.READY, 7)
    assert cms.find_image("nightly") == image
    with pytest.raises(NameTakenError, match="'nightly'"):
        cms.reserve_image(ImageReservation("i-2", "nightly", "s-1"))
    for _ in range(2):
        cms.forget_image("i-1")
    assert cms.list_images() == []


def test_it_is_closed_when_no_thread_is_in_the_middle_of_a_change(cms, path):
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    writer = threading.Thread(target=cms.mark_failed, args=("s-1", "why"))
    writer.start()
    # Each lets the writer run, which comes as far as waiting for the other one's transaction.
    for _ in range(1000):
        other.execute("SELECT count(*) FROM servers").fetchall()
    failures = []

    def close():
        try:
            cms.close()
        except apsw.Error as error:
            failures.append(error)

    closer = threading.Thread(target=close)
    closer.start()
    for _ in range(1000):
        other.execute("SELECT count(*) FROM servers").fetchall()
    other.close()
    writer.join()
    closer.join()

    assert failures == []


def test_of_many_who_want_a_name_at_once_one_gets_it(path):
    begin = threading.Barrier(4)

    def want(number):
        cms = Cms(path)
        begin.wait(10)
        try:
            cms.reserve_server(ServerReservation(f"s-{number}", "orders"), f"create-s-{number}")
        except NameTakenError:
            return "lost"
        finally:
            cms.close()
        return "won"

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(want, range(4)))

    assert sorted(outcomes) == ["lost", "lost", "lost", "won"]


def test_many_can_open_a_new_one_at_once(path):
    begin = threading.Barrier(6)

    def come(number):
        begin.wait(10)
        Cms(path.with_name(f"{number // 6}.db")).close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(come, range(240)))
