"""Timers come like messages, never early, and only once."""

from perdure._types import Status
from perdure._work import ClaimedMessage, InstanceChange, TimerDue
from perdure.testing.storage_suite.suite import Topic
from perdure.testing.storage_suite.world import SECOND, bodies, ids


class Timers(Topic):
    """A timer is due at its `fire_at`."""

    def test_a_timer_fires_at_its_time_and_not_before(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        fire_at = world.clock.now_us() + SECOND
        work = worker.claim(worker.turn("order", timers=((2, fire_at),)))
        assert (ids(work), work.next_due) == ([], fire_at)
        world.clock.advance(SECOND - 1)
        assert ids(worker.claim()) == []
        world.clock.advance(1)
        due = ClaimedMessage(seq=0, timer=TimerDue(execution=1, source=2, fire_at=fire_at))
        assert worker.take("order").messages == (due,)

    def test_a_fired_timer_comes_again_until_it_is_taken_away(self) -> None:
        worker = self.world.worker()
        worker.own("order")
        worker.run("order", timers=((2, 1),))
        assert bodies(worker.take("order")) == [b"timer 2"]
        assert bodies(worker.take("order")) == [b"timer 2"]
        worker.run("order")
        assert ids(worker.claim()) == []

    def test_a_cancelled_timer_never_fires(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        worker.run("order", timers=((2, world.clock.now_us() + SECOND), (3, world.clock.now_us() + 2 * SECOND)))
        worker.run("order", timers_gone=(2, 99))
        world.clock.advance(SECOND)
        work = worker.claim()
        assert (ids(work), work.next_due) == ([], world.clock.now_us() + SECOND)

    def test_a_timer_asked_for_and_cancelled_in_one_turn_is_none(self) -> None:
        worker = self.world.worker()
        worker.own("order")
        worker.run("order", timers=((2, 1),), timers_gone=(2,))
        assert ids(worker.claim()) == []

    def test_however_many_timers_of_one_are_due_the_others_come_in_their_order(self) -> None:
        world = self.world
        worker = world.worker()
        for name in ("last", "first", "second"):
            worker.own(name)
        now = world.clock.now_us()
        worker.run("first", timers=tuple((event, now + event) for event in range(2, 22)))
        worker.run("second", timers=tuple((event, now + 10 * event) for event in range(2, 22)))
        worker.run("last", timers=((2, now + 300),))
        world.clock.advance(400)
        for most, found in ((1, ["first"]), (2, ["first", "second"]), (3, ["first", "second", "last"])):
            work = worker.claim(instances=most)
            assert (ids(work), work.more) == (found, most < 3)
        assert [len(each.messages) for each in worker.claim().instances] == [20, 20, 1]

    def test_timers_and_messages_come_in_order_of_their_time(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        now = world.clock.now_us()
        worker.run("order", timers=((5, now + 20), (3, now + 20), (4, now + 10)))
        world.clock.advance(15)
        world.deliver("order", b"at 15")
        world.clock.advance(5)
        world.deliver("order", b"at 20")
        assert bodies(worker.take("order")) == [b"timer 4", b"at 15", b"timer 3", b"timer 5", b"at 20"]

    def test_a_timer_in_the_past_is_due_at_once_and_comes_first(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        world.deliver("order", b"news")
        worker.run("order", consumed=(), timers=((2, 0),))
        assert bodies(worker.take("order")) == [b"timer 2", b"news"]

    def test_timers_of_several_instances_keep_apart(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("a")
        worker.own("b")
        worker.run("a", timers=((2, 0),))
        worker.run("b", timers=((2, 0),))
        worker.run("a", timers_gone=(2,))
        assert ids(worker.claim()) == ["b"]

    def test_a_timer_wakes_an_instance_that_nobody_owns(self) -> None:
        world = self.world
        first = world.worker("first")
        first.own("order")
        first.run("order", timers=((2, world.clock.now_us() + SECOND),))
        world.storage.unregister(first.number)
        second = world.worker("second")
        assert second.claim().next_due == world.clock.now_us() + SECOND
        world.clock.advance(SECOND)
        assert bodies(second.take("order")) == [b"timer 2"]

    def test_closing_drops_timers(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        change = InstanceChange(status=Status.COMPLETED)
        work = worker.claim(worker.turn("order", timers=((2, world.clock.now_us() + SECOND),), change=change))
        assert work.next_due is None
