"""What waits for code that no live worker has is held by `reap`, with a reason that helps."""

from perdure._events import KeyLimit
from perdure._types import Status
from perdure._work import (
    APPLIED,
    InstanceChange,
    Reaped,
    Refusal,
    StartInstance,
    Suspend,
    TaskDone,
    TaskRelease,
    TaskRetry,
)
from perdure.storage.base import (
    UNKNOWN_GRACE_US,
    UNKNOWN_LOOKED_AT_MAX,
    unknown_activity_reason,
    unknown_reason,
)
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
    task,
)

LONG_US = 100 * UNKNOWN_GRACE_US
LOOKS = 6
"""How often `reap` looks here, until it has looked at all."""


class UnknownOrchestrations(Topic):
    """An instance that no live worker can run."""

    def test_what_waits_too_long_is_held_with_its_reason(self) -> None:
        world = self.world
        worker = world.worker(orchestrations=[], lease_us=LONG_US)
        world.start("order")
        world.start("open", version=None)
        world.clock.advance(UNKNOWN_GRACE_US - 1)
        assert world.storage.reap(worker.number).buried == 0
        assert world.record("order").status is Status.PENDING
        world.clock.advance(1)
        reasons = {"open": unknown_reason(NAME, None, []), "order": unknown_reason(NAME, "1.0.0", [])}
        assert world.storage.reap(worker.number) == Reaped(held=tuple(reasons.items()), workers=1)
        record = world.record("order")
        assert (record.status, record.held_because) == (Status.HELD, reasons["order"])
        assert record.updated_at == world.clock.now_us()
        assert world.record("open").held_because == reasons["open"]
        assert world.storage.reap(worker.number) == Reaped(workers=1)

    def test_the_reason_tells_the_near_names_of_live_workers(self) -> None:
        world = self.world
        known = [f"{NAME}@2.0.0", f"{NAME}s@1.0.0", "quite::another@9.9.9"]
        worker = world.worker(orchestrations=known, activities=[NAME], lease_us=LONG_US)
        world.worker("dead", orchestrations=[f"{NAME}@1.0.1"], lease_us=UNKNOWN_GRACE_US)
        world.start("order")
        world.start("open", name=f"{NAME}ly", version=None)
        world.clock.advance(UNKNOWN_GRACE_US)
        reaped = world.storage.reap(worker.number)
        assert (reaped.buried, reaped.workers, [name for name, _ in reaped.held]) == (1, 1, ["open", "order"])
        assert world.record("order").held_because == unknown_reason(NAME, "1.0.0", known)
        assert world.record("open").held_because == unknown_reason(f"{NAME}ly", None, known)

    def test_what_a_live_worker_can_run_is_not_held(self) -> None:
        world = self.world
        world.start("order")
        world.start("open", version=None)
        reaper = world.worker("reaper", orchestrations=[], lease_us=LONG_US)
        world.worker("able", lease_us=LONG_US)
        world.clock.advance(UNKNOWN_GRACE_US)
        world.storage.reap(reaper.number)
        assert {world.record(name).status for name in ("order", "open")} == {Status.PENDING}

    def test_a_worker_that_overslept_can_still_run_what_it_has(self) -> None:
        world = self.world
        worker = world.worker(lease_us=1)
        world.start("order")
        world.clock.advance(UNKNOWN_GRACE_US)
        assert world.storage.reap(worker.number).buried == 0
        assert bodies(worker.take("order")) == [b"start order"]

    def test_a_dead_worker_does_not_count(self) -> None:
        world = self.world
        world.start("order")
        reaper = world.worker("reaper", orchestrations=[], lease_us=LONG_US)
        world.worker("able", lease_us=UNKNOWN_GRACE_US)
        world.clock.advance(UNKNOWN_GRACE_US)
        assert world.storage.reap(reaper.number).buried == 1
        assert world.record("order").status is Status.HELD

    def test_what_is_owned_closed_asleep_or_held_is_left_as_it_is(self) -> None:
        world = self.world
        worker = world.worker(lease_us=UNKNOWN_GRACE_US)
        owner = world.worker("owner", lease_us=LONG_US)
        owner.own("owned")
        world.deliver("owned", b"news")
        worker.own("asleep")
        worker.run("asleep", timers=((2, world.clock.now_us() + UNKNOWN_GRACE_US),))
        worker.own("held")
        worker.do(worker.hold("held", "another reason", messages=(b"kept",)))
        reaper = world.worker("reaper", orchestrations=[], lease_us=LONG_US)
        world.clock.advance(UNKNOWN_GRACE_US)
        assert world.storage.reap(reaper.number).buried == 1
        assert world.record("owned").status is Status.RUNNING
        assert world.record("asleep").status is Status.RUNNING
        assert world.record("held").held_because == "another reason"

    def test_a_worker_that_comes_later_with_the_code_takes_it(self) -> None:
        world = self.world
        reaper = world.worker("reaper", orchestrations=[], lease_us=LONG_US)
        world.start("order")
        world.clock.advance(UNKNOWN_GRACE_US)
        world.storage.reap(reaper.number)
        world.clock.advance(1)
        assert bodies(world.worker("mended").take("order")) == [b"start order"]

    def test_however_much_waits_what_nobody_can_run_is_found_with_one_of_the_next_looks(self) -> None:
        world = self.world
        worker = world.worker(lease_us=LONG_US)
        many = UNKNOWN_LOOKED_AT_MAX + 1
        for first in ("a", "b"):
            world.client(*(StartInstance(new=world.new(f"{first}-{number}")) for number in range(many)))
            world.start(f"{first}-unknown", version="0.9.0")
            world.clock.advance(1)
        world.clock.advance(UNKNOWN_GRACE_US)
        held = [world.storage.reap(worker.number).held for _ in range(LOOKS)]
        assert [name for each in held for name, _ in each] == ["a-unknown", "b-unknown"]
        # It begins anew behind the last.
        world.start("c-unknown", version="0.9.0")
        world.clock.advance(UNKNOWN_GRACE_US)
        held = [world.storage.reap(worker.number).held for _ in range(LOOKS)]
        assert [name for each in held for name, _ in each] == ["c-unknown"]

    def test_however_many_timers_are_due_what_nobody_can_run_is_found_with_one_of_the_next_looks(self) -> None:
        world = self.world
        worker = world.worker(lease_us=LONG_US)
        worker.own("many")
        now = world.clock.now_us()
        worker.run("many", timers=tuple((event, now) for event in range(2, UNKNOWN_LOOKED_AT_MAX + 3)))
        leaves = world.worker("leaves", orchestrations=[f"{NAME}@0.9.0"], lease_us=LONG_US)
        leaves.own("unknown", version="0.9.0")
        leaves.run("unknown", timers=((2, now + 1),))
        leaves.storage.unregister(leaves.number)
        world.clock.advance(UNKNOWN_GRACE_US + 1)
        held = [world.storage.reap(worker.number).held for _ in range(LOOKS)]
        assert [name for each in held for name, _ in each] == ["unknown"]

    def test_a_reaper_without_a_row_does_nothing(self) -> None:
        world = self.world
        world.worker("dead", lease_us=1)
        world.start("order")
        world.clock.advance(UNKNOWN_GRACE_US)
        assert world.storage.reap(4_711).buried == 0
        assert world.record("order").status is Status.PENDING
        assert len(world.storage.workers()) == 1


