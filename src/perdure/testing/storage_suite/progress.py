"""Activities under way: what they say of their progress, and how they are told to stop."""

from perdure._types import Status
from perdure._work import (
    APPLIED,
    ClaimedTask,
    InstanceChange,
    Refusal,
    Standing,
    TaskBeat,
    TaskDone,
    TaskRelease,
    TaskRetry,
)
from perdure.testing.storage_suite.suite import Topic
from perdure.testing.storage_suite.world import SECOND, Worker, about, bodies, events, refused, row, task


class Progress(Topic):
    """What an activity has said, for whoever runs it next."""

    def _claimed(self) -> tuple[Worker, ClaimedTask]:
        owner = self.world.worker("owner", activities=[])
        owner.own("order")
        owner.run("order", tasks=(task(2),))
        other = self.world.worker("other", orchestrations=[])
        return other, other.take_task(2)

    def test_details_wait_for_the_next_attempt(self) -> None:
        other, claimed = self._claimed()
        assert claimed.details is None
        assert other.do(about(TaskBeat, claimed, details=b"\x00first")) == APPLIED
        other.commit(about(TaskBeat, claimed, details=b"half"), about(TaskBeat, claimed))
        other.do(about(TaskRetry, claimed, attempt=2, delay_us=0))
        assert other.take_task(2).details == b"half"

    def test_the_last_details_may_come_with_the_end_of_the_attempt(self) -> None:
        other, claimed = self._claimed()
        other.commit(
            about(TaskBeat, claimed, details=b"before"),
            about(TaskRetry, claimed, attempt=2, delay_us=0, details=b"at the end"),
        )
        claimed = other.take_task(2)
        assert claimed.details == b"at the end"
        other.do(about(TaskRelease, claimed, details=b"at the shutdown"))
        claimed = other.take_task(2)
        assert claimed.details == b"at the shutdown"
        other.do(about(TaskBeat, claimed, details=b"later"))
        other.do(about(TaskRelease, claimed))
        assert other.take_task(2).details == b"later"

    def test_details_outlive_the_worker(self) -> None:
        world = self.world
        other, claimed = self._claimed()
        other.do(about(TaskBeat, claimed, details=b"half"))
        world.storage.unregister(other.number)
        assert world.worker("third", orchestrations=[]).take_task(2).details == b"half"

    def test_only_the_owner_of_a_task_may_speak_of_its_progress(self) -> None:
        other, claimed = self._claimed()
        third = self.world.worker("third")
        assert refused(third.do(about(TaskBeat, claimed, details=b"mine"))) is Refusal.NOT_OWNER
        other.do(about(TaskRelease, claimed))
        assert refused(other.do(about(TaskBeat, claimed, details=b"late"))) is Refusal.NOT_OWNER
        assert other.take_task(2).details is None

    def test_a_task_that_has_ended_has_no_progress(self) -> None:
        other, claimed = self._claimed()
        done, beat = about(TaskDone, claimed, body=b"done"), about(TaskBeat, claimed, details=b"late")
        first, second = other.commit(done, beat).outcomes
        assert first == APPLIED
        assert refused(second) is Refusal.NOT_OWNER


