"""What clients, the command line and the dashboard read."""

from typing import Any

from perdure._types import Status
from perdure._work import InstanceChange, Query
from perdure.errors import UsageError
from perdure.testing.storage_suite.suite import Topic
from perdure.testing.storage_suite.world import NAME, World


def _found(world: World, **query: Any) -> list[str]:
    """All pages, in order."""
    names: list[str] = []
    after = None
    while True:
        page, after = world.storage.find(Query(after=after, **query))
        names += [each.id for each in page]
        if after is None:
            return names


def _complaint(world: World, after: str) -> str:
    """What the store says to a key that is none."""
    try:
        world.storage.find(Query(after=after))
    except UsageError as error:
        return str(error)
    return "nothing"


class Reading(Topic):
    """One instance, several, a history."""

    def test_what_does_not_exist_is_none(self) -> None:
        world = self.world
        assert world.storage.get("nobody") is None
        assert world.storage.get_many([]) == {}
        assert world.storage.read_history(4_711, 1) == []

    def test_several_instances_are_read_at_once(self) -> None:
        world = self.world
        records = {name: world.start(name) for name in ("a", "b", "c")}
        assert world.storage.get_many(["c", "nobody", "a", "a"]) == {name: records[name] for name in ("a", "c")}

    def test_a_thousand_instances_are_read_at_once(self) -> None:
        world = self.world
        wanted = [f"order-{number}" for number in range(1_500)]
        world.start(wanted[7])
        assert list(world.storage.get_many(wanted)) == [wanted[7]]

    def test_ids_are_matched_by_their_bytes(self) -> None:
        world = self.world
        for name in ("Order", "order", "ordér", "o%"):
            world.start(name)
        assert world.record("order").id == "order"
        assert world.storage.get("ORDER") is None
        assert world.storage.get("o_der") is None

    def test_updated_at_moves_with_turns_only(self) -> None:
        world = self.world
        worker = world.worker()
        started = world.start("order")
        world.clock.advance(5)
        claimed = worker.take("order").record
        world.deliver("order", b"news")
        assert claimed.updated_at == world.record("order").updated_at == started.updated_at
        worker.run("order")
        assert world.record("order").updated_at == world.clock.now_us()
        assert world.record("order").created_at == started.created_at


class CustomStatus(Topic):
    """The custom status and the other columns of a turn."""

    def test_it_is_set_kept_and_counted(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        seen = []
        for status in (None, b"1", None, b"1", b"2"):
            worker.run("order", change=InstanceChange(custom_status=status))
            record = world.record("order")
            seen.append((record.custom_status, record.custom_status_version))
        assert seen == [(None, 0), (b"1", 1), (b"1", 1), (b"1", 2), (b"2", 3)]

    def test_what_a_turn_does_not_change_stays(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        worker.run("order", change=InstanceChange(output=b"o", error=b"e", version="1.0.0", cancel_requested=True))
        worker.run("order", change=InstanceChange())
        worker.run("order")
        record = world.record("order")
        assert (record.output, record.error, record.version, record.cancel_requested) == (b"o", b"e", "1.0.0", True)
        assert record.status is Status.RUNNING

    def test_a_status_that_is_no_usual_one_stays_too(self) -> None:
        worker = self.world.worker()
        worker.own("order")
        worker.run("order", change=InstanceChange(status=Status.SUSPENDED))
        worker.run("order")
        assert self.world.record("order").status is Status.SUSPENDED


class Finding(Topic):
    """Filters and pages."""

    def _some(self) -> World:
        world = self.world
        worker = world.worker()
        for number in range(7):
            world.start(
                f"order-{number}", attributes=b'{"number":%d,"odd":%s}' % (number, b"false true".split()[number % 2])
            )
            world.clock.advance(1)
        world.start("other", name="other", version=None)
        worker.take("order-3")
        worker.run("order-3")
        worker.run("order-4", change=InstanceChange(status=Status.COMPLETED))
        return world

    def test_the_newest_come_first(self) -> None:
        world = self._some()
        assert _found(world) == ["other", *(f"order-{number}" for number in reversed(range(7)))]

    def test_the_highest_incarnation_counts_as_the_newest(self) -> None:
        world = self.world
        for incarnation in (20, 30, 10):
            world.start(f"order-{incarnation}", incarnation=incarnation)
            world.clock.advance(1)
        assert _found(world, limit=1) == ["order-30", "order-20", "order-10"]

    def test_pages_follow_each_other_without_gap(self) -> None:
        world = self._some()
        everything = _found(world)
        for limit in (1, 2, 3, 7, 8, 9):
            assert _found(world, limit=limit) == everything

    def test_the_last_page_has_no_next(self) -> None:
        world = self._some()
        page, after = world.storage.find(Query(limit=8))
        assert (len(page), after) == (8, None)
        page, after = world.storage.find(Query(limit=7))
        assert (len(page), after) == (7, str(page[-1].incarnation))

    def test_pages_are_stable_while_instances_come_and_go(self) -> None:
        world = self._some()
        page, after = world.storage.find(Query(limit=3))
        world.start("newer")
        world.delete(page[-1].id, force=True)
        world.delete("order-1", force=True)
        assert after is not None
        rest, _ = world.storage.find(Query(after=after))
        assert [each.id for each in rest] == ["order-4", "order-3", "order-2", "order-0"]

    def test_filters_all_have_to_match(self) -> None:
        world = self._some()
        assert _found(world, name="other") == ["other"]
        assert _found(world, name=NAME, version="1.0.0", statuses=(Status.PENDING,), limit=2) == [
            f"order-{number}" for number in (6, 5, 2, 1, 0)
        ]
        assert _found(world, statuses=(Status.COMPLETED, Status.RUNNING)) == ["order-4", "order-3"]
        assert _found(world, version="2.0.0") == []
        assert _found(world, name=NAME, statuses=(Status.FAILED,)) == []

    def test_attributes_are_compared_as_json(self) -> None:
        world = self._some()
        world.start("rich", attributes='{"text":"ä\'\\"%","one":1,"true":true,"half":0.5,"none":null,"a.b":2}'.encode())
        world.start("poor", attributes=b'{"text":"x"}')
        assert _found(world, attributes={"number": 3}) == ["order-3"]
        assert _found(world, attributes={"odd": True}, statuses=(Status.PENDING,)) == ["order-5", "order-1"]
        assert _found(world, attributes={"text": "ä'\"%", "half": 0.5, "a.b": 2}) == ["rich"]
        assert _found(world, attributes={"one": 1.0}) == ["rich"]
        assert _found(world, attributes={"true": 1}) == []
        assert _found(world, attributes={"one": True}) == []
        assert _found(world, attributes={"one": "1"}) == []
        assert _found(world, attributes={"missing": 1}) == []

    def test_a_key_that_is_none_is_refused(self) -> None:
        world = self._some()
        for after in ("", "nonsense", "1:2", "-1", "1.0", str(1 << 63), "1" * 5_000):
            assert "page key" in _complaint(world, after)
