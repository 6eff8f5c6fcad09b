"""What workers died with is tried so that a death counts against nothing but what was tried when it came."""

import pytest
from msgspec import Raw

from perdure import ExternalEvent, OrchestrationContext, Registry, activity, orchestration
from perdure._runtime.dispatcher import Engine
from perdure._runtime.inbox import Ended
from perdure._runtime.suspects import TRIAL_US
from perdure._work import ActivityOutcome, Batch, Claim, ClaimedTask, Raised, Try
from perdure.storage.base import LEASE_US, SUSPECT_DELIVERIES
from perdure.storage.memory import MemoryStorage
from perdure.testing import ManualClock
from tests.runtime.engines import ClientOf, NoHands, deliver, make_engine, run, start

GO = ExternalEvent[str]("go")
SECOND = 1_000_000
ALONE = SUSPECT_DELIVERIES + 1


@activity(name="work")
async def work() -> None:
    raise AssertionError("the hands of these tests call nothing")


@orchestration(name="order")
async def order(ctx: OrchestrationContext) -> None:
    await ctx.schedule_activity(work)


@orchestration(name="both")
async def both(ctx: OrchestrationContext) -> None:
    working = ctx.schedule_activity(work)
    await ctx.schedule_wait(GO)
    await working


class Hands(NoHands):
    """Keeps what was begun."""

    def __init__(self):
        self.begun: list[ClaimedTask] = []

    def start(self, tasks):
        self.begun += tasks


class World:
    """A store with activities that workers died with, and a worker that takes them."""

    def __init__(self) -> None:
        self.clock, self.hands, self.client = ManualClock(), Hands(), ClientOf()
        self.storage = MemoryStorage(self.clock)
        self.made = 0

        @orchestration(name="long")
        async def long(ctx: OrchestrationContext) -> None:
            await ctx.schedule_wait(GO)
            self.clock.advance(TRIAL_US)

        self.registry = Registry(work, order, both, long)

    # -- what there is ---------------------------------------------------------------------------------------------

    def make(self, name: str, *instance_ids: str) -> None:
        """Start instances."""
        for instance_id in instance_ids:
            self.made += 1
            start(self.storage, instance_id, name, number=self.made)

    def suspect(self, name: str = "order", /, **deliveries: int) -> None:
        """Instances whose activity has been delivered so often."""
        self.make(name, *deliveries)
        make_engine(self.registry, self.storage, self.clock, hands=Hands(), slots=9)
        self.clock.advance(LEASE_US)
        self._die({task_id: count - 2 for task_id, count in deliveries.items()})

    def suspect_instance(self, instance_id: str) -> None:
        """One whose first turn is to be tried alone."""
        self.make("order", instance_id)
        for _ in range(SUSPECT_DELIVERIES - 1):
            self._die({})
        worker = self._victim()
        self.storage.commit(Batch(token=b"t", items=(Try(incarnation=self.made),), worker=worker))
        self.clock.advance(SECOND)

    def _victim(self) -> int:
        activities = ["work"]
        orchestrations = [f"{name}@1.0.0" for name in ("order", "both", "long")]
        worker = self.storage.register(
            name="victim", orchestrations=orchestrations, activities=activities, lease_us=SECOND
        ).worker
        self.storage.reap(worker)
        batch = Batch(token=b"t", items=(), worker=worker, claim=Claim(instances_max=99, tasks_max=99))
        self.claimed = self.storage.commit(batch).work
        return worker

    def _die(self, tries: dict[str, int]) -> None:
        """A worker takes what there is, tries so often, and dies."""
        worker = self._victim()
        items = [
            Try(incarnation=task.incarnation, execution=task.execution, event=task.event)
            for task in self.claimed.tasks
            for _ in range(tries.get(task.instance_id, 0))
        ]
        self.storage.commit(Batch(token=b"t", items=tuple(items), worker=worker))
        self.clock.advance(SECOND)

    # -- the worker ------------------------------------------------------------------------------------------------

    def worker(self) -> Engine:
        """A worker that has looked at what there is."""
        self.engine = make_engine(
            self.registry, self.storage, self.clock, inbox=self.client.inbox, hands=self.hands, slots=9
        )
        return self.engine

    def run(self) -> None:
        run(self.engine)

    @property
    def begun(self) -> list[str]:
        return [task.instance_id for task in self.hands.begun]

    def end(self, instance_id: str) -> None:
        """The worker's inbox says that an activity has ended."""
        [task] = [task for task in self.hands.begun if task.instance_id == instance_id]
        outcome = ActivityOutcome(execution=task.execution, source=task.event, result=Raw(b"null"))
        self.client.inbox.put([Ended(task, outcome)])

    def left(self) -> dict[str, int]:
        """After the worker has died: the activities that are left, and how often they were delivered."""
        self.clock.advance(LEASE_US)
        self._victim()
        return {task.instance_id: task.deliveries for task in self.claimed.tasks}


