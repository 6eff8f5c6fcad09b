"""Activities: who may run them, in which order, how often, and how an outcome finds its instance."""

from msgspec.structs import replace

from perdure._events import KeyLimit
from perdure._types import Status
from perdure._work import (
    APPLIED,
    PLACE,
    ClaimedTask,
    InstanceChange,
    OpenTask,
    Refusal,
    Serves,
    Suspend,
    TaskDone,
    TaskRelease,
    TaskRetry,
)
from perdure.storage.base import SERVES
from perdure.testing.storage_suite.suite import Topic
from perdure.testing.storage_suite.world import (
    CHARGE,
    NAME,
    SECOND,
    Worker,
    about,
    applied,
    bodies,
    events,
    ids,
    refused,
    row,
    task,
)


class Tasks(Topic):
    """From a turn's commit to a worker."""

    def _scheduled(self, *options: dict[str, object], serves: Serves = SERVES) -> Worker:
        """A worker whose instance has asked for activities, events 2, 3, ..."""
        worker = self.world.worker(serves=serves)
        worker.own("order")
        worker.run("order", tasks=tuple(task(event, **each) for event, each in enumerate(options, start=2)))
        return worker

    def test_a_task_comes_with_all_that_its_turn_said(self) -> None:
        world = self.world
        options: dict[str, object] = {"input": b"[1]", "retry": b"{}", "tag": "gpu", "session": "s", "priority": 3}
        options |= {"total_timeout_us": 9 * SECOND, "schedule_to_start_us": SECOND}
        worker = self._scheduled(
            options | {"limit": KeyLimit("k", 1, None, SECOND)}, serves=Serves(untagged=False, tags=("gpu",))
        )
        now = world.clock.now_us()
        assert worker.take_task(2) == ClaimedTask(
            incarnation=world.record("order").incarnation,
            instance_id="order",
            orchestration_name=NAME,
            orchestration_version="1.0.0",
            execution=1,
            event=2,
            name=CHARGE,
            input=b"[1]",
            scheduled_at=now,
            retry=b"{}",
            tag="gpu",
            session="s",
            priority=3,
            deadline=now + 9 * SECOND,
            start_by=now + SECOND,
            is_limited=True,
        )

    def test_a_task_goes_only_to_a_worker_that_has_its_activity(self) -> None:
        worker = self._scheduled({}, {"name": "refund"})
        assert events(worker.claim()) == [2]
        assert events(self.world.worker(activities=["refund"], orchestrations=[]).claim()) == [3]

    def test_a_task_goes_to_one_worker(self) -> None:
        worker = self._scheduled({}, {})
        assert events(worker.claim(tasks=1)) == [2]
        assert events(self.world.worker().claim()) == [3]
        assert events(worker.claim()) == []

    def test_tasks_come_by_priority_then_age(self) -> None:
        world = self.world
        worker = self._scheduled({}, {"priority": 5}, {"priority": -1}, {"priority": 5})
        world.clock.advance(1)
        worker.run("order", tasks=(task(10), task(11, priority=5)))
        assert events(worker.claim()) == [3, 5, 11, 2, 10, 4]

    def test_tasks_of_equal_age_come_by_incarnation_then_event(self) -> None:
        world = self.world
        worker = world.worker()
        for incarnation in (20, 10):
            worker.own(f"order-{incarnation}", incarnation=incarnation)
        for incarnation in (20, 10):
            worker.run(f"order-{incarnation}", tasks=(task(3), task(2)))
        work = worker.claim()
        assert [(each.incarnation, each.event) for each in work.tasks] == [(10, 2), (10, 3), (20, 2), (20, 3)]

    def test_a_limit_says_that_there_are_more(self) -> None:
        worker = self._scheduled({}, {}, {})
        work = worker.claim(tasks=2)
        assert (events(work), work.more) == ([2, 3], True)
        work = worker.claim(tasks=2)
        assert (events(work), work.more) == ([4], False)
        self._more_when_nothing_may_be_taken()

    def _more_when_nothing_may_be_taken(self) -> None:
        self.world.start("another")
        worker = self.world.worker()
        worker.take("another")
        worker.run("another", tasks=(task(2),))
        work = worker.claim(tasks=0)
        assert (events(work), work.more) == ([], True)

    def test_a_local_task_is_born_owned(self) -> None:
        world = self.world
        worker = self._scheduled({"local": True})
        assert events(worker.claim()) == []
        assert events(world.worker().claim()) == []
        done = TaskDone(incarnation=world.record("order").incarnation, execution=1, event=2, body=b"done")
        assert worker.do(done) == APPLIED
        assert bodies(worker.take("order")) == [b"done"]

    def test_a_turn_takes_tasks_away_whoever_has_them(self) -> None:
        world = self.world
        worker = self._scheduled({"local": True}, {}, {})
        other = world.worker("other", orchestrations=[])
        claimed = other.claim(tasks=1).tasks[0]
        worker.run("order", tasks_gone=(2, 3, 4, 99))
        assert events(worker.claim()) == []
        assert refused(other.do(about(TaskDone, claimed, body=b"late"))) is Refusal.NOT_OWNER
        assert ids(worker.claim()) == []

    def test_a_task_asked_for_and_cancelled_in_one_turn_is_none(self) -> None:
        worker = self.world.worker()
        worker.own("order")
        worker.run("order", tasks=(task(2),), tasks_gone=(2,))
        assert events(worker.claim()) == []

    def test_closing_drops_tasks(self) -> None:
        world = self.world
        worker = self._scheduled({"local": True}, {}, {})
        other = world.worker("other", orchestrations=[])
        claimed = other.claim(tasks=1).tasks[0]
        worker.run("order", change=InstanceChange(status=Status.COMPLETED))
        assert events(worker.claim()) == []
        assert refused(other.do(about(TaskDone, claimed, body=b"late"))) is Refusal.NOT_OWNER

    def test_closing_drops_a_task_that_waits_for_its_next_attempt(self) -> None:
        world = self.world
        worker = self._scheduled({})
        worker.claim(about(TaskRetry, worker.take_task(2), attempt=2, delay_us=SECOND))
        worker.run("order", change=InstanceChange(status=Status.FAILED))
        assert worker.claim().next_due is None
        world.clock.advance(SECOND)
        assert events(worker.claim()) == []