class UnknownActivities(Topic):
    """An instance with a task that no live worker can run."""

    def _owner(self, *tasks: dict[str, object], activities: tuple[str, ...] = ()) -> Worker:
        """A worker whose instance has asked for activities, events 2, 3, ..."""
        worker = self.world.worker("owner", activities=activities, lease_us=LONG_US)
        worker.own("order")
        worker.run("order", tasks=tuple(task(event, **options) for event, options in enumerate(tasks, start=2)))
        return worker

    def _reap(self, worker: Worker, after_us: int = UNKNOWN_GRACE_US) -> str | None:
        """Why the instance is held after this time."""
        self.world.clock.advance(after_us)
        worker.storage.reap(worker.number)
        return self.world.record("order").held_because

    def test_an_instance_whose_task_waits_too_long_is_held_and_loses_its_owner(self) -> None:
        world = self.world
        worker = self._owner({})
        assert self._reap(worker, UNKNOWN_GRACE_US - 1) is None
        assert world.record("order").owner == worker.number
        assert self._reap(worker, 1) == unknown_activity_reason(CHARGE, [])
        record = world.record("order")
        assert (record.status, record.owner, record.updated_at) == (Status.HELD, None, world.clock.now_us())

    def test_however_many_wait_the_one_behind_them_is_found_with_one_of_the_next_looks(self) -> None:
        world = self.world
        worker = self._owner()
        many = range(2, UNKNOWN_LOOKED_AT_MAX + 3)
        # What is looked at first has waited for the shortest time.
        for name in ("more", "many"):
            worker.own(name)
            worker.run(name, tasks=tuple(task(event, name=name) for event in many))
            applied(world.client(Suspend(id=name))[0])
            worker.own(f"behind {name}")
            worker.run(f"behind {name}", tasks=(task(2, name=name),))
            world.clock.advance(1)
        world.clock.advance(UNKNOWN_GRACE_US)
        held = [world.storage.reap(worker.number).held for _ in range(LOOKS)]
        assert sorted(name for each in held for name, _ in each) == ["behind many", "behind more"]
        # It begins anew behind the last.
        worker.own("behind all")
        worker.run("behind all", tasks=(task(2, name="many"),))
        world.clock.advance(UNKNOWN_GRACE_US)
        held = [world.storage.reap(worker.number).held for _ in range(LOOKS)]
        assert [name for each in held for name, _ in each] == ["behind all"]

    def test_a_task_with_a_limit_is_no_other(self) -> None:
        worker = self._owner({"limit": KeyLimit("smtp", 1, None, SECOND)})
        assert self._reap(worker) == unknown_activity_reason(CHARGE, [])

    def test_a_task_with_a_tag_is_no_other(self) -> None:
        worker = self._owner({"tag": "gpu"})
        assert self._reap(worker) == unknown_activity_reason(CHARGE, [])

    def test_the_former_owner_is_refused_and_its_own_tasks_stay_its_own(self) -> None:
        world = self.world
        worker = self._owner({}, {"local": True})
        turn = worker.turn("order")
        self._reap(worker)
        assert refused(worker.do(turn)) is Refusal.NOT_OWNER
        assert refused(worker.do(worker.hold("order"))) is Refusal.NOT_OWNER
        own = TaskDone(incarnation=turn.incarnation, execution=1, event=3, body=b"charged")
        assert worker.do(own) == APPLIED
        assert ids(worker.claim()) == []
        world.clock.advance(1)
        assert bodies(world.worker("mended").take("order")) == [b"charged"]

    def test_it_is_held_whoever_owns_it_and_whoever_reaps(self) -> None:
        world = self.world
        owner = self._owner({})
        reaper = world.worker("reaper", orchestrations=[], activities=[], lease_us=LONG_US)
        assert self._reap(reaper) is not None
        assert ids(owner.claim()) == []

    def test_the_task_stays_for_a_worker_that_has_it_and_its_outcome_wakes_the_instance(self) -> None:
        world = self.world
        worker = self._owner({})
        self._reap(worker)
        world.clock.advance(1)
        able = world.worker("able")
        assert ids(able.claim(tasks=0)) == []
        claimed = able.take_task(2)
        assert (claimed.attempt, claimed.deliveries) == (1, 1)
        applied(able.do(about(TaskDone, claimed, body=b"charged")))
        assert ids(worker.claim()) == []
        assert bodies(able.take("order")) == [b"charged"]
        able.run("order")
        record = world.record("order")
        assert (record.status, record.held_because) == (Status.RUNNING, None)

    def test_the_reason_tells_the_near_activities_of_live_workers(self) -> None:
        world = self.world
        known = (f"{CHARGE}s", "something else")
        worker = self._owner({}, activities=known)
        world.worker("dead", orchestrations=[CHARGE], activities=[CHARGE, f"{CHARGE}d"], lease_us=UNKNOWN_GRACE_US)
        assert self._reap(worker) == unknown_activity_reason(CHARGE, known)

    def test_the_task_that_waits_longest_is_told(self) -> None:
        world = self.world
        worker = self._owner({"name": "b"}, {"name": "c"})
        world.clock.advance(1)
        worker.run("order", tasks=(task(10, name="a"),))
        assert self._reap(worker) == unknown_activity_reason("b", [])

    def test_a_name_or_version_that_is_unknown_too_is_told_first(self) -> None:
        world = self.world
        worker = self._owner({})
        world.deliver("order", b"news")
        world.storage.unregister(worker.number)
        reaper = world.worker("reaper", orchestrations=["other@1.0.0"], lease_us=LONG_US, activities=[])
        assert self._reap(reaper) == unknown_reason(NAME, "1.0.0", ["other@1.0.0"])

    def test_what_a_live_worker_has_is_not_held(self) -> None:
        worker = self._owner({})
        self.world.worker("able", orchestrations=[], lease_us=LONG_US)
        assert self._reap(worker) is None
        assert self._reap(worker, LONG_US // 2) is None

    def test_a_worker_that_overslept_can_still_run_its_activities(self) -> None:
        worker = self.world.worker(lease_us=1)
        worker.own("order")
        worker.run("order", tasks=(task(2),))
        assert self._reap(worker) is None
        assert events(worker.claim()) == [2]

    def test_a_task_that_somebody_runs_does_not_wait(self) -> None:
        world = self.world
        worker = self._owner({})
        able = world.worker("able", orchestrations=[], lease_us=LONG_US)
        able.take_task(2)
        world.clock.advance(UNKNOWN_GRACE_US)
        world.storage.unregister(able.number)
        assert self._reap(worker, UNKNOWN_GRACE_US - 1) is None
        assert self._reap(worker, 1) == unknown_activity_reason(CHARGE, [])

    def test_what_a_dead_worker_leaves_waits_from_then_on(self) -> None:
        world = self.world
        worker = self._owner({})
        world.worker("able", orchestrations=[], lease_us=UNKNOWN_GRACE_US).take_task(2)
        assert self._reap(worker) is None
        assert len(world.storage.workers()) == 1
        assert self._reap(worker, UNKNOWN_GRACE_US - 1) is None
        assert self._reap(worker, 1) == unknown_activity_reason(CHARGE, [])

    def test_what_is_put_off_waits_from_then_on(self) -> None:
        world = self.world
        worker = self._owner({}, {"name": "refund"})
        able = world.worker("able", orchestrations=[], activities=[CHARGE, "refund"], lease_us=LONG_US)
        first, second = able.claim().tasks
        able.do(about(TaskRetry, first, attempt=2, delay_us=2 * SECOND))
        able.do(about(TaskRelease, second, delay_us=SECOND))
        world.storage.unregister(able.number)
        assert self._reap(worker, SECOND + UNKNOWN_GRACE_US - 1) is None
        assert self._reap(worker, 1) == unknown_activity_reason("refund", [])

    def test_what_is_too_late_goes_to_anybody_instead(self) -> None:
        worker = self._owner({"total_timeout_us": UNKNOWN_GRACE_US}, {"schedule_to_start_us": UNKNOWN_GRACE_US})
        assert self._reap(worker) is None
        assert events(worker.claim()) == [2, 3]

    def test_what_has_a_time_to_start_in_is_not_held_and_ends_by_that(self) -> None:
        world = self.world
        worker = self._owner({"schedule_to_start_us": LONG_US // 2})
        assert self._reap(worker) is None
        assert events(worker.claim()) == []
        assert self._reap(worker, LONG_US // 2 - UNKNOWN_GRACE_US) is None
        assert worker.take_task(2).start_by == world.clock.now_us()

    def test_what_has_started_in_time_once_is_held_as_any_other(self) -> None:
        world = self.world
        worker = self._owner({"schedule_to_start_us": LONG_US // 2})
        world.worker("able", orchestrations=[], lease_us=UNKNOWN_GRACE_US).take_task(2)
        assert self._reap(worker) is None
        assert self._reap(worker) == unknown_activity_reason(CHARGE, [])

    def test_a_deadline_that_is_not_over_yet_does_not_help(self) -> None:
        world = self.world
        worker = self._owner({"total_timeout_us": UNKNOWN_GRACE_US + 1})
        assert self._reap(worker) == unknown_activity_reason(CHARGE, [])
        world.clock.advance(1)
        assert worker.take_task(2).deadline == world.clock.now_us()

    def test_held_closed_and_suspended_instances_are_left_as_they_are(self) -> None:
        world = self.world
        worker = self._owner({})
        applied(worker.do(worker.hold("order", "another reason")))
        worker.own("suspended")
        worker.run("suspended", tasks=(task(2),), change=InstanceChange(status=Status.SUSPENDED))
        worker.own("closed")
        worker.run("closed", tasks=(task(2),), change=InstanceChange(status=Status.FAILED))
        assert self._reap(worker) == "another reason"
        assert world.record("suspended").status is Status.SUSPENDED
        assert world.record("closed").status is Status.FAILED

    def test_a_turn_without_the_code_leads_to_another_hold(self) -> None:
        world = self.world
        worker = self._owner({})
        self._reap(worker)
        world.deliver("order", b"news")
        world.clock.advance(1)
        unable = world.worker("unable", activities=[], lease_us=LONG_US)
        unable.take("order")
        unable.run("order")
        assert world.record("order").status is Status.RUNNING
        assert self._reap(unable, 0) == unknown_activity_reason(CHARGE, [])