@pytest.fixture
def world():
    return World()


def test_what_is_tried_together_begins_at_once_and_what_is_tried_alone_one_by_one(world):
    world.suspect(first=ALONE, second=ALONE)
    world.worker()
    assert world.begun == ["first"]

    world.end("first")
    world.run()

    assert world.begun == ["first", "second"]
    assert world.left() == {"second": ALONE + 1}


def test_nothing_is_tried_alone_while_what_is_tried_together_runs(world):
    world.suspect(together=SUSPECT_DELIVERIES, alone=ALONE)
    world.worker()
    world.clock.advance(2 * TRIAL_US)
    world.run()
    assert world.begun == ["together"]

    world.end("together")
    world.run()

    assert world.begun == ["together", "alone"]


def test_what_came_along_and_nobody_suspects_may_kill_before_anything_is_tried_alone(world):
    world.suspect(alone=ALONE)
    world.make("order", "new")

    world.worker()

    assert world.begun == ["new"]
    assert world.left() == {"new": 2, "alone": ALONE}


def test_an_instance_is_not_tried_alone_either_while_others_have_just_begun(world):
    world.suspect_instance("alone")
    world.make("order", "new")
    world.worker()
    assert world.begun == ["new"]

    world.clock.advance(TRIAL_US)
    world.run()

    assert world.begun == ["new", "alone"]


def test_what_a_tried_turn_asks_for_may_kill_before_an_activity_is_tried_alone(world):
    world.suspect(alone=ALONE)
    world.suspect_instance("instance")
    world.make("order", "new")
    world.worker()
    world.clock.advance(TRIAL_US)
    world.run()
    assert world.begun == ["new", "instance"]

    world.clock.advance(TRIAL_US)
    world.run()

    assert world.begun == ["new", "instance", "alone"]


def test_nobody_waits_longer_to_be_tried_alone_than_what_kills_mostly_takes(world):
    world.suspect(alone=ALONE)
    world.make("order", "new")
    world.worker()

    world.clock.advance(TRIAL_US - 1)
    world.run()
    assert world.begun == ["new"]
    world.clock.advance(1)
    assert world.engine.delay() == 0
    world.run()

    assert world.begun == ["new", "alone"]


def test_nobody_waits_to_be_tried_alone_when_nothing_else_is_left(world):
    world.suspect(alone=ALONE)
    world.make("order", "new")
    world.worker()

    world.end("new")
    world.run()

    assert world.begun == ["new", "alone"]


def test_messages_for_an_instance_that_waits_to_be_tried_alone_put_it_off_no_further(world):
    world.suspect_instance("alone")
    world.make("order", "new")
    world.worker()
    world.clock.advance(TRIAL_US - 1)
    deliver(world.storage, "alone", Raised(name="go", data=Raw(b'"on"')))
    world.run()
    assert world.begun == ["new"]

    world.clock.advance(1)
    world.run()

    assert world.begun == ["new", "alone"]


def test_who_was_tried_alone_less_often_is_first(world):
    world.suspect(twice=ALONE + 1, never=ALONE)

    world.worker()

    assert world.begun == ["never"]


def test_a_worker_that_is_killed_from_outside_counts_against_what_it_tried_alone_and_nothing_else(world):
    world.suspect(first=ALONE, second=ALONE)
    tried = []
    for _ in range(3):
        world.worker()
        tried += world.begun
        world.hands.begun.clear()
        world.clock.advance(LEASE_US)
    assert tried == ["first", "second", "first"]

    world.worker()

    assert world.begun == ["second"]
    [held] = world.storage.held_tasks(9)
    assert held.instance_id == "first"
    assert "5 workers died while they ran the activity work, at last while it was tried alone" in held.held_because
    assert "if something else has ended them (kill -9, a machine that went down), retry it" in held.held_because


def test_how_it_ended_is_in_the_store_before_the_next_is_tried(world):
    world.suspect("both", cached=ALONE, other=ALONE)
    busy = [f"long-{number}" for number in range(4)]
    world.make("long", *busy)
    deliver(world.storage, "cached", Raised(name="go", data=Raw(b'"on"')))
    world.worker()
    world.run()
    assert world.begun == ["cached"]

    for instance_id in busy:
        world.client.raise_event(instance_id, "go", "on")
    world.end("cached")
    world.engine.run_once()

    assert world.begun == ["cached", "other"]
    assert world.left() == {"other": ALONE + 1}


def test_nothing_is_tried_any_more_when_the_worker_is_about_to_end(world):
    world.suspect(alone=ALONE)
    world.make("order", "new")
    world.worker()

    world.engine.draining = True
    world.clock.advance(TRIAL_US)
    assert world.engine.delay() > 0
    world.run()

    assert world.begun == ["new"]
    assert world.left()["alone"] == ALONE