class Outcomes(Topic):
    """From a worker that has run a task to the instance."""

    def _claimed_elsewhere(self, **options: object) -> tuple[Worker, Worker, ClaimedTask]:
        """The instance's worker, another one, and the task that the other has."""
        owner = self.world.worker("owner", activities=[])
        other = self.world.worker("other", orchestrations=[])
        owner.own("order")
        owner.run("order", tasks=(task(2, **options),))
        return owner, other, other.take_task(2)

    def test_an_outcome_becomes_a_message_and_the_task_is_gone(self) -> None:
        owner, other, claimed = self._claimed_elsewhere()
        done = about(TaskDone, claimed, body=b"charged")
        assert other.do(done) == APPLIED
        assert bodies(owner.take("order")) == [b"charged"]
        assert refused(other.do(done)) is Refusal.NOT_OWNER

    def test_only_the_owner_of_a_task_may_speak_of_it(self) -> None:
        owner, other, claimed = self._claimed_elsewhere()
        for item in (
            about(TaskDone, claimed, body=b"mine"),
            about(TaskRetry, claimed, attempt=2, delay_us=0),
            about(TaskRelease, claimed),
        ):
            assert refused(owner.do(item)) is Refusal.NOT_OWNER
        wrong = TaskDone(incarnation=claimed.incarnation, execution=2, event=2, body=b"other execution")
        unknown = TaskDone(incarnation=4_711, execution=1, event=2, body=b"other instance")
        assert [refused(each) for each in other.commit(wrong, unknown).outcomes] == [Refusal.NOT_OWNER] * 2
        assert other.do(about(TaskDone, claimed, body=b"done")) == APPLIED

    def test_nobody_speaks_of_a_task_in_line(self) -> None:
        owner, other, claimed = self._claimed_elsewhere()
        other.do(about(TaskRelease, claimed))
        assert refused(other.do(about(TaskDone, claimed, body=b"done"))) is Refusal.NOT_OWNER
        assert ids(owner.claim()) == []

    def test_a_failed_attempt_comes_again_after_its_delay(self) -> None:
        world = self.world
        _, other, claimed = self._claimed_elsewhere()
        work = other.claim(about(TaskRetry, claimed, attempt=2, delay_us=SECOND, last_error=b"declined"))
        assert (events(work), work.next_due) == ([], world.clock.now_us() + SECOND)
        third = world.worker("third", orchestrations=[])
        world.clock.advance(SECOND - 1)
        assert events(third.claim()) == []
        world.clock.advance(1)
        again = third.take_task(2)
        assert (again.attempt, again.deliveries, again.scheduled_at) == (2, 1, claimed.scheduled_at)
        assert (claimed.last_error, again.last_error, again.input) == (None, b"declined", claimed.input)
        assert refused(other.do(about(TaskDone, claimed, body=b"late"))) is Refusal.NOT_OWNER

    def test_the_last_error_stays_until_another_attempt_fails(self) -> None:
        world = self.world
        _, other, claimed = self._claimed_elsewhere(total_timeout_us=SECOND, retry=b"{}")
        other.do(about(TaskRetry, claimed, attempt=2, delay_us=0, last_error=b"\x00declined"))
        other.do(about(TaskRelease, other.take_task(2)))
        world.storage.unregister(other.number)
        world.clock.advance(SECOND)
        late = world.worker("late", orchestrations=[], activities=[])
        again = late.take_task(2)
        assert (again.attempt, again.last_error, again.retry) == (2, b"\x00declined", b"{}")
        late.do(about(TaskRetry, again, attempt=3, delay_us=0))
        assert late.take_task(2).last_error is None

    def test_what_has_not_ended_is_listed_with_its_attempt_and_its_last_error(self) -> None:
        world = self.world
        owner, other, claimed = self._claimed_elsewhere(priority=3)
        began, name = world.clock.now_us(), claimed.name
        limit = KeyLimit("smtp", 1, None, SECOND)
        place = task(4, name=PLACE, input=b"", limit=limit, permit=b"enter")
        owner.run("order", tasks=(task(3, local=True), place))
        incarnation = claimed.incarnation
        mine = OpenTask(event=3, name=name, attempt=1, scheduled_at=began, due_at=began, owner=owner.number)
        theirs = OpenTask(event=2, name=name, attempt=1, scheduled_at=began, due_at=began, owner=other.number)
        assert world.storage.open_tasks(incarnation, 5) == [theirs, mine]
        other.do(about(TaskRetry, claimed, attempt=2, delay_us=SECOND, last_error=b"\x00declined"))
        later = replace(theirs, attempt=2, due_at=began + SECOND, owner=None, last_error=b"\x00declined")
        assert world.storage.open_tasks(incarnation, 5) == [later, mine]
        owner.run("order", tasks_stopped=(3,))
        assert world.storage.open_tasks(incarnation, 5) == [later, replace(mine, stopped=True)]
        assert world.storage.open_tasks(incarnation, 1) == [later]
        world.client(Suspend(id="order", reason="audit", tasks="wait"))
        assert [each.held_because for each in world.storage.open_tasks(incarnation, 5)] == ["audit", None]
        assert world.storage.open_tasks(incarnation + 1, 5) == []

    def test_a_released_task_counts_neither_attempt_nor_delivery(self) -> None:
        world = self.world
        _, other, claimed = self._claimed_elsewhere()
        assert other.do(about(TaskRelease, claimed)) == APPLIED
        assert other.take_task(2) == claimed
        other.do(about(TaskRelease, claimed, delay_us=SECOND))
        assert other.claim().next_due == world.clock.now_us() + SECOND
        world.clock.advance(SECOND)
        assert other.take_task(2) == claimed

    def test_an_outcome_for_an_instance_that_nobody_owns_waits(self) -> None:
        world = self.world
        owner, other, claimed = self._claimed_elsewhere()
        world.storage.unregister(owner.number)
        other.do(about(TaskDone, claimed, body=b"charged"))
        assert bodies(world.worker(activities=[]).take("order")) == [b"charged"]

    def test_outcomes_come_in_the_order_of_their_commits(self) -> None:
        world = self.world
        owner, other, first = self._claimed_elsewhere()
        owner.run("order", tasks=(task(3),))
        second = other.take_task(3)
        other.commit(about(TaskDone, second, body=b"second"), about(TaskDone, first, body=b"first"))
        assert bodies(owner.take("order")) == [b"second", b"first"]
        world.delete("order", force=True)
        assert ids(owner.claim()) == []


