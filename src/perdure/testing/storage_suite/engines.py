"""Engines of several releases on one store: nobody is given what it can't read."""

from perdure._types import Status
from perdure._work import InstanceChange
from perdure.storage.base import UNKNOWN_GRACE_US
from perdure.testing.storage_suite.suite import Topic
from perdure.testing.storage_suite.world import SECOND, bodies, events, ids, task


class Engines(Topic):
    """A worker with an older engine, and one with a newer."""

    def test_what_a_newer_engine_has_begun_goes_to_no_older_one(self) -> None:
        world = self.world
        older, newer = world.worker("older"), world.worker("newer", reader=2)
        world.start("order")
        newer.take("order")
        newer.run("order", change=InstanceChange(min_reader=2), timers=((1, world.clock.now_us() + SECOND),))
        assert world.record("order").min_reader == 2
        world.storage.unregister(newer.number)
        world.deliver("order", b"news")
        work = older.claim()
        assert (ids(work), work.next_due) == ([], None)
        world.clock.advance(SECOND)
        assert ids(older.claim()) == []
        assert bodies(world.worker("newest", reader=3).take("order")) == [b"news", b"timer 1"]

    def test_a_first_turn_that_makes_the_instance_says_what_it_needs(self) -> None:
        world = self.world
        newer = world.worker("newer", reader=2)
        new = world.new("order")
        turn = newer.first_turn(new, change=InstanceChange(min_reader=2, version="1.0.0"), tasks=(task(1),))
        newer.do(turn)
        record = world.record("order")
        assert (record.min_reader, record.status, record.last_event) == (2, Status.RUNNING, 1)
        assert events(world.worker("older").claim()) == [1]

    def test_the_next_execution_needs_no_less(self) -> None:
        world = self.world
        newer = world.worker("newer", reader=2)
        world.start("order")
        newer.take("order")
        change = InstanceChange(min_reader=2, execution=2)
        newer.run("order", change=change, next_start=b"again")
        world.storage.unregister(newer.number)
        assert ids(world.worker("older").claim()) == []

    def test_a_control_message_reaches_it_all_the_same(self) -> None:
        world = self.world
        newer = world.worker("newer", reader=2)
        world.start("order")
        newer.take("order")
        newer.run("order", change=InstanceChange(min_reader=2))
        world.storage.unregister(newer.number)
        world.deliver("order", b"terminate", control=True)
        assert ids(world.worker("older").claim()) == ["order"]

    def test_one_that_nobody_can_read_is_held_in_sight(self) -> None:
        world = self.world
        newer = world.worker("newer", reader=2)
        world.start("order")
        newer.take("order")
        newer.run("order", change=InstanceChange(min_reader=2))
        world.storage.unregister(newer.number)
        world.deliver("order", b"news")
        older = world.worker("older", lease_us=100 * SECOND)
        world.clock.advance(UNKNOWN_GRACE_US)
        assert [id_ for id_, _ in world.storage.reap(older.number).held] == ["order"]
        assert ids(world.worker("newest", reader=2).claim()) == ["order"]
