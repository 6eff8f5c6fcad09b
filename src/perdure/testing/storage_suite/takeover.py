"""Workers come, prove that they live, go, and die; what they had is taken over."""

from perdure._types import Status
from perdure._work import APPLIED, InstanceChange, Refusal, TaskDone
from perdure.storage.base import LEASE_US
from perdure.testing.storage_suite.suite import Topic
from perdure.testing.storage_suite.world import CHARGE, ORDER, SECOND, Worker, about, bodies, events, ids, refused, task


class Workers(Topic):
    """A worker's row."""

    def test_a_registered_worker_is_listed(self) -> None:
        world = self.world
        record = world.storage.register(
            name="one", orchestrations=[ORDER], activities=[CHARGE, "alias"], lease_us=3 * SECOND
        )
        now = world.clock.now_us()
        assert (record.name, record.started_at, record.lease_until) == ("one", now, now + 3 * SECOND)
        assert (record.orchestrations, record.activities) == ((ORDER,), (CHARGE, "alias"))
        assert 0 < record.worker < 1 << 63
        assert record.pid > 0
        assert record.host
        assert world.storage.workers() == [record]

    def test_workers_have_ids_of_their_own_and_are_listed_in_order(self) -> None:
        world = self.world
        numbers = []
        for name in ("a", "b", "c"):
            numbers.append(world.worker(name).number)
            world.clock.advance(1)
        assert [each.worker for each in world.storage.workers()] == numbers
        assert len(set(numbers)) == 3

    def test_a_heartbeat_extends_the_lease(self) -> None:
        world = self.world
        worker = world.worker(lease_us=3 * SECOND)
        world.clock.advance(2 * SECOND)
        assert world.storage.heartbeat(worker.number) is True
        assert world.storage.workers()[0].lease_until == world.clock.now_us() + 3 * SECOND

    def test_a_worker_without_a_row_has_no_heart(self) -> None:
        world = self.world
        worker = world.worker()
        world.storage.unregister(worker.number)
        assert world.storage.heartbeat(worker.number) is False
        assert world.storage.workers() == []
        world.storage.unregister(worker.number)

    def test_a_worker_that_leaves_frees_its_work_and_counts_no_delivery(self) -> None:
        world = self.world
        leaving = world.worker("leaving")
        leaving.own("order")
        leaving.run("order", tasks=(task(2, local=True, schedule_to_start_us=SECOND), task(3)), timers=((4, 0),))
        leaving.claim(instances=0)
        world.storage.unregister(leaving.number)
        assert world.record("order").owner is None
        work = world.worker("staying").claim()
        assert bodies(work.instances[0]) == [b"timer 4"]
        assert [(each.event, each.deliveries, each.attempt) for each in work.tasks] == [(2, 1, 1), (3, 1, 1)]
        assert work.tasks[0].start_by == world.clock.now_us() + SECOND


class Takeover(Topic):
    """Work of dead workers."""

    def _dead(self) -> Worker:
        """A worker that owned an instance and three tasks, and whose lease is over."""
        world = self.world
        worker = world.worker("dead")
        worker.own("order")
        worker.run("order", tasks=(task(2, local=True, schedule_to_start_us=SECOND), task(3), task(4)))
        worker.claim(tasks=1)
        world.deliver("order", b"news")
        worker.take("order")
        world.clock.advance(LEASE_US)
        return worker

    def test_a_lease_that_is_not_over_protects(self) -> None:
        world = self.world
        worker = world.worker("alive")
        worker.own("order")
        other = world.worker("other", lease_us=2 * LEASE_US)
        world.clock.advance(LEASE_US - 1)
        assert world.storage.reap(other.number).buried == 0
        world.clock.advance(1)
        assert world.storage.reap(other.number).buried == 1

    def test_reap_frees_the_work_of_the_dead(self) -> None:
        world = self.world
        survivor = world.worker("survivor", lease_us=2 * LEASE_US)
        dead = self._dead()
        assert world.storage.reap(survivor.number).buried == 1
        assert [each.worker for each in world.storage.workers()] == [survivor.number]
        work = survivor.claim()
        assert bodies(work.instances[0]) == [b"news"]
        assert [(each.event, each.deliveries, each.attempt) for each in work.tasks] == [(2, 2, 1), (3, 2, 1), (4, 1, 1)]
        assert work.tasks[0].start_by is None
        assert refused(dead.do(dead.turn("order"))) is Refusal.FENCED
        assert world.storage.heartbeat(dead.number) is False

    def test_registering_frees_it_too(self) -> None:
        world = self.world
        self._dead()
        successor = world.worker("successor")
        assert [each.worker for each in world.storage.workers()] == [successor.number]
        work = successor.claim()
        assert (ids(work), events(work)) == (["order"], [2, 3, 4])

    def test_until_it_is_buried_a_late_worker_may_still_commit_and_come_back(self) -> None:
        world = self.world
        survivor = world.worker("survivor", lease_us=2 * LEASE_US)
        late = self._dead()
        assert ids(survivor.claim()) == []
        late.run("order")
        assert world.storage.heartbeat(late.number) is True
        assert world.storage.reap(survivor.number).buried == 0

    def test_a_reaper_does_not_bury_itself(self) -> None:
        world = self.world
        late = self._dead()
        assert world.storage.reap(late.number).buried == 0
        late.run("order")

    def test_deaths_count_deliveries_until_they_are_suspicious(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        worker.run("order", tasks=(task(2),))
        seen = []
        for _ in range(4):
            runner = world.worker("runner", orchestrations=[], lease_us=SECOND)
            seen.append(runner.take_task(2).deliveries)
            world.clock.advance(SECOND)
        assert seen == [1, 2, 3, 3]

    def test_what_the_dead_had_ended_stays_ended(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        worker.run("order", change=InstanceChange(status=Status.COMPLETED, output=b"1"))
        world.clock.advance(LEASE_US)
        successor = world.worker("successor")
        assert ids(successor.claim()) == []
        assert world.record("order").output == b"1"

    def test_several_dead_workers_are_buried_together(self) -> None:
        world = self.world
        survivor = world.worker("survivor", lease_us=5 * LEASE_US)
        for name in ("a", "b", "c"):
            world.worker(name).own(name)
        for name in ("a", "b", "c"):
            world.deliver(name, b"news")
        world.clock.advance(LEASE_US)
        assert world.storage.reap(survivor.number).buried == 3
        assert ids(survivor.claim()) == ["a", "b", "c"]

    def test_an_outcome_of_the_dead_is_refused_and_the_task_runs_elsewhere(self) -> None:
        world = self.world
        owner = world.worker("owner", activities=[], lease_us=5 * LEASE_US)
        owner.own("order")
        owner.run("order", tasks=(task(2),))
        dead = world.worker("dead", orchestrations=[])
        claimed = dead.take_task(2)
        world.clock.advance(LEASE_US)
        successor = world.worker("successor", orchestrations=[])
        again = successor.take_task(2)
        assert refused(dead.do(about(TaskDone, claimed, body=b"late"))) is Refusal.FENCED
        assert successor.do(about(TaskDone, again, body=b"charged")) == APPLIED
        assert bodies(owner.take("order")) == [b"charged"]
