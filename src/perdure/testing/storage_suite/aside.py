"""What is set aside, by a person or because it kills its workers, and what brings it back."""

from msgspec.structs import replace

from perdure._types import Status
from perdure._work import (
    APPLIED,
    Deliver,
    InstanceChange,
    InstanceRelease,
    OutMessage,
    Refusal,
    Resume,
    Suspend,
    TaskDiscard,
    TaskDone,
    TaskHold,
    TaskRelease,
    TaskRetry,
    Try,
)
from perdure.testing.storage_suite.suite import Topic
from perdure.testing.storage_suite.world import (
    SECOND,
    Worker,
    World,
    about,
    applied,
    bodies,
    events,
    ids,
    refused,
    task,
)


def _only(world: World, item: Suspend | Resume | TaskDiscard | Deliver) -> Refusal | None:
    """What a client's item is refused for; None if it landed."""
    [outcome] = world.client(item)
    return None if outcome == APPLIED else refused(outcome)


class Suspending(Topic):
    """An instance that a person sets aside."""

    def _suspended(self) -> Worker:
        worker = self.world.worker()
        worker.own("order")
        self.world.clock.advance(1)
        assert _only(self.world, Suspend(id="order", reason="audit")) is None
        return worker

    def test_it_shows_why_and_has_no_owner(self) -> None:
        self._suspended()
        record = self.world.record("order")
        assert (record.status, record.held_because, record.owner) == (Status.SUSPENDED, "audit", None)
        assert record.updated_at == self.world.clock.now_us()

    def test_one_that_is_suspended_already_is_so_for_the_reason_that_came_last(self) -> None:
        worker = self._suspended()
        assert worker.do(Suspend(id="order", reason="law")) == APPLIED
        assert self.world.record("order").held_because == "law"

    def test_it_stays_as_it_is_if_that_is_asked_for_and_its_activities_do_not(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        worker.run("order", tasks=(task(3),))
        _only(world, Suspend(id="order", reason="audit"))
        before = world.record("order")
        world.clock.advance(1)
        assert _only(world, Suspend(id="order", reason="moving", tasks="all", keep=True)) is None
        assert world.record("order") == before
        assert [each.held_because for each in world.storage.held_tasks(9)] == ["moving"]
        assert _only(world, Resume(id="order", reason="moving")) is None
        assert world.record("order").held_because == "audit"
        assert events(worker.claim()) == [3]

    def test_who_would_keep_that_suspends_what_goes_on(self) -> None:
        world = self.world
        world.worker().own("order")
        assert _only(world, Suspend(id="order", reason="moving", keep=True)) is None
        record = world.record("order")
        assert (record.status, record.held_because, record.owner) == (Status.SUSPENDED, "moving", None)

    def test_only_what_is_suspended_for_a_reason_is_so_for_another(self) -> None:
        world = self.world
        worker = world.worker()
        for name in ("order", "other", "running"):
            worker.own(name)
            worker.run(name, tasks=(task(3),))
        for name, reason in (("order", "audit"), ("other", "law")):
            _only(world, Suspend(id=name, reason=reason))
        before = {name: world.record(name) for name in ("other", "running")}
        for name in ("order", "other", "running"):
            assert _only(world, Suspend(id=name, reason="seen", instead_of="audit", tasks="wait")) is None
        assert world.record("order").held_because == "seen"
        assert {name: world.record(name) for name in before} == before
        assert [(each.instance_id, each.held_because) for each in world.storage.held_tasks(9)] == [("order", "seen")]

    def test_its_owner_can_do_nothing_more(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        turn = worker.turn("order")
        _only(world, Suspend(id="order"))
        assert refused(worker.do(turn)) is Refusal.NOT_OWNER

    def test_nobody_takes_it_whenever_they_came(self) -> None:
        worker = self._suspended()
        self.world.deliver("order", b"news")
        self.world.clock.advance(1)
        later = self.world.worker("later")
        for each in (worker, later):
            work = each.claim()
            assert (ids(work), work.next_due, work.more) == ([], None, False)

    def test_a_control_message_reaches_it(self) -> None:
        worker = self._suspended()
        self.world.deliver("order", b"terminate", control=True)
        worker.take("order")
        worker.run("order", change=InstanceChange(status=Status.TERMINATED))
        assert self.world.record("order").status is Status.TERMINATED

    def test_a_turn_from_before_is_refused_when_its_worker_has_it_back_for_a_control_message(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        before = worker.turn("order", tasks=(task(3),))
        other = worker.turn("order", change=InstanceChange(status=Status.COMPLETED, output=b"done"))
        _only(world, Suspend(id="order", reason="audit"))
        world.deliver("order", b"terminate", control=True)
        worker.take("order")
        for turn in (before, other):
            assert refused(worker.do(turn)) is Refusal.STALE
        record = world.record("order")
        assert (record.status, record.held_because, record.last_event) == (Status.SUSPENDED, "audit", before.base)
        worker.run("order", change=InstanceChange(status=Status.TERMINATED))
        assert world.record("order").status is Status.TERMINATED

    def test_a_control_message_that_is_sent_on_as_another_waits_with_the_rest(self) -> None:
        world = self.world
        worker = self._suspended()
        world.deliver("order", b"news")
        world.deliver("order", b"cancel", control=True)
        claimed = worker.take("order")
        sent_on = OutMessage(body=b"cancel", to_incarnation=claimed.record.incarnation)
        cancel = claimed.messages[-1].seq
        turn = worker.turn("order", consumed=(cancel,), history=None, messages=(sent_on,))
        assert applied(worker.do(turn)).skipped == ()
        assert worker.do(InstanceRelease(incarnation=turn.incarnation)) == APPLIED
        record = world.record("order")
        assert (record.status, record.held_because, record.owner) == (Status.SUSPENDED, "audit", None)
        assert ids(worker.claim()) == []
        assert _only(world, Resume(id="order")) is None
        assert bodies(worker.take("order")) == [b"news", b"cancel"]

    def test_its_activities_go_on_and_their_outcomes_wait(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        worker.run("order", tasks=(task(3),))
        claimed = worker.claim().tasks[0]
        _only(world, Suspend(id="order"))
        assert worker.do(about(TaskDone, claimed, body=b"charged")) == APPLIED
        assert ids(worker.claim()) == []
        _only(world, Resume(id="order"))
        assert bodies(worker.take("order")) == [b"charged"]

    def test_resumed_it_goes_on_with_all_that_came(self) -> None:
        world = self.world
        worker = self._suspended()
        world.deliver("order", b"news")
        world.clock.advance(1)
        assert _only(world, Resume(id="order")) is None
        record = world.record("order")
        assert (record.status, record.held_because, record.updated_at) == (Status.RUNNING, None, world.clock.now_us())
        assert bodies(worker.take("order")) == [b"news"]
        worker.run("order")

    def test_one_that_had_no_turn_is_pending_again(self) -> None:
        world = self.world
        world.start("order")
        _only(world, Suspend(id="order"))
        _only(world, Resume(id="order"))
        assert world.record("order").status is Status.PENDING
        assert bodies(world.worker().take("order")) == [b"start order"]

    def test_one_between_two_executions_is_running_again(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        worker.run("order", change=InstanceChange(execution=2), next_start=b"next")
        _only(world, Suspend(id="order"))
        _only(world, Resume(id="order"))
        assert world.record("order").status is Status.RUNNING

    def test_what_was_held_or_left_alone_is_claimed_at_once_when_resumed(self) -> None:
        world = self.world
        worker = world.worker()
        for name in ("held", "left"):
            worker.own(name)
            world.deliver(name, b"news")
        worker.do(worker.hold("held"))
        worker.do(InstanceRelease(incarnation=world.record("left").incarnation, delay_us=60 * SECOND))
        _only(world, Suspend(id="left"))
        for name in ("held", "left"):
            assert _only(world, Resume(id=name)) is None
        assert ids(worker.claim()) == ["held", "left"]

    def test_one_that_runs_is_left_as_it_is(self) -> None:
        world = self.world
        worker = world.worker()
        record = worker.own("order")
        assert _only(world, Resume(id="order")) is None
        assert world.record("order") == record

    def test_what_is_not_there_or_has_closed_is_refused(self) -> None:
        world = self.world
        worker = world.worker()
        incarnation = worker.own("order").incarnation
        for item in (Suspend(id="nobody"), Resume(id="nobody"), Resume(id="order", event=7)):
            assert _only(world, item) is Refusal.NOT_FOUND
        assert _only(world, Suspend(id="order", incarnation=incarnation + 1)) is Refusal.NOT_FOUND
        assert _only(world, Resume(id="order", incarnation=incarnation + 1)) is Refusal.NOT_FOUND
        worker.run("order", change=InstanceChange(status=Status.COMPLETED))
        assert _only(world, Suspend(id="order", incarnation=incarnation)) is Refusal.CLOSED
        assert _only(world, Resume(id="order")) is Refusal.CLOSED


class Trying(Topic):
    """What kills its workers again and again is tried by itself, and counted before."""

    def _die(self, *, times: int) -> None:
        """Workers take all there is, and die."""
        for _ in range(times):
            worker = self.world.worker("victim", lease_us=SECOND)
            worker.claim()
            self.world.clock.advance(SECOND)

    def test_an_instance_counts_the_deaths_of_its_owners_up_to_a_point(self) -> None:
        world = self.world
        world.start("order")
        seen = []
        for _ in range(4):
            worker = world.worker("victim", lease_us=SECOND)
            seen.append(worker.take("order").record.deliveries)
            world.clock.advance(SECOND)
        assert seen == [1, 2, 3, 3]

    def test_a_clean_end_counts_nothing(self) -> None:
        world = self.world
        world.start("order")
        for _ in range(3):
            worker = world.worker()
            assert worker.take("order").record.deliveries == 1
            worker.storage.unregister(worker.number)

    def test_a_turn_begins_again_at_one(self) -> None:
        world = self.world
        world.start("order")
        self._die(times=2)
        worker = world.worker()
        assert worker.take("order").record.deliveries == 3
        worker.run("order")
        assert world.record("order").deliveries == 1

    def test_a_try_counts_before_and_the_death_does_not_count_again(self) -> None:
        world = self.world
        incarnation = world.start("order").incarnation
        self._die(times=2)
        for expected in (4, 5):
            worker = world.worker("victim", lease_us=SECOND)
            before = world.record("order").updated_at
            worker.take("order")
            assert worker.do(Try(incarnation=incarnation)) == APPLIED
            assert world.record("order").deliveries == expected
            assert world.record("order").updated_at == before
            world.clock.advance(SECOND)
        last = world.worker()
        assert last.take("order").record.deliveries == 5
        last.storage.unregister(last.number)
        assert world.record("order").deliveries == 3

    def test_a_hold_keeps_the_count_and_a_resume_does_not(self) -> None:
        world = self.world
        world.start("order")
        self._die(times=2)
        worker = world.worker()
        worker.take("order")
        worker.do(worker.hold("order", "poisoned"))
        assert world.record("order").deliveries == 3
        _only(world, Resume(id="order"))
        assert world.record("order").deliveries == 1

    def test_a_task_that_was_tried_is_less_suspicious_when_it_comes_back(self) -> None:
        world = self.world
        owner = world.worker("owner", activities=[])
        owner.own("order")
        owner.run("order", tasks=(task(3), task(4)))
        self._die(times=2)
        runner = world.worker("runner", orchestrations=[])
        three, four = runner.claim().tasks
        for each in (three, four):
            assert each.deliveries == 3
            key = {"incarnation": each.incarnation, "execution": each.execution, "event": each.event}
            assert runner.do(Try(**key)) == runner.do(Try(**key)) == APPLIED
        runner.do(about(TaskRetry, three, attempt=2, delay_us=0))
        runner.do(about(TaskRelease, four))
        assert [(each.event, each.deliveries) for each in runner.claim().tasks] == [(3, 3), (4, 3)]

    def test_only_the_owner_tries(self) -> None:
        world = self.world
        owner, other = world.worker("owner"), world.worker("other", orchestrations=[], activities=[])
        incarnation = owner.own("order").incarnation
        owner.run("order", tasks=(task(3, local=True),))
        for item in (
            Try(incarnation=incarnation),
            Try(incarnation=incarnation, execution=1, event=3),
            Try(incarnation=4_711),
            Try(incarnation=incarnation, execution=1, event=9),
        ):
            assert refused(other.do(item)) is Refusal.NOT_OWNER
        assert refused(*world.client(Try(incarnation=incarnation))) is Refusal.FENCED


class HeldTasks(Topic):
    """A task that is set aside waits for a person, and its instance goes on."""

    def _tasks_held(self) -> Worker:
        world = self.world
        worker = world.worker()
        worker.own("order")
        worker.run("order", tasks=(task(3), task(4), task(5, total_timeout_us=60 * SECOND)))
        for claimed in worker.claim().tasks:
            applied(worker.do(about_hold(claimed.incarnation, claimed.event)))
            if claimed.event == 4:
                assert _only(world, Resume(id="order", event=4)) is None
            world.clock.advance(1)
        return worker

    def test_it_is_listed_with_its_reason_and_nobody_runs_it(self) -> None:
        world = self.world
        worker = self._tasks_held()
        listed = [(each.instance_id, each.event, each.held_because) for each in world.storage.held_tasks(10)]
        assert listed == [("order", 3, "it kills"), ("order", 5, "it kills")]
        assert [each.event for each in world.storage.held_tasks(1)] == [3]
        assert [each.event for each in world.storage.held_tasks(9, world.record("order").incarnation)] == [3, 5]
        assert world.storage.held_tasks(9, 4_711) == []
        world.clock.advance(SECOND)
        later = world.worker("later")
        assert events(later.claim()) == [4]
        assert world.record("order").status is Status.RUNNING
        worker.run("order")

    def test_its_deadline_is_kept(self) -> None:
        world = self.world
        worker = self._tasks_held()
        assert events(worker.claim()) == [4]
        world.clock.advance(60 * SECOND)
        assert events(worker.claim()) == [5]

    def test_resumed_it_is_as_new(self) -> None:
        world = self.world
        worker = self._tasks_held()
        assert _only(world, Resume(id="order", event=3)) is None
        assert [each.event for each in world.storage.held_tasks(10)] == [5]
        assert [(each.event, each.deliveries) for each in worker.claim().tasks] == [(3, 1), (4, 1)]

    def test_a_decision_about_it_shows_in_its_instance_and_is_no_change_of_that(self) -> None:
        world = self.world
        self._tasks_held()
        before = world.record("order")
        world.clock.advance(SECOND)
        assert _only(world, Resume(id="order", event=3)) is None
        assert world.record("order") == replace(before, updated_at=before.updated_at + 1)
        assert _only(world, Resume(id="order")) is None
        assert world.record("order") == replace(before, updated_at=before.updated_at + 2)
        assert _only(world, Resume(id="order")) is None
        assert world.record("order") == replace(before, updated_at=before.updated_at + 2)

    def test_with_its_instance_all_are_resumed(self) -> None:
        world = self.world
        worker = self._tasks_held()
        assert _only(world, Resume(id="order")) is None
        assert world.storage.held_tasks(10) == []
        assert events(worker.claim()) == [3, 4, 5]

    def test_discarded_it_ends_with_the_outcome_that_is_given(self) -> None:
        world = self.world
        worker = self._tasks_held()
        discard = TaskDiscard(incarnation=world.record("order").incarnation, execution=1, event=3, body=b"given up")
        assert _only(world, discard) is None
        assert bodies(worker.take("order")) == [b"given up"]
        assert [each.event for each in world.storage.held_tasks(10)] == [5]
        assert _only(world, discard) is Refusal.NOT_FOUND

    def test_one_that_was_held_once_more_is_not_discarded_as_what_it_was(self) -> None:
        world = self.world
        worker = self._tasks_held()
        before = next(each for each in world.storage.held_tasks(10) if each.event == 3)
        world.clock.advance(1)
        assert _only(world, Resume(id="order", event=3)) is None
        again = next(each for each in worker.claim().tasks if each.event == 3)
        applied(worker.do(about(TaskHold, again, reason="again")))
        after = next(each for each in world.storage.held_tasks(10) if each.event == 3)
        discards = [
            TaskDiscard(incarnation=each.incarnation, execution=1, event=3, body=b"given up", held_at=each.held_at)
            for each in (before, after)
        ]
        assert [_only(world, each) for each in discards] == [Refusal.NOT_FOUND, None]
        assert bodies(worker.take("order")) == [b"given up"]

    def test_one_that_is_not_held_is_not_discarded(self) -> None:
        world = self.world
        self._tasks_held()
        incarnation = world.record("order").incarnation
        for key in ((incarnation, 1, 4), (incarnation, 2, 3), (4_711, 1, 3)):
            item = TaskDiscard(incarnation=key[0], execution=key[1], event=key[2], body=b"x")
            assert _only(world, item) is Refusal.NOT_FOUND

    def test_it_goes_with_its_instance_and_when_it_is_wanted_no_more(self) -> None:
        world = self.world
        worker = self._tasks_held()
        worker.run("order", tasks_gone=(3,))
        assert [each.event for each in world.storage.held_tasks(10)] == [5]
        worker.run("order", change=InstanceChange(status=Status.COMPLETED))
        assert world.storage.held_tasks(10) == []

    def test_only_the_owner_holds(self) -> None:
        world = self.world
        owner, other = world.worker("owner"), world.worker("other", orchestrations=[], activities=[])
        incarnation = owner.own("order").incarnation
        owner.run("order", tasks=(task(3, local=True),))
        assert refused(other.do(about_hold(incarnation, 3))) is Refusal.NOT_OWNER
        assert refused(owner.do(about_hold(incarnation, 9))) is Refusal.NOT_OWNER
        assert refused(*world.client(about_hold(incarnation, 3))) is Refusal.FENCED
        applied(owner.do(about_hold(incarnation, 3)))


def about_hold(incarnation: int, event: int) -> TaskHold:
    """Set the task of this event aside."""
    return TaskHold(incarnation=incarnation, execution=1, event=event, reason="it kills")
