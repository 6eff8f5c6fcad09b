"""While a commit is on its way to a server, turns are taken for the next one; nothing has an effect before its time."""

import pytest
from msgspec import Raw

from perdure import (
    ExternalEvent,
    OrchestrationContext,
    OutcomeUnknownError,
    Registry,
    Status,
    StorageUnavailableError,
    activity,
    orchestration,
)
from perdure._client.requests import Request
from perdure._runtime.hands import MAINTENANCE_US
from perdure._runtime.inbox import Ended
from perdure._work import (
    APPLIED,
    ActivityOutcome,
    Batch,
    Deliver,
    NewInstance,
    Raised,
    Refusal,
    Refused,
    Resume,
    Start,
    StartInstance,
    Suspend,
    Turn,
    encode_message,
    unsealed,
)
from perdure.storage.memory import MemoryStorage
from perdure.testing import ManualClock
from tests.runtime.engines import ClientOf, NoHands, deliver, make_engine, run, start

GO = ExternalEvent[str]("go")


@activity(name="pack")
async def pack() -> str:
    return "packed"


@orchestration(name="order")
async def order(ctx: OrchestrationContext) -> str:
    await ctx.schedule_activity(pack)
    return await ctx.schedule_activity(pack)


@orchestration(name="pair")
async def pair(ctx: OrchestrationContext) -> list[str]:
    first, second = ctx.schedule_activity(pack), ctx.schedule_activity(pack)
    return [await first, await second]


@orchestration(name="letters")
async def letters(ctx: OrchestrationContext) -> list[str]:
    return [await ctx.schedule_wait(GO), await ctx.schedule_wait(GO)]


@orchestration(name="slow-pack")
async def slow_pack(ctx: OrchestrationContext) -> list[str]:
    packed = ctx.schedule_activity(pack)
    return [await ctx.schedule_wait(GO), await packed]


class WaitedFor(MemoryStorage):
    """A store that has something happen while its next commit is on its way, and may break the connection then."""

    work = None
    meanwhile = None
    breaks = None
    asked = None
    """The question that takes its time the next time."""
    took = None

    def __init__(self, clock):
        super().__init__(clock)
        self.turns: list[list[int]] = []
        self.refused: list[Refused] = []

    def while_waiting(self, work, /):
        self.work = work

    def reap(self, worker, /):
        return self._answered("reap", super().reap(worker))

    def changed(self):
        return self._answered("changed", super().changed())

    def _answered(self, question, answer):
        """What is answered, if somebody works until then."""
        if self.asked == question:
            self.asked = None
            self.took = 0
            while self.work is not None and self.work() == 0:
                self.took += 1
        return answer

    def commit(self, batch, /):
        happens, self.meanwhile = self.meanwhile, None
        if happens is not None:
            happens()
            while self.work() == 0:
                pass
        breaks, self.breaks = self.breaks, None
        if breaks is StorageUnavailableError:
            raise breaks("simulated")
        committed = super().commit(batch)
        if batch.worker is not None:
            self.turns.append([item.incarnation for item in batch.items if isinstance(item, Turn)])
            self.refused += [outcome for outcome in committed.outcomes if isinstance(outcome, Refused)]
        if breaks is not None:
            raise breaks("simulated")
        return committed


class Hands(NoHands):
    """Takes activities, and lets them run until the test ends them."""

    def __init__(self) -> None:
        self.tasks = []

    def start(self, tasks):
        self.tasks += tasks

    def end(self, instance_id: str) -> Ended:
        """The oldest of an instance's activities ends."""
        task = next(each for each in self.tasks if each.instance_id == instance_id)
        self.tasks.remove(task)
        return Ended(task, ActivityOutcome(execution=task.execution, source=task.event, result=Raw(b'"packed"')))


class Worker:
    """An engine whose store is waited for, with instances that wait for their activities."""

    def __init__(self, *instances: tuple[str, str], cached_max: int = 10) -> None:
        self.clock = ManualClock()
        self.storage = WaitedFor(self.clock)
        for number, (instance_id, name) in enumerate(instances, 1):
            start(self.storage, instance_id, name, number=number)
        self.hands, self.client = Hands(), ClientOf()
        self.registry = Registry(pack, order, pair, letters, slow_pack)
        self.engine = make_engine(
            self.registry,
            self.storage,
            self.clock,
            hands=self.hands,
            inbox=self.client.inbox,
            cached_max=cached_max,
            slots=10,
        )
        self.engine.ahead.use(self.storage)
        self.storage.turns.clear()

    def put(self, *entries) -> None:
        self.client.inbox.put([*entries])

    def end(self, instance_id: str) -> None:
        self.put(self.hands.end(instance_id))

    def end_all(self) -> None:
        """Let activities end until there are none."""
        while self.hands.tasks:
            self.end(self.hands.tasks[0].instance_id)
            run(self.engine)

    def status(self, instance_id: str) -> Status:
        return self.storage.get(instance_id).status

    def output(self, instance_id: str) -> bytes:
        return unsealed(self.storage.get(instance_id).output, "output")


def test_a_turn_that_is_taken_ahead_is_in_the_next_commit_and_has_no_effect_before():
    worker = Worker(("first", "order"), ("second", "order"))
    worker.end("first")
    worker.storage.meanwhile = lambda: worker.end("second")

    worker.engine.run_once()
    between = [task.instance_id for task in worker.hands.tasks]
    due_at_once = worker.engine.delay() == 0
    worker.engine.run_once()

    assert worker.storage.turns == [[1], [2]]
    assert (between, due_at_once) == (["first"], True)
    assert [task.instance_id for task in worker.hands.tasks] == ["first", "second"]