class Deadlines(Topic):
    """Tasks that nobody starts or ends in time go to anybody, who says so."""

    def _scheduled_for_others(self, **options: object) -> Worker:
        worker = self.world.worker("owner", activities=[])
        worker.own("order")
        worker.run("order", tasks=(task(2, **options),))
        return worker

    def test_one_that_is_not_started_in_time_goes_to_any_worker(self) -> None:
        world = self.world
        worker = self._scheduled_for_others(schedule_to_start_us=SECOND)
        work = worker.claim()
        assert (events(work), work.next_due) == ([], world.clock.now_us() + SECOND)
        world.clock.advance(SECOND)
        assert worker.take_task(2).start_by == world.clock.now_us()

    def test_one_whose_total_time_is_over_goes_to_any_worker_before_its_next_attempt(self) -> None:
        world = self.world
        worker = self._scheduled_for_others(total_timeout_us=3 * SECOND)
        other = world.worker("other", orchestrations=[])
        claimed = other.take_task(2)
        work = other.claim(about(TaskRetry, claimed, attempt=2, delay_us=60 * SECOND))
        assert work.next_due == worker.claim().next_due == world.clock.now_us() + 3 * SECOND
        world.clock.advance(3 * SECOND)
        assert worker.take_task(2).attempt == 2

    def test_what_is_claimable_already_has_no_later_moment(self) -> None:
        self._scheduled_for_others(total_timeout_us=3 * SECOND, schedule_to_start_us=SECOND)
        work = self.world.worker("other", orchestrations=[]).claim(tasks=0)
        assert (work.more, work.next_due) == (True, None)

    def test_an_owned_task_has_no_deadline_for_others(self) -> None:
        world = self.world
        worker = self._scheduled_for_others(total_timeout_us=SECOND, schedule_to_start_us=SECOND)
        other = world.worker("other", orchestrations=[])
        other.take_task(2)
        assert worker.claim().next_due is None
        world.clock.advance(SECOND)
        assert events(worker.claim()) == []

    def test_an_attempt_ends_the_wait_for_the_start(self) -> None:
        world = self.world
        worker = self._scheduled_for_others(schedule_to_start_us=SECOND)
        other = world.worker("other", orchestrations=[])
        other.do(about(TaskRetry, other.take_task(2), attempt=2, delay_us=5 * SECOND))
        world.clock.advance(2 * SECOND)
        assert events(worker.claim()) == []
        world.clock.advance(3 * SECOND)
        assert other.take_task(2).start_by is None

    def test_a_release_does_not_end_the_wait_for_the_start(self) -> None:
        world = self.world
        worker = self._scheduled_for_others(schedule_to_start_us=SECOND)
        other = world.worker("other", orchestrations=[])
        other.do(about(TaskRelease, other.take_task(2), delay_us=5 * SECOND))
        world.clock.advance(SECOND)
        assert events(worker.claim()) == [2]

    def test_a_version_that_is_open_is_shown_as_empty(self) -> None:
        world = self.world
        worker = world.worker()
        new = world.new("order", version=None)
        worker.own("model")
        turn = worker.turn(
            "model", incarnation=new.incarnation, base=0, history=row(1, 2), create=new, tasks=(task(2),)
        )
        applied(worker.do(turn))
        assert worker.take_task(2).orchestration_version == ""
