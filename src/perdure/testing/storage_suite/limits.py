"""Limits by key: who has a place, who is next, and what becomes of a place whose owner is gone."""

from perdure._events import KeyLimit
from perdure._types import Status
from perdure._work import InstanceChange, LimitUse, LimitUser, NewTask, TaskDone, TaskRelease, TaskRetry
from perdure.testing.storage_suite.suite import Topic
from perdure.testing.storage_suite.world import SECOND, Worker, about, applied, bodies, events, ids, task

PER = 10 * SECOND


def limited(event: int, concurrency: int | None = None, rate: int | None = None, **options: object) -> NewTask:
    """An activity with a limit."""
    key = options.pop("key", "smtp")
    return task(event, limit=KeyLimit(str(key), concurrency, rate, PER), **options)


def place(event: int, concurrency: int = 1, key: str = "smtp") -> NewTask:
    """A place that the instance itself is to hold."""
    return task(event, name="perdure::limit", limit=KeyLimit(key, concurrency, None, PER), permit=b"place %d" % event)


class Concurrency(Topic):
    """So many at a time."""

    def _limited_tasks(self, *tasks: NewTask) -> Worker:
        worker = self.world.worker()
        worker.own("order")
        worker.run("order", tasks=tasks)
        return worker

    def test_no_more_are_claimed_than_have_a_place(self) -> None:
        worker = self._limited_tasks(*(limited(event, 2) for event in (2, 3, 4)))
        work = worker.claim()
        assert (events(work), work.more) == ([2, 3], False)
        assert [each.is_limited for each in work.tasks] == [True, True]
        assert events(self.world.worker("other").claim()) == []

    def test_the_next_begins_when_one_ends(self) -> None:
        worker = self._limited_tasks(*(limited(event, 1) for event in (2, 3, 4)))
        first = worker.take_task(2)
        [second] = worker.claim(about(TaskDone, first, body=b"done"), instances=0).tasks
        assert second.event == 3
        worker.run("order", tasks_gone=(3,))
        assert events(worker.claim(instances=0)) == [4]

    def test_one_that_waits_for_its_next_attempt_has_no_place(self) -> None:
        worker = self._limited_tasks(limited(2, 1), limited(3, 1))
        first = worker.take_task(2)
        retry = about(TaskRetry, first, attempt=2, delay_us=SECOND)
        assert events(worker.claim(retry)) == [3]
        self.world.clock.advance(SECOND)
        assert events(worker.claim()) == []

    def test_one_that_is_handed_back_keeps_its_rank(self) -> None:
        worker = self._limited_tasks(limited(2, 1), limited(3, 1))
        assert events(worker.claim(about(TaskRelease, worker.take_task(2)))) == [2]

    def test_the_dead_have_no_places(self) -> None:
        world = self.world
        worker = self._limited_tasks(limited(2, 1), limited(3, 1))
        other = world.worker("other", orchestrations=[], lease_us=SECOND)
        assert events(other.claim()) == [2]
        world.clock.advance(SECOND)
        assert events(worker.claim()) == []
        world.storage.reap(worker.number)
        assert events(worker.claim()) == [2]

    def test_a_full_key_delays_no_other(self) -> None:
        worker = self._limited_tasks(limited(2, 1), limited(3, 1), limited(4, 1, key="tenant"), task(5))
        assert events(worker.claim()) == [2, 4, 5]

    def test_who_came_first_is_first_but_for_priority(self) -> None:
        world = self.world
        worker = self._limited_tasks(limited(3, 1), limited(2, 1))
        world.clock.advance(1)
        worker.run("order", tasks=(limited(10, 1, priority=1), limited(11, 1)))
        order = []
        while tasks := worker.claim(instances=0).tasks:
            order.append(tasks[0].event)
            worker.run("order", tasks_gone=(tasks[0].event,))
        assert order == [10, 2, 3, 11]

    def test_the_numbers_that_were_declared_last_count_for_all(self) -> None:
        world = self.world
        worker = self._limited_tasks(limited(2, 1), limited(3, 1), limited(4, 1))
        assert events(worker.claim()) == [2]
        world.clock.advance(1)
        worker.run("order", tasks=(limited(10, 3),))
        assert events(worker.claim()) == [3, 4]
        world.clock.advance(1)
        worker.run("order", tasks=(limited(11, 2),), tasks_gone=(2,))
        assert events(worker.claim()) == []

    def test_what_is_too_late_needs_no_place(self) -> None:
        world = self.world
        worker = self._limited_tasks(limited(2, 1), limited(3, 1, schedule_to_start_us=SECOND))
        work = worker.claim()
        assert (events(work), work.next_due) == ([2], world.clock.now_us() + SECOND)
        world.clock.advance(SECOND)
        late = worker.take_task(3)
        assert not late.is_limited
        assert [each.running for each in world.storage.limits()] == [1]

    def test_what_is_too_late_and_comes_back_waits_for_a_place(self) -> None:
        world = self.world
        worker = self._limited_tasks(limited(2, 1), limited(3, 1, schedule_to_start_us=SECOND))
        worker.take_task(2)
        world.clock.advance(SECOND)
        retry = about(TaskRetry, worker.take_task(3), attempt=2, delay_us=0)
        assert events(worker.claim(retry)) == []

    def test_a_limit_of_the_claim_leaves_places_to_others(self) -> None:
        worker = self._limited_tasks(limited(2, 5), limited(3, 5), task(4))
        work = worker.claim(tasks=1)
        assert (events(work), work.more) == ([2], True)
        assert events(self.world.worker("other").claim()) == [3, 4]

    def test_limits_and_their_users_are_listed(self) -> None:
        world = self.world
        worker = self._limited_tasks(limited(2, 1), limited(3, 2, key="tenant"), limited(4, 2))
        worker.claim(tasks=1)
        world.clock.advance(7)
        assert world.storage.limits() == [
            LimitUse(key="smtp", concurrency=2, rate=None, per_us=PER, running=1, waiting=1, waiting_us=7),
            LimitUse(key="tenant", concurrency=2, rate=None, per_us=PER, running=0, waiting=1, waiting_us=7),
        ]
        since = world.clock.now_us() - 7
        name = task(1).name
        assert world.storage.limit_users("smtp", 5) == [
            LimitUser(instance_id="order", event=2, name=name, scheduled_at=since, owner=worker.number),
            LimitUser(instance_id="order", event=4, name=name, scheduled_at=since),
        ]
        assert len(world.storage.limit_users("smtp", 1)) == 1
        assert world.storage.limit_users("nobody", 5) == []