@pytest.mark.parametrize("question", ["reap", "changed"])
def test_while_the_store_is_asked_something_turns_are_taken_for_the_next_commit(question):
    worker = Worker(("first", "order"), ("second", "order"))
    worker.clock.advance(MAINTENANCE_US)
    worker.storage.asked = question
    # What comes in once the round has begun, and so would wait for the next one.
    worker.end("first")
    worker.engine._round()  # noqa: SLF001 - without taking anything in first

    assert (worker.storage.took, worker.storage.turns) == (1, [[1]])
    assert [task.instance_id for task in worker.hands.tasks] == ["second", "first"]
    worker.end_all()
    assert (worker.status("first"), worker.status("second")) == (Status.COMPLETED, Status.COMPLETED)


def test_an_instance_takes_no_turn_while_one_of_its_own_is_on_its_way():
    worker = Worker(("order-1", "pair"))
    worker.end("order-1")
    worker.storage.meanwhile = lambda: worker.end("order-1")
    run(worker.engine)
    assert worker.status("order-1") is Status.COMPLETED
    assert (worker.storage.turns, worker.storage.refused) == ([[1], [1]], [])


@pytest.mark.parametrize("failure", [StorageUnavailableError, OutcomeUnknownError])
def test_a_turn_that_was_taken_ahead_of_a_commit_that_breaks_counts_once(failure):
    worker = Worker(("first", "order"), ("second", "order"))
    worker.end("first")
    worker.storage.meanwhile = lambda: worker.end("second")
    worker.storage.breaks = failure
    run(worker.engine)
    worker.end_all()
    # What had ended here and was lost with the worker's memory is claimed and run once more.
    assert (worker.status("first"), worker.status("second")) == (Status.COMPLETED, Status.COMPLETED)
    assert [worker.storage.get(each).last_event for each in ("first", "second")] == [6, 6]


def test_turns_ahead_of_a_commit_that_is_fenced_are_forgotten_and_who_started_something_by_them_is_answered():
    worker = Worker(("first", "order"), ("second", "order"))
    answers: list[object] = []

    def dies_for_others() -> None:
        worker.put(worker.hands.end("second"), begin("new", 7, answers))
        while worker.storage.work() == 0:
            pass
        worker.storage.unregister(worker.engine.worker)

    worker.end("first")
    worker.storage.meanwhile = dies_for_others
    run(worker.engine)
    worker.end_all()
    assert [outcome.reason for outcome in worker.storage.refused] == [Refusal.FENCED]
    assert answers == [APPLIED]
    assert {worker.status(each) for each in ("first", "second", "new")} == {Status.COMPLETED}


def test_an_event_keeps_its_place_behind_one_that_is_in_the_commit_on_its_way():
    # given a first event that goes into the store, because it is looked for work there in any case
    worker = Worker(("letters-1", "letters"), ("letters-2", "letters"))
    nobody = Deliver(to_id="nobody", body=encode_message(Raised(name="go", data=Raw(b'""'))))
    worker.put(Request(nobody, lambda _: None))
    worker.client.raise_event("letters-1", "go", "first")

    # when a second one comes while that is on its way
    worker.storage.meanwhile = lambda: worker.client.raise_event("letters-1", "go", "second")
    run(worker.engine)

    # then it comes second
    assert worker.output("letters-1") == b'["first","second"]'


def test_the_turn_of_an_instance_that_is_claimed_anew_is_not_sent_and_what_it_had_heard_is_not_lost():
    # given a turn ahead of an instance with which another worker goes on, and leaves, before the commit has arrived
    worker = Worker(("first", "order"), ("parcel-1", "slow-pack"))

    def goes_on_elsewhere() -> None:
        worker.end("parcel-1")
        while worker.storage.work() == 0:
            pass
        aside = (Suspend(id="parcel-1", reason="a look at it"), Resume(id="parcel-1"))
        worker.storage.commit(Batch(token=b"t", items=aside))
        deliver(worker.storage, "parcel-1", Raised(name="go", data=Raw(b'"on"')))
        other = make_engine(worker.registry, worker.storage, worker.clock, seed=2, hands=Hands())
        assert worker.storage.get("parcel-1").last_event == 4
        worker.storage.unregister(other.worker)
        deliver(worker.storage, "parcel-1", Raised(name="go", data=Raw(b'"of no interest"')))

    nobody = Deliver(to_id="nobody", body=b"{}")
    worker.put(Request(nobody, lambda _: None), worker.hands.end("first"))
    worker.storage.meanwhile = goes_on_elsewhere

    # when that has claimed it anew
    run(worker.engine)

    # then it goes on with what the worker had heard
    assert [outcome.reason for outcome in worker.storage.refused] == [Refusal.NOT_FOUND]
    assert worker.output("parcel-1") == b'["on","packed"]'


def test_an_instance_whose_turn_was_taken_ahead_stays_in_memory_until_that_is_durable():
    # given room for three instances, and three that were there before two others
    worker = Worker(("first", "order"), ("second", "order"), ("third", "order"), cached_max=3)

    def ends_and_starts() -> None:
        worker.put(worker.hands.end("second"), worker.hands.end("third"), begin("fourth", 4), begin("fifth", 5))

    # when all but the first of them take turns ahead
    worker.end("first")
    worker.storage.meanwhile = ends_and_starts
    worker.engine.run_once()

    # then only that one makes room
    assert [worker.engine.orchestrations.cached(number) is None for number in range(1, 6)] == [True, *[False] * 4]


def begin(instance_id: str, number: int, answers: list | None = None) -> Request:
    """A client here starts an order."""
    new = NewInstance(id=instance_id, incarnation=number, name="order", start=encode_message(Start(input=Raw(b"[]"))))
    return Request(StartInstance(new=new), [].append if answers is None else answers.append)
