"""Tags: which workers take an activity."""

import pytest

from perdure._events import KeyLimit
from perdure._work import Serves, TaskDepth, TaskRelease, TaskRetry
from perdure.testing.storage_suite.suite import Topic
from perdure.testing.storage_suite.world import CHARGE, SECOND, Worker, about, events, task

SERVED = {
    "untagged": (Serves(), [2]),
    "one tag": (Serves(untagged=False, tags=("gpu",)), [3]),
    "one tag and untagged": (Serves(tags=("gpu",)), [2, 3]),
    "several tags": (Serves(untagged=False, tags=("gpu", "big")), [3, 4]),
    "all": (Serves(others=True), [2, 3, 4]),
    "all but one": (Serves(others=True, tags=("gpu",)), [2, 4]),
    "nothing": (Serves(untagged=False), []),
}


class Tags(Topic):
    """From a turn's commit to a worker that serves the tag."""

    def _tagged_tasks(self, **options: object) -> None:
        """An instance has asked for an activity without a tag, and for one with each of two."""
        first = self.world.worker("first", activities=[])
        first.own("order")
        tasks = (task(2, **options), task(3, tag="gpu", **options), task(4, tag="big", **options))
        first.run("order", tasks=tasks)

    def _serving(self, serves: Serves) -> Worker:
        return self.world.worker("second", orchestrations=[], serves=serves, lease_us=1_000 * SECOND)

    @pytest.mark.parametrize("served", SERVED)
    def test_a_worker_takes_what_it_serves(self, served: str) -> None:
        serves, taken = SERVED[served]
        self._tagged_tasks()
        worker = self._serving(serves)
        work = worker.claim()
        assert (events(work), work.more) == (taken, False)
        assert [each.tag for each in work.tasks] == [{2: None, 3: "gpu", 4: "big"}[event] for event in taken]
        assert self.world.storage.workers()[-1].serves == serves

    @pytest.mark.parametrize("served", SERVED)
    def test_what_it_does_not_serve_is_for_another(self, served: str) -> None:
        serves, taken = SERVED[served]
        self._tagged_tasks()
        self._serving(serves).claim()
        other = self.world.worker("third", serves=Serves(others=True))
        assert events(other.claim()) == [event for event in (2, 3, 4) if event not in taken]

    def test_a_limit_of_the_claim_is_for_all_tags_together(self) -> None:
        self._tagged_tasks()
        worker = self._serving(Serves(others=True))
        work = worker.claim(tasks=2)
        assert (events(work), work.more) == ([2, 3], True)
        work = worker.claim(tasks=0)
        assert (events(work), work.more) == ([], True)

    def test_they_come_by_priority_then_age_whatever_their_tags(self) -> None:
        first = self.world.worker("first", activities=[])
        first.own("order")
        first.run("order", tasks=(task(2), task(3, tag="gpu", priority=1), task(4, tag="big"), task(5, priority=1)))
        assert events(self._serving(Serves(others=True)).claim()) == [3, 5, 2, 4]

    def test_the_tag_stays_with_what_goes_back(self) -> None:
        world = self.world
        self._tagged_tasks()
        worker = self._serving(Serves(untagged=False, tags=("gpu",)))
        claimed = worker.take_task(3)
        assert events(worker.claim(about(TaskRelease, claimed))) == [3]
        work = worker.claim(about(TaskRetry, claimed, attempt=2, delay_us=SECOND))
        assert (events(work), work.next_due) == ([], world.clock.now_us() + SECOND)
        world.clock.advance(SECOND)
        assert events(self._serving(Serves()).claim()) == [2]
        assert events(worker.claim()) == [3]

    def test_one_with_a_tag_and_a_limit_needs_both(self) -> None:
        self._tagged_tasks(limit=KeyLimit("smtp", 1, None, SECOND))
        assert events(self._serving(Serves(untagged=False, tags=("big",))).claim()) == [4]
        assert events(self._serving(Serves(others=True)).claim()) == []

    def test_what_is_too_late_goes_to_anybody(self) -> None:
        self._tagged_tasks(schedule_to_start_us=SECOND)
        self.world.clock.advance(SECOND)
        assert events(self._serving(Serves(untagged=False)).claim()) == [2, 3, 4]

    def test_queues_are_told_by_tag(self) -> None:
        self._tagged_tasks()
        since = self.world.clock.now_us()
        assert self.world.storage.depths().tasks == tuple(
            TaskDepth(name=CHARGE, tag=tag, waiting=1, delayed=0, running=0, waiting_since=since)
            for tag in (None, "big", "gpu")
        )

    def test_no_instance_is_held_for_a_tag_that_nobody_serves(self) -> None:
        self._tagged_tasks()
        worker = self._serving(Serves())
        self.world.clock.advance(100 * SECOND)
        assert self.world.storage.reap(worker.number).held == ()
