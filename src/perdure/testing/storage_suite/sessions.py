"""Sessions: which worker takes the activities of one, and when another may."""

from perdure._events import KeyLimit
from perdure._work import NewTask, Serves, TaskDone, TaskRelease, TaskRetry
from perdure.testing.storage_suite.suite import Topic
from perdure.testing.storage_suite.world import CHARGE, SECOND, Worker, World, about, applied, events, task

IDLE_US = 80 * SECOND
LONG_US = 1_000 * SECOND


def serving(sessions: int, **options: object) -> Serves:
    """A worker that has so many sessions at once."""
    return Serves(sessions=sessions, session_idle_us=IDLE_US, **options)  # type: ignore[arg-type]  # as they are


def asked_for(world: World, *tasks: NewTask) -> Worker:
    """An instance has asked for these activities; who has the instance runs none."""
    owner = world.worker("owner", activities=[], lease_us=LONG_US)
    owner.own("order")
    owner.run("order", tasks=tasks)
    return owner


def ask(owner: Worker, *tasks: NewTask) -> None:
    """It asks for more."""
    owner.run("order", written=10, tasks=tasks)


def runner(world: World, sessions: int = 10, *, lease_us: int = LONG_US, **options: object) -> Worker:
    """A worker that runs activities, of so many sessions at once."""
    return world.worker("runner", orchestrations=[], serves=serving(sessions, **options), lease_us=lease_us)