class Places(Topic):
    """What instances hold themselves."""

    def _asking(self, *names: str) -> Worker:
        """A worker whose instances have asked for a place of one limit, in this order."""
        worker = self.world.worker()
        for name in names:
            worker.own(name)
            self.world.clock.advance(1)
            worker.run(name, tasks=(place(2),))
        return worker

    def test_who_came_first_is_told_with_the_claim_that_gives_the_place(self) -> None:
        worker = self._asking("first", "second")
        work = worker.claim()
        assert [bodies(each) for each in work.instances] == [[b"place 2"]]
        assert (ids(work), events(work)) == (["first"], [])
        assert [each.owner for each in self.world.storage.limit_users("smtp", 5)] == [0, None]

    def test_a_place_is_given_beside_the_limits_of_the_claim_and_by_any_worker(self) -> None:
        self._asking("first")
        assert ids(self.world.worker("other", orchestrations=[], activities=[]).claim(instances=0, tasks=0)) == []
        assert [each.owner for each in self.world.storage.limit_users("smtp", 5)] == [0]

    def test_the_place_goes_to_the_next_with_the_commit_that_leaves_it(self) -> None:
        worker = self._asking("first", "second")
        worker.take("first")
        work = worker.claim(worker.turn("first", tasks_gone=(2,)))
        assert ids(work) == ["second"]

    def test_it_outlives_its_worker(self) -> None:
        world = self.world
        worker = self._asking("first", "second")
        worker.take("first")
        worker.run("first")
        world.storage.unregister(worker.number)
        other = world.worker("other")
        assert ids(other.claim()) == []
        assert [each.owner for each in world.storage.limit_users("smtp", 5)] == [0, None]

    def test_it_is_free_when_the_instance_ends(self) -> None:
        worker = self._asking("first", "second")
        worker.take("first")
        end = worker.turn("first", change=InstanceChange(status=Status.FAILED))
        assert ids(worker.claim(end)) == ["second"]

    def test_it_is_free_when_the_execution_ends(self) -> None:
        worker = self._asking("first", "second")
        worker.take("first")
        end = worker.turn("first", change=InstanceChange(execution=2), next_start=b"again")
        assert ids(worker.claim(end)) == ["first", "second"]

    def test_it_is_free_when_the_instance_is_deleted(self) -> None:
        worker = self._asking("first", "second")
        worker.take("first")
        applied(self.world.delete("first", force=True))
        assert ids(worker.claim()) == ["second"]

    def test_who_is_held_is_passed_over_and_keeps_what_it_has(self) -> None:
        world = self.world
        worker = self._asking("first", "second", "third")
        worker.take("first")
        applied(worker.do(worker.hold("first")))
        applied(worker.do(worker.hold("second")))
        assert ids(worker.claim()) == []
        applied(world.delete("first", force=True))
        assert ids(worker.claim()) == ["third"]

    def test_activities_and_instances_share_a_limit(self) -> None:
        worker = self._asking("first")
        worker.own("second")
        worker.run("second", tasks=(limited(2, 1),))
        assert events(worker.claim()) == []
        worker.run("first", tasks_gone=(2,))
        assert events(worker.claim()) == [2]

    def test_a_place_is_no_activity_that_nobody_has(self) -> None:
        world = self.world
        worker = self._asking("first", "second")
        world.clock.advance(60 * SECOND)
        world.storage.heartbeat(worker.number)
        assert world.storage.reap(worker.number).held == ()
        assert world.storage.depths().tasks == ()