class Stopping(Topic):
    """Tasks that shall stop, and whose outcome is still wanted."""

    def _asked_for(self, *, activities: tuple[str, ...] = ()) -> Worker:
        owner = self.world.worker("owner", activities=activities)
        owner.own("order")
        owner.run("order", tasks=(task(2),))
        return owner

    def test_one_in_line_goes_to_any_worker_at_once(self) -> None:
        owner = self._asked_for()
        assert events(owner.claim()) == []
        owner.run("order", tasks_stopped=(2,))
        claimed = owner.take_task(2)
        assert claimed.stopped
        owner.do(about(TaskDone, claimed, body=b"stopped"))
        assert bodies(owner.take("order")) == [b"stopped"]

    def test_one_that_is_asked_for_later_is_not_stopped(self) -> None:
        owner = self._asked_for()
        first = owner.turn("order", tasks_stopped=(5,))
        second = owner.turn("order", base=first.base + 1, history=row(first.base + 2), tasks=(task(5),))
        assert owner.commit(first, second).outcomes == (APPLIED, APPLIED)
        tasks = self.world.storage.open_tasks(self.world.record("order").incarnation, 9)
        assert [(each.event, each.stopped) for each in tasks] == [(2, False), (5, False)]

    def test_one_that_waits_for_its_next_attempt_goes_to_any_worker_at_once(self) -> None:
        owner = self._asked_for()
        other = self.world.worker("other", orchestrations=[])
        other.do(about(TaskRetry, other.take_task(2), attempt=2, delay_us=60 * SECOND))
        owner.run("order", tasks_stopped=(2,))
        assert owner.take_task(2).stopped

    def test_one_that_runs_stays_with_its_worker(self) -> None:
        owner = self._asked_for()
        other = self.world.worker("other", orchestrations=[])
        claimed = other.take_task(2)
        owner.run("order", tasks_stopped=(2,))
        assert events(owner.claim()) == []
        assert other.do(about(TaskDone, claimed, body=b"charged all the same")) == APPLIED
        assert bodies(owner.take("order")) == [b"charged all the same"]

    def test_one_that_a_dead_worker_ran_goes_to_any_worker(self) -> None:
        world = self.world
        owner = self._asked_for()
        other = world.worker("other", orchestrations=[], lease_us=SECOND)
        other.take_task(2)
        owner.run("order", tasks_stopped=(2,))
        world.clock.advance(SECOND)
        assert world.storage.reap(owner.number).buried == 1
        claimed = owner.take_task(2)
        assert (claimed.stopped, claimed.deliveries) == (True, 2)

    def test_one_of_the_same_turn_is_stopped_too(self) -> None:
        world = self.world
        owner = world.worker("owner", activities=[])
        owner.own("order")
        owner.run("order", tasks=(task(2), task(3, local=True)), tasks_stopped=(2, 3))
        assert owner.take_task(2).stopped
        keys = [(world.record("order").incarnation, 1, event) for event in (2, 3)]
        assert world.storage.standings(owner.number, keys) == [Standing.STOPPED, Standing.STOPPED]

    def test_one_that_is_gone_is_passed_over(self) -> None:
        owner = self._asked_for()
        owner.run("order", tasks_gone=(2,), tasks_stopped=(2, 99))
        assert events(owner.claim()) == []

    def test_a_deadline_that_is_over_already_stays(self) -> None:
        world = self.world
        owner = world.worker("owner", activities=[])
        owner.own("order")
        owner.run("order", tasks=(task(2, total_timeout_us=SECOND),))
        over = world.clock.now_us() + SECOND
        world.clock.advance(2 * SECOND)
        owner.run("order", tasks_stopped=(2,))
        claimed = owner.take_task(2)
        assert (claimed.stopped, claimed.deadline) == (True, over)

    def test_a_worker_hears_how_what_it_runs_stands(self) -> None:
        world = self.world
        owner = self._asked_for()
        owner.run("order", tasks=(task(3), task(4)))
        other = world.worker("other", orchestrations=[])
        keys = [(each.incarnation, each.execution, each.event) for each in other.claim().tasks]
        assert world.storage.standings(other.number, keys) == [Standing.WANTED] * 3
        owner.run("order", tasks_gone=(3,), tasks_stopped=(2,))
        assert world.storage.standings(other.number, keys) == [Standing.STOPPED, Standing.GONE, Standing.WANTED]
        assert world.storage.standings(owner.number, keys) == [Standing.GONE] * 3
        assert world.storage.standings(other.number, [(4_711, 1, 2)]) == [Standing.GONE]
        assert world.storage.standings(other.number, []) == []
        owner.run("order", change=InstanceChange(status=Status.COMPLETED))
        assert world.storage.standings(other.number, keys) == [Standing.GONE] * 3
