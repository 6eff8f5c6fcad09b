"""What an instance keeps under keys for others to read."""

from collections.abc import Mapping

from msgspec.structs import replace

from perdure._types import Status
from perdure._work import ChildStart, Entry, InstanceChange
from perdure.storage.base import PASSING_US
from perdure.testing.storage_suite.suite import Topic
from perdure.testing.storage_suite.world import Worker, World, applied, refused


def _values(world: World, instance_id: str, shelf: str = "value") -> dict[str, bytes]:
    return world.storage.entries(world.record(instance_id).incarnation, shelf)


def _keep(worker: Worker, instance_id: str, *, passing: bool = False, **values: bytes | None) -> None:
    _keep_all(worker, instance_id, values, passing=passing)


def _keep_all(worker: Worker, instance_id: str, values: Mapping[str, bytes | None], *, passing: bool = False) -> None:
    entries = tuple(Entry(shelf="value", key=key, value=value, passing=passing) for key, value in values.items())
    worker.run(instance_id, entries=entries)


class Entries(Topic):
    """Put by turns, read from outside, gone with the instance."""

    def _keeper(self, *instance_ids: str) -> Worker:
        worker = self.world.worker()
        for instance_id in instance_ids or ("order",):
            worker.own(instance_id)
        return worker

    def test_what_a_turn_puts_is_read_in_order_of_keys(self) -> None:
        world = self.world
        worker = self._keeper()
        assert _values(world, "order") == {}
        _keep(worker, "order", b=b"2", a=b"\x00\xff opaque", B=b"", ä=b"4")
        assert list(_values(world, "order").items()) == [
            ("B", b""), ("a", b"\x00\xff opaque"), ("b", b"2"), ("ä", b"4"),
        ]  # fmt: skip

    def test_a_later_turn_replaces_and_removes(self) -> None:
        world = self.world
        worker = self._keeper()
        _keep(worker, "order", a=b"1", b=b"1", c=b"1")
        _keep(worker, "order", a=b"2", b=None, d=None)
        assert _values(world, "order") == {"a": b"2", "c": b"1"}

    def test_turns_of_one_batch_follow_each_other(self) -> None:
        world = self.world
        worker = self._keeper("order", "other")
        for instance_id in ("order", "other"):
            _keep(worker, instance_id, a=b"0", b=b"0")
        first, beside = worker.turn("order"), worker.turn("other")
        entries = (Entry(shelf="value", key="a", value=b"1"), Entry(shelf="value", key="b"))
        again = worker.turn("order", base=first.base + 1, history=None)
        outcomes = worker.commit(
            replace(first, entries=entries),
            replace(beside, entries=(Entry(shelf="value", key="a"),)),
            replace(again, entries=(Entry(shelf="value", key="b", value=b"2"),)),
        ).outcomes
        assert [applied(each).count for each in outcomes] == [0, 0, 0]
        assert (_values(world, "order"), _values(world, "other")) == ({"a": b"1", "b": b"2"}, {"b": b"0"})

    def test_shelves_and_instances_are_apart(self) -> None:
        world = self.world
        worker = self._keeper("order", "other")
        worker.run(
            "order",
            entries=(Entry(shelf="value", key="a", value=b"1"), Entry(shelf="answer", key="a", value=b"2")),
        )
        assert _values(world, "order") == {"a": b"1"}
        assert _values(world, "order", "answer") == {"a": b"2"}
        assert _values(world, "other") == {}
        assert world.storage.entries(4_711, "value") == {}

    def test_some_keys_are_read_without_the_others(self) -> None:
        world = self.world
        worker = self._keeper()
        _keep(worker, "order", a=b"1", b=b"2", c=b"3")
        incarnation = world.record("order").incarnation
        assert world.storage.entries(incarnation, "value", ["c", "nothing", "a"]) == {"a": b"1", "c": b"3"}
        assert world.storage.entries(incarnation, "value", []) == {}
        assert world.storage.entries(4_711, "value", ["a"]) == {}

    def test_many_are_kept_at_once(self) -> None:
        world = self.world
        worker = self._keeper()
        many = {f"key-{number:04}": b"%d" % number for number in range(1_500)}
        _keep_all(worker, "order", many)
        assert _values(world, "order") == many
        _keep_all(worker, "order", dict.fromkeys(many))
        assert _values(world, "order") == {}

    def test_a_refused_turn_puts_nothing(self) -> None:
        world = self.world
        worker = self._keeper()
        other = world.worker("other")
        refused(other.do(worker.turn("order", entries=(Entry(shelf="value", key="a", value=b"1"),))))
        assert _values(world, "order") == {}

    def test_a_first_turn_may_put_them(self) -> None:
        world = self.world
        worker = world.worker()
        new = world.new("order")
        first = worker.first_turn(new, entries=(Entry(shelf="value", key="a", value=b"1"),))
        applied(worker.do(first))
        assert _values(world, "order") == {"a": b"1"}

    def test_a_turn_without_events_may_put_them(self) -> None:
        world = self.world
        worker = self._keeper()
        worker.run("order", written=0, entries=(Entry(shelf="answer", key="a", value=b"1"),))
        assert _values(world, "order", "answer") == {"a": b"1"}

    def test_they_outlive_an_execution_and_the_end(self) -> None:
        world = self.world
        worker = self._keeper()
        _keep(worker, "order", a=b"1")
        worker.run("order", change=InstanceChange(execution=2), next_start=b"again")
        assert _values(world, "order") == {"a": b"1"}
        worker.take("order")
        entries = (Entry(shelf="value", key="b", value=b"2"),)
        worker.run("order", entries=entries, change=InstanceChange(status=Status.COMPLETED))
        assert _values(world, "order") == {"a": b"1", "b": b"2"}

    def test_they_go_with_the_instance(self) -> None:
        world = self.world
        worker = self._keeper()
        worker.run("order", starts=(ChildStart(new=world.child(world.record("order"), "child")),))
        worker.take("child")
        incarnations = [world.record(name).incarnation for name in ("order", "child")]
        for name in ("order", "child"):
            _keep(worker, name, a=b"1")
        world.delete("order", force=True)
        assert [world.storage.entries(each, "value") for each in incarnations] == [{}, {}]

    def test_a_restart_begins_without_them(self) -> None:
        world = self.world
        worker = self._keeper()
        _keep(worker, "order", a=b"1")
        worker.run("order", change=InstanceChange(status=Status.COMPLETED))
        before = world.record("order").incarnation
        world.start("order", on_conflict="restart_if_closed")
        assert _values(world, "order") == world.storage.entries(before, "value") == {}

    def test_passing_ones_go_in_time_and_the_others_stay(self) -> None:
        world = self.world
        worker = self._keeper()
        _keep(worker, "order", passing=True, a=b"1", b=b"1", c=b"1")
        _keep(worker, "order", b=b"2", d=b"2")
        world.clock.advance(1)
        _keep(worker, "order", passing=True, c=b"3")
        world.clock.advance(PASSING_US - 2)
        worker.storage.heartbeat(worker.number)
        worker.storage.reap(worker.number)
        assert _values(world, "order") == {"a": b"1", "b": b"2", "c": b"3", "d": b"2"}
        world.clock.advance(1)
        worker.storage.reap(worker.number)
        assert _values(world, "order") == {"b": b"2", "c": b"3", "d": b"2"}
        world.clock.advance(1)
        worker.storage.reap(worker.number)
        assert _values(world, "order") == {"b": b"2", "d": b"2"}
