"""That an activity was about to be called is remembered until somebody knows what came of it."""

from perdure._work import (
    APPLIED,
    ClaimedTask,
    Refusal,
    Resume,
    TaskBeat,
    TaskHold,
    TaskRelease,
    TaskRetry,
)
from perdure.testing.storage_suite.suite import Topic
from perdure.testing.storage_suite.world import SECOND, Worker, about, applied, events, refused, task


class Beginnings(Topic):
    """`TaskBeat.began`, and what removes it."""

    def _begun(self, lease_us: int = 10 * SECOND, **options: object) -> tuple[Worker, ClaimedTask]:
        """A worker that has taken task 2 and said that it is about to call it."""
        world = self.world
        owner = world.worker("owner", activities=[], lease_us=1_000 * SECOND)
        owner.own("order")
        owner.run("order", tasks=(task(2, **options),))
        worker = world.worker(orchestrations=[], lease_us=lease_us)
        claimed = worker.take_task(2)
        assert not claimed.began
        assert worker.do(about(TaskBeat, claimed, began=True)) == APPLIED
        return worker, claimed

    def _next(self) -> ClaimedTask:
        """What the next worker gets."""
        return self.world.worker("next", orchestrations=[]).take_task(2)

    def test_it_is_told_to_the_next_worker_when_this_one_dies_or_leaves(self) -> None:
        world = self.world
        worker, _ = self._begun(lease_us=SECOND)
        world.clock.advance(SECOND)
        after = world.worker("after", orchestrations=[])
        claimed = after.take_task(2)
        assert (claimed.began, claimed.deliveries, claimed.attempt) == (True, 2, 1)
        world.storage.unregister(after.number)
        assert self._next().began
        assert refused(worker.do(about(TaskBeat, claimed, began=True))) is Refusal.FENCED

    def test_an_attempt_that_has_failed_is_over(self) -> None:
        worker, claimed = self._begun()
        now = self.world.clock.now_us()
        applied(worker.do(about(TaskRetry, claimed, attempt=2, delay_us=0, began_at=now)))
        again = self._next()
        assert (again.began, again.attempt) == (False, 2)

    def test_one_that_was_begun_before_says_nothing_of_this_one(self) -> None:
        worker, claimed = self._begun()
        now = self.world.clock.now_us()
        self.world.clock.advance(1)
        applied(worker.do(about(TaskBeat, claimed, began=True)))
        applied(worker.do(about(TaskRetry, claimed, attempt=2, delay_us=0, began_at=now)))
        again = worker.take_task(2)
        assert again.began
        applied(worker.do(about(TaskRetry, again, attempt=3, delay_us=0)))
        assert worker.take_task(2).began

    def test_handed_back_it_has_begun_all_the_same(self) -> None:
        worker, claimed = self._begun()
        applied(worker.do(about(TaskRelease, claimed)))
        assert worker.take_task(2).began

    def test_progress_leaves_it_and_says_nothing_of_it(self) -> None:
        world = self.world
        worker, claimed = self._begun()
        began_at = world.clock.now_us()
        applied(worker.do(about(TaskBeat, claimed, details=b"half")))
        applied(worker.do(about(TaskRelease, claimed)))
        again = worker.take_task(2)
        assert (again.began, again.details) == (True, b"half")
        applied(worker.do(about(TaskRetry, again, attempt=2, delay_us=0, began_at=began_at)))
        third = worker.take_task(2)
        applied(worker.do(about(TaskBeat, third, details=b"more")))
        applied(worker.do(about(TaskRelease, third)))
        assert not worker.take_task(2).began

    def test_it_lands_together_with_what_else_is_said_of_the_task(self) -> None:
        worker, claimed = self._begun()
        now = self.world.clock.now_us()
        applied(worker.do(about(TaskRetry, claimed, attempt=2, delay_us=0, began_at=now)))
        again = worker.take_task(2)
        outcomes = worker.commit(
            about(TaskBeat, again, details=b"half"),
            about(TaskBeat, again, began=True),
            about(TaskRelease, again),
        ).outcomes
        assert outcomes == (APPLIED, APPLIED, APPLIED)
        third = worker.take_task(2)
        assert (third.began, third.details) == (True, b"half")

    def test_what_has_begun_has_started_in_time(self) -> None:
        worker, claimed = self._begun(schedule_to_start_us=SECOND, total_timeout_us=60 * SECOND)
        applied(worker.do(about(TaskRelease, claimed, delay_us=9 * SECOND)))
        self.world.clock.advance(SECOND)
        assert events(worker.claim()) == []
        self.world.clock.advance(8 * SECOND)
        again = worker.take_task(2)
        assert (again.start_by, again.deadline) == (None, claimed.deadline)

    def test_a_local_task_begins_as_any_other(self) -> None:
        world = self.world
        worker = world.worker()
        record = worker.own("order")
        worker.run("order", tasks=(task(2, local=True),))
        applied(worker.do(TaskBeat(incarnation=record.incarnation, execution=1, event=2, began=True)))
        world.storage.unregister(worker.number)
        assert self._next().began

    def test_only_the_owner_begins(self) -> None:
        world = self.world
        _, claimed = self._begun()
        other = world.worker("other")
        assert refused(other.do(about(TaskBeat, claimed, began=True))) is Refusal.NOT_OWNER
        assert refused(*world.client(about(TaskBeat, claimed, began=True))) is Refusal.FENCED

    def test_held_it_shows_when_it_was_called(self) -> None:
        world = self.world
        worker, claimed = self._begun()
        began_at = world.clock.now_us()
        world.clock.advance(1)
        applied(worker.do(about(TaskHold, claimed, reason="nobody knows")))
        [held] = world.storage.held_tasks(9)
        assert (held.began_at, held.held_at, held.held_because) == (began_at, began_at + 1, "nobody knows")

    def test_resumed_it_is_still_unknown_unless_somebody_says_that_it_may_be_repeated(self) -> None:
        world = self.world
        worker, claimed = self._begun()
        began_at = world.clock.now_us()
        applied(worker.do(about(TaskHold, claimed, reason="nobody knows")))
        assert applied(*world.client(Resume(id="order"))) == APPLIED
        again = worker.take_task(2)
        assert again.began
        applied(worker.do(about(TaskHold, again, reason="nobody knows")))
        assert applied(*world.client(Resume(id="order", event=2, repeat=began_at))) == APPLIED
        assert not worker.take_task(2).began

    def test_a_repeat_that_means_an_earlier_call_is_refused(self) -> None:
        world = self.world
        worker, claimed = self._begun()
        began_at = world.clock.now_us()
        world.clock.advance(1)
        applied(worker.do(about(TaskBeat, claimed, began=True)))
        applied(worker.do(about(TaskHold, claimed, reason="nobody knows")))
        again = Resume(id="order", event=2, repeat=began_at)
        assert refused(*world.client(again)) is Refusal.NOT_FOUND
        assert [each.began_at for each in world.storage.held_tasks(9)] == [began_at + 1]

    def test_what_is_held_for_something_else_has_not_begun(self) -> None:
        worker, claimed = self._begun()
        now = self.world.clock.now_us()
        applied(worker.do(about(TaskRetry, claimed, attempt=2, delay_us=0, began_at=now)))
        applied(worker.do(about(TaskHold, worker.take_task(2), reason="it kills")))
        [held] = self.world.storage.held_tasks(9)
        assert held.began_at is None
