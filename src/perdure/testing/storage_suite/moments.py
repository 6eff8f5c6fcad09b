"""The store owns time: what is due, what will be, and whose clock says so."""

from perdure._work import InstanceRelease, TaskDone, TaskRetry
from perdure.testing.storage_suite.suite import Topic
from perdure.testing.storage_suite.world import SECOND, about, applied, bodies, ids, task


class Moments(Topic):
    """`now`, `next_due`, and clocks that move."""

    def test_answers_carry_the_stores_time(self) -> None:
        world = self.world
        worker = world.worker()
        world.clock.advance(7)
        assert world.storage.now() == world.clock.now_us()
        committed = worker.commit()
        assert (committed.now, committed.work) == (world.clock.now_us(), None)
        assert worker.claim().now == world.clock.now_us()

    def test_a_reader_is_told_the_time_of_what_it_reads(self) -> None:
        world = self.world
        reader = world.connect()
        for step in (7, 0, 1_000):
            world.clock.advance(step)
            assert reader.now() == reader.depths().now == world.clock.now_us()

    def test_an_empty_store_has_nothing_due(self) -> None:
        work = self.world.worker().claim()
        assert (work.instances, work.tasks, work.next_due, work.more) == ((), (), None, False)

    def test_the_earliest_of_all_that_will_be_due_is_next(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        now = world.clock.now_us()
        worker.run("order", timers=((2, now + 50), (3, now + 40)), tasks=(task(4), task(5, name="unknown")))
        assert worker.claim(tasks=0).next_due == now + 40
        claimed = worker.take_task(4)
        assert worker.claim(about(TaskRetry, claimed, attempt=2, delay_us=30)).next_due == now + 30
        world.start("later", start_at=now + 20)
        assert worker.claim().next_due == now + 20
        world.start("unknown", name="unknown", start_at=now + 10)
        assert worker.claim().next_due == now + 20

    def test_what_another_worker_owns_is_none_of_its_moments(self) -> None:
        world = self.world
        owner, other = world.worker("owner"), world.worker("other")
        owner.own("order")
        owner.run("order", timers=((2, world.clock.now_us() + 50),))
        assert other.claim().next_due is None
        assert owner.claim().next_due == world.clock.now_us() + 50

    def test_later_messages_of_a_claimed_instance_count(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        worker.run("order", timers=((2, world.clock.now_us()), (3, world.clock.now_us() + 50)))
        work = worker.claim()
        assert (bodies(work.instances[0]), work.next_due) == ([b"timer 2"], world.clock.now_us() + 50)

    def test_held_instances_have_no_moments_for_those_that_were_there(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        worker.run("order", timers=((2, world.clock.now_us() + 50),))
        applied(worker.do(worker.hold("order")))
        assert worker.claim().next_due is None
        world.clock.advance(1)
        assert world.worker("mended").claim().next_due == world.clock.now_us() + 49

    def test_a_resting_instance_wakes_at_the_end_of_its_rest(self) -> None:
        world = self.world
        worker = world.worker()
        record = worker.own("order")
        now = world.clock.now_us()
        worker.run("order", timers=((2, now + 10), (3, now + 90)))
        assert worker.claim(InstanceRelease(incarnation=record.incarnation, delay_us=50)).next_due == now + 50
        assert world.worker("other").claim().next_due == now + 10
        world.deliver("order", b"news")
        assert worker.claim().next_due == now + 50

    def test_control_messages_to_a_later_start_are_due_before_it(self) -> None:
        world = self.world
        stranger = world.worker(orchestrations=[])
        world.start("order", start_at=world.clock.now_us() + SECOND)
        assert stranger.claim().next_due is None
        world.deliver("order", b"terminate", control=True)
        assert ids(stranger.claim()) == ["order"]

    def test_time_stands_still_while_a_clock_that_was_set_back_catches_up(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        start = world.clock.now_us()
        worker.run("order", timers=((2, start + 10), (3, start + 30)))
        world.clock.advance(20)
        assert worker.claim(instances=0).more is True
        world.clock.set(start - 100)
        work = worker.claim()
        assert (work.now, world.storage.now(), work.next_due) == (start + 20, start + 20, start + 30)
        assert bodies(work.instances[0]) == [b"timer 2"]
        worker.run("order")
        assert world.record("order").updated_at == start + 20
        world.clock.set(start + 29)
        assert worker.claim().now == start + 29
        world.clock.set(start + 30)
        assert bodies(worker.take("order")) == [b"timer 3"]

    def test_a_clock_that_is_set_back_costs_nobody_the_lease(self) -> None:
        world = self.world
        worker = world.worker(lease_us=SECOND)
        lease_until = world.storage.workers()[0].lease_until
        world.clock.set(lease_until - 100 * SECOND)
        assert world.storage.heartbeat(worker.number)
        assert world.storage.workers()[0].lease_until == lease_until

    def test_for_a_handle_that_is_behind_things_wait_and_nothing_is_lost(self) -> None:
        world = self.world
        ahead = world.worker("ahead")
        ahead.own("order")
        start = world.clock.now_us()
        ahead.run("order", timers=((2, start + 10),), tasks=(task(3), task(4, total_timeout_us=5)))
        world.storage.unregister(ahead.number)
        world.clock.set(start - 100)
        behind = world.worker("behind", storage=world.connect())
        if behind.storage.now() == start:
            return  # a backend with one handle for all
        work = behind.claim()
        assert (ids(work), work.tasks, work.next_due) == ([], (), start)
        world.clock.set(start)
        claimed = behind.claim()
        assert [each.event for each in claimed.tasks] == [3, 4]
        world.clock.set(start + 10)
        assert bodies(behind.take("order")) == [b"timer 2"]
        assert applied(behind.do(about(TaskDone, claimed.tasks[0], body=b"done"))).count == 0