class Sessions(Topic):
    """From a turn's commit to the worker that has the session, and on to the next."""

    def test_the_tasks_of_a_session_go_to_one_worker_however_many_there_are(self) -> None:
        owner = asked_for(self.world, task(2, session="a"), task(3, session="a"))
        first, second = runner(self.world), runner(self.world)
        work = first.claim(tasks=1)
        assert (events(work), work.more, work.tasks[0].session) == ([2], True, "a")
        ask(owner, task(4, session="a"), task(5, session="b"), task(6))
        assert events(second.claim()) == [5, 6]
        assert events(first.claim()) == [3, 4]

    def test_a_worker_that_is_busy_keeps_its_session(self) -> None:
        asked_for(self.world, task(2, session="a"), task(3, session="a"))
        first, second = runner(self.world), runner(self.world)
        first.claim(tasks=1)
        work = first.claim(tasks=0)
        assert (events(work), work.more) == ([], True)
        assert events(second.claim()) == []

    def test_one_that_goes_back_stays_with_its_worker(self) -> None:
        world = self.world
        asked_for(self.world, task(2, session="a"))
        first, second = runner(self.world), runner(self.world)
        claimed = first.take_task(2)
        applied(first.do(about(TaskRelease, claimed)))
        assert events(second.claim()) == []
        assert events(first.claim()) == [2]
        work = first.claim(about(TaskRetry, claimed, attempt=2, delay_us=SECOND))
        assert (events(work), work.next_due) == ([], world.clock.now_us() + SECOND)
        world.clock.advance(SECOND)
        assert events(second.claim()) == []
        assert events(first.claim()) == [2]

    def test_the_sessions_of_a_worker_that_leaves_are_free(self) -> None:
        asked_for(self.world, task(2, session="a"), task(3, session="a"))
        first, second = runner(self.world), runner(self.world)
        first.claim(tasks=1)
        assert events(second.claim()) == []
        self.world.storage.unregister(first.number)
        assert events(second.claim()) == [2, 3]

    def test_the_sessions_of_a_worker_that_died_are_free(self) -> None:
        world = self.world
        owner = asked_for(self.world, task(2, session="a"), task(3, session="a"))
        first, second = runner(self.world, lease_us=SECOND), runner(self.world)
        first.claim(tasks=1)
        world.clock.advance(SECOND)
        assert events(second.claim()) == []
        assert world.storage.reap(owner.number).buried == 1
        assert events(second.claim()) == [2, 3]

    def test_a_heartbeat_is_all_that_keeps_a_session_in_use(self) -> None:
        world = self.world
        owner = asked_for(self.world, task(2, session="a"), task(3, session="a"))
        first, second = runner(self.world, lease_us=2 * SECOND), runner(self.world)
        claimed = first.claim(tasks=1).tasks[0]
        for _ in range(2 * IDLE_US // SECOND):
            world.clock.advance(SECOND)
            assert first.storage.heartbeat(first.number)
        world.storage.reap(owner.number)
        assert events(second.claim()) == []
        applied(first.do(about(TaskDone, claimed, body=b"done")))
        assert events(first.claim()) == [3]

    def test_one_that_is_not_used_for_its_time_is_free(self) -> None:
        world = self.world
        owner = asked_for(self.world, task(2, session="a"))
        first, second = runner(self.world), runner(self.world)
        applied(first.do(about(TaskDone, first.take_task(2), body=b"done")))
        world.clock.advance(IDLE_US - 1)
        assert world.storage.reap(second.number).sessions == 0
        ask(owner, task(3, session="a"))
        assert events(second.claim()) == []
        world.clock.advance(1)
        assert world.storage.reap(second.number).sessions == 1
        assert events(second.claim()) == [3]
        assert events(first.claim()) == []

    def test_a_claim_of_one_begins_its_time_anew(self) -> None:
        world = self.world
        owner = asked_for(self.world, task(2, session="a"))
        first, second = runner(self.world), runner(self.world)
        applied(first.do(about(TaskDone, first.take_task(2), body=b"done")))
        world.clock.advance(IDLE_US)
        ask(owner, task(3, session="a"))
        applied(first.do(about(TaskDone, first.take_task(3), body=b"done")))
        assert world.storage.reap(second.number).sessions == 0
        ask(owner, task(24, session="a"))
        assert events(second.claim()) == []

    def test_its_time_begins_when_its_last_task_ends(self) -> None:
        world = self.world
        asked_for(self.world, task(2, session="a"))
        first, second = runner(self.world), runner(self.world)
        claimed = first.take_task(2)
        world.clock.advance(5 * IDLE_US)
        # Its own worker says that it is in use, every now and then.
        assert [world.storage.reap(each.number).sessions for each in (second, first, second)] == [0, 0, 0]
        applied(first.do(about(TaskDone, claimed, body=b"done")))
        world.clock.advance(IDLE_US - 1)
        assert world.storage.reap(second.number).sessions == 0
        world.clock.advance(1)
        assert world.storage.reap(second.number).sessions == 1

    def test_that_it_is_in_use_is_said_when_a_part_of_its_time_has_passed(self) -> None:
        world = self.world
        asked_for(self.world, task(2, session="a"))
        first = runner(self.world)
        claimed = first.take_task(2)
        world.clock.advance(IDLE_US // 8 - 1)
        world.storage.reap(first.number)
        applied(first.do(about(TaskDone, claimed, body=b"done")))
        world.clock.advance(IDLE_US - IDLE_US // 8 + 1)
        assert world.storage.reap(first.number).sessions == 1

    def test_an_outcome_counts_whatever_has_become_of_the_session(self) -> None:
        world = self.world
        owner = asked_for(self.world, task(2, session="a"))
        first, second = runner(self.world), runner(self.world)
        claimed = first.take_task(2)
        applied(first.do(about(TaskRelease, claimed)))
        world.clock.advance(IDLE_US)
        assert world.storage.reap(owner.number).sessions == 1
        again = second.take_task(2)
        world.clock.advance(IDLE_US)
        assert world.storage.reap(owner.number).sessions == 0
        applied(second.do(about(TaskDone, again, body=b"done")))


class SessionRoom(Topic):
    """How many sessions a worker has at once, and which go when there is no room."""

    def test_a_worker_without_room_takes_none(self) -> None:
        asked_for(self.world, task(2, session="a"), task(3), task(4, session="b"))
        work = runner(self.world, 0).claim()
        assert (events(work), work.more, work.next_due) == ([3], False, None)
        assert events(runner(self.world, 1).claim()) == [2]

    def test_the_next_session_waits_while_the_others_are_in_use_and_the_same_counts_once(self) -> None:
        asked_for(self.world, *(task(event, session=session) for event, session in enumerate("aabac", start=2)))
        worker = runner(self.world, 1)
        work = worker.claim()
        assert (events(work), work.more) == ([2, 3, 5], False)
        done = [about(TaskDone, claimed, body=b"done %d" % claimed.event) for claimed in work.tasks]
        assert events(worker.claim(*done[:2])) == []
        assert events(worker.claim(done[2])) == [4]
        assert events(runner(self.world, 2).claim()) == [6]

    def test_workers_have_room_of_their_own(self) -> None:
        asked_for(self.world, *(task(event, session=session) for event, session in enumerate("abcde", start=2)))
        assert events(runner(self.world, 1).claim()) == [2]
        assert events(runner(self.world, 3).claim()) == [3, 4, 5]
        assert events(runner(self.world, 0).claim()) == []

    def test_one_that_waits_for_its_worker_keeps_its_room(self) -> None:
        asked_for(self.world, task(2, session="a"), task(3, session="b"), task(4, session="a"))
        worker = runner(self.world, 1)
        first = worker.claim(tasks=1).tasks[0]
        assert events(worker.claim(about(TaskDone, first, body=b"done"))) == [4]

    def test_one_that_is_not_needed_makes_room_the_longest_unused_first(self) -> None:
        world = self.world
        owner = asked_for(self.world, task(2, session="a"), task(3, session="b"))
        worker, other = runner(self.world, 2), runner(self.world, 2)
        for event in (2, 3):
            [claimed] = worker.claim(tasks=1).tasks
            assert claimed.event == event
            applied(worker.do(about(TaskDone, claimed, body=b"done %d" % event)))
            world.clock.advance(SECOND)
        ask(owner, task(4, session="c"))
        [claimed] = worker.claim().tasks
        applied(worker.do(about(TaskDone, claimed, body=b"done")))
        ask(owner, task(20, session="a"), task(21, session="b"), task(22, session="c"))
        assert events(other.claim()) == [20]
        assert events(worker.claim()) == [21, 22]

    def test_of_those_used_at_once_the_first_by_name_goes(self) -> None:
        owner = asked_for(self.world, task(2, session="a\uffff"), task(3, session="a\U00010000"))
        worker, other = runner(self.world, 2), runner(self.world, 2)
        for claimed in worker.claim().tasks:
            applied(worker.do(about(TaskDone, claimed, body=b"done %d" % claimed.event)))
        ask(owner, task(4, session="b"))
        worker.claim()
        tasks = (task(20, session="a\U00010000"), task(21, session="a\uffff"))
        ask(owner, *tasks)
        assert events(other.claim()) == [21]

    def test_those_that_come_first_get_the_room(self) -> None:
        world = self.world
        owner = asked_for(self.world, task(3, session="b"), task(2, session="a"))
        world.clock.advance(1)
        ask(owner, task(10, session="c", priority=1), task(11, session="a"))
        assert events(runner(self.world, 2).claim()) == [10, 2, 11]

    def test_one_with_an_activity_that_the_worker_has_not_is_passed_over(self) -> None:
        asked_for(
            self.world, task(2, session="a", name="other"), task(3, session="b"), task(4, session="b", name="other")
        )
        assert events(runner(self.world, 1).claim()) == [3]
        all_ = self.world.worker("all", orchestrations=[], activities=[CHARGE, "other"], lease_us=LONG_US)
        assert events(all_.claim()) == [2]

    def test_a_session_with_tags_is_of_workers_that_serve_them(self) -> None:
        asked_for(self.world, task(2, session="a", tag="gpu"), task(3, session="b"), task(4, session="a"))
        assert events(runner(self.world, 1, untagged=False, tags=("gpu",)).claim()) == [2]
        assert events(runner(self.world, 1).claim()) == [3]
        assert events(runner(self.world, 5, others=True).claim()) == []

    def test_one_that_waits_for_a_place_of_a_limit_takes_no_room(self) -> None:
        limit = KeyLimit("smtp", 1, None, SECOND)
        asked_for(
            self.world,
            task(2, limit=limit),
            task(3, session="a", limit=limit),
            task(4, session="b"),
            task(5, session="b", limit=limit),
        )
        worker = runner(self.world, 1)
        first = worker.claim(tasks=1).tasks[0]
        assert first.event == 2
        [second] = worker.claim().tasks
        assert second.event == 4
        work = worker.claim(about(TaskDone, first, body=b"one"), about(TaskDone, second, body=b"two"))
        assert events(work) == [5]
        assert work.tasks[0].is_limited

    def test_what_is_too_late_goes_to_anybody_and_takes_no_room(self) -> None:
        owner = asked_for(self.world, task(2, session="a"), task(3, session="a", schedule_to_start_us=SECOND))
        first, second = runner(self.world, 1), runner(self.world, 0)
        first.claim(tasks=1)
        self.world.clock.advance(SECOND)
        [late] = second.claim().tasks
        assert (late.event, late.start_by) == (3, self.world.clock.now_us())
        ask(owner, task(4, session="a"))
        assert events(first.claim()) == [4]

    def test_a_turn_that_takes_the_last_task_away_makes_room(self) -> None:
        owner = asked_for(self.world, task(2, session="a"), task(3, session="b"))
        worker = runner(self.world, 1)
        assert events(worker.claim()) == [2]
        owner.run("order", tasks_gone=(2,))
        assert events(worker.claim()) == [3]

    def test_what_comes_with_all_its_rows_has_its_session(self) -> None:
        asked_for(self.world, task(2, session="a"), task(3, session="a"))
        first, second = runner(self.world, 1), runner(self.world, 1)
        first.claim(tasks=1)
        [image] = self.world.storage.images(["order"])
        assert [each.session for each in image.tasks] == ["a", "a"]
        assert events(second.claim()) == []

    def test_a_worker_tells_its_room(self) -> None:
        runner(self.world, 3)
        assert self.world.storage.workers()[-1].serves == serving(3)
