"""Pages of instances by attributes and names: along an index of the rarest, unless something else may be rarer."""

import apsw
import pytest
from msgspec.structs import replace

from perdure._types import Status
from perdure._work import APPLIED, InstanceChange, Query, StartInstance
from perdure.storage.pages import RARE_MAX
from perdure.storage.sqlite import SqliteStorage
from perdure.testing import ManualClock
from perdure.testing.storage_suite.world import NAME, World, applied

MANY = RARE_MAX + 200


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("attributes") / "store.db"


@pytest.fixture(scope="module")
def world(place):
    clock = ManualClock()
    storage = SqliteStorage(place, clock=clock, durability="normal")
    world = World(storage, clock, lambda: storage)
    starts = [StartInstance(new=world.new(f"i-{number}", attributes=_attributes(number))) for number in range(MANY + 1)]
    assert set(world.client(*starts)) == {APPLIED}
    worker = world.worker()
    worker.claim(instances=1)
    worker.run("i-0", change=InstanceChange(status=Status.FAILED))
    yield world
    storage.close()


def _attributes(number):
    if number == MANY:
        return b'{"kind":true,"number":null,"nested":{"a":[1,2]}}'
    return b'{"kind":1,"number":%d,"third":%d}' % (number, number % 3)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (Query(attributes={"kind": 1}), [MANY - 1, MANY - 2, MANY - 3]),
        (
            Query(attributes={"kind": 1, "third": 2}),
            [number for number in range(MANY - 1, 0, -1) if number % 3 == 2][:3],
        ),
        (Query(attributes={"kind": 1}, statuses=(Status.FAILED,)), [0]),
        (Query(attributes={"kind": 1}, statuses=(Status.COMPLETED,)), []),
        (Query(attributes={"kind": 1}, name="nobody"), []),
        (Query(attributes={"kind": 1}, created_before=1), []),
        # Of a name that more than a few have, and so along the status.
        (Query(name=NAME, statuses=(Status.FAILED,)), [0]),
        (Query(name="nobody", statuses=(Status.FAILED,)), []),
        (Query(attributes={"number": 7, "kind": 1}), [7]),
        (Query(attributes={"number": 7, "kind": 2}), []),
        (Query(attributes={"number": 7}, statuses=(Status.FAILED,)), []),
        (Query(attributes={"number": 7}, roots_only=True), [7]),
        (Query(attributes={"number": ""}), []),
        (Query(attributes={"number": None}), [MANY]),
        (Query(attributes={"kind": True}), [MANY]),
        (Query(attributes={"nested": {"a": [1, 2]}}), [MANY]),
        (Query(attributes={"nested": {"a": [1]}}), []),
    ],
)
def test_a_page_has_what_matches_newest_first(world, query, found):
    page, _ = world.storage.find(replace(query, limit=3))
    assert [record.id for record in page] == [f"i-{number}" for number in found]


def test_pages_follow_each_other(world):
    query, seen = Query(attributes={"third": 1}, limit=150), []
    while True:
        page, after = world.storage.find(query)
        seen += [record.id for record in page]
        if after is None:
            break
        query = replace(query, after=after)
    assert seen == [f"i-{number}" for number in range(MANY - 1, -1, -1) if number % 3 == 1]


def test_of_an_instance_that_is_deleted_no_attribute_is_left(tmp_path):
    clock = ManualClock()
    storage = SqliteStorage(tmp_path / "store.db", clock=clock)
    world = World(storage, clock, lambda: storage)
    world.start("gone", attributes=_attributes(MANY))
    applied(world.delete("gone", force=True))
    storage.close()
    connection = apsw.Connection(str(tmp_path / "store.db"))
    assert connection.execute("SELECT count(*) FROM attributes").fetchall() == [(0,)]
    connection.close()