class Rates(Topic):
    """So many within a span of time."""

    def _rated_tasks(self, *tasks: NewTask) -> Worker:
        worker = self.world.worker(lease_us=1_000 * SECOND)
        worker.own("order")
        worker.run("order", tasks=tasks)
        return worker

    def test_no_more_begin_within_any_span(self) -> None:
        world = self.world
        worker = self._rated_tasks(*(limited(event, rate=2) for event in range(2, 8)))
        begun = world.clock.now_us()
        assert events(worker.claim(tasks=1)) == [2]
        world.clock.advance(4 * SECOND)
        work = worker.claim()
        assert (events(work), work.next_due) == ([3], begun + PER)
        world.clock.set(begun + PER - 1)
        assert events(worker.claim()) == []
        world.clock.set(begun + PER)
        work = worker.claim()
        assert (events(work), work.next_due) == ([4], begun + 4 * SECOND + PER)

    def test_an_end_gives_nothing_back(self) -> None:
        worker = self._rated_tasks(limited(2, rate=1), limited(3, rate=1))
        done = about(TaskDone, worker.take_task(2), body=b"done")
        assert events(worker.claim(done)) == []

    def test_each_attempt_counts(self) -> None:
        world = self.world
        worker = self._rated_tasks(limited(2, rate=1))
        retry = about(TaskRetry, worker.take_task(2), attempt=2, delay_us=SECOND)
        begun = world.clock.now_us()
        worker.do(retry)
        world.clock.advance(SECOND)
        work = worker.claim()
        assert (events(work), work.next_due) == ([], begun + PER)

    def test_with_a_concurrency_both_bind(self) -> None:
        world = self.world
        worker = self._rated_tasks(*(limited(event, 1, 2) for event in (2, 3, 4)))
        work = worker.claim()
        assert (events(work), work.next_due) == ([2], None)
        worker.run("order", tasks_gone=(2,))
        assert events(worker.claim()) == [3]
        worker.run("order", tasks_gone=(3,))
        work = worker.claim()
        assert (events(work), work.next_due) == ([], world.clock.now_us() + PER)

    def test_what_counts_no_more_is_forgotten(self) -> None:
        world = self.world
        worker = self._rated_tasks(limited(2, rate=1), limited(3, rate=1))
        worker.claim()
        world.clock.advance(PER)
        world.storage.reap(worker.number)
        assert events(worker.claim()) == [3]
