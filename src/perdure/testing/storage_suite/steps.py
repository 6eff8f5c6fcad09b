"""Batches of nothing but turns that begin with an activity, go from one to the next, or complete.

A busy worker commits hardly anything else, so backends have a shorter way for them: each test has one that is not as
the others are.
"""

from typing import Any

from perdure._types import Status
from perdure._work import APPLIED, InstanceChange, Outcome, Query, Refusal, Suspend, Turn
from perdure.testing.storage_suite.suite import Topic
from perdure.testing.storage_suite.world import Worker, applied, bodies, events, refused, row, task

_COMPANY = 5
"""So many others are in the batch, that nobody may take it for a small one."""


class Steps(Topic):
    """Each stands for itself."""

    def _ready(self, worker: Worker, instance_id: str, *, local: bool = True) -> None:
        worker.own(instance_id)
        worker.run(instance_id, tasks=(task(2, local=local),))

    def _step(self, worker: Worker, instance_id: str, base: int = 2, **fields: Any) -> Turn:
        defaults: dict[str, Any] = {
            "base": base,
            "history": row(base + 1, base + 2),
            "consumed": (),
            "tasks": (task(base + 2, local=True),),
            "tasks_gone": (2,),
        }
        return worker.turn(instance_id, **defaults | fields)

    def _end(self, worker: Worker, instance_id: str, base: int = 2, **fields: Any) -> Turn:
        change = InstanceChange(status=Status.COMPLETED, output=b"out")
        return self._step(worker, instance_id, base, tasks=(), change=change, **fields)

    def _in_company(self, worker: Worker, turn: Turn, others: str = "other") -> Outcome:
        """The outcome of a turn in the middle of a batch whose other turns land, as do their next ones."""
        return self._between(worker, turn, [f"{others} {number}" for number in range(_COMPANY)])

    def _between(self, worker: Worker, turn: Turn, others: list[str]) -> Outcome:
        for other in others:
            self._ready(worker, other)
        turns = [self._step(worker, other) for other in others]
        outcomes = worker.commit(*turns[:2], turn, *turns[2:]).outcomes
        assert [*outcomes[:2], *outcomes[3:]] == [APPLIED] * _COMPANY
        turns = [self._step(worker, other, base=4, tasks_gone=(4,)) for other in others]
        assert worker.commit(*turns).outcomes == (APPLIED,) * _COMPANY
        for other in others:
            record = self.world.record(other)
            assert (record.last_event, record.status, record.owner) == (6, Status.RUNNING, worker.number)
            assert [each.last for each in self.world.storage.history(record.incarnation, 1)] == [1, 2, 4, 6]
            assert [each.event for each in self.world.storage.open_tasks(record.incarnation, 9)] == [6]
        return outcomes[2]

    def test_all_of_them_land(self) -> None:
        worker = self.world.worker()
        self._ready(worker, "done")
        assert self._in_company(worker, self._end(worker, "done")) == APPLIED
        record = self.world.record("done")
        assert (record.status, record.owner, record.last_event) == (Status.COMPLETED, None, 4)
        assert record.output == b"out"
        assert self.world.storage.open_tasks(record.incarnation, 9) == []

    def test_one_may_begin(self) -> None:
        worker = self.world.worker()
        new = self.world.new("new", version=None, attributes=b'{"a":1}')
        first = worker.first_turn(new, written=2, tasks=(task(2, local=True),), change=InstanceChange(version="1.0.0"))
        assert self._in_company(worker, first) == APPLIED
        record = self.world.record("new")
        assert (record.status, record.owner, record.last_event) == (Status.RUNNING, worker.number, 2)
        assert (record.name, record.version, record.root) == (new.name, "1.0.0", "new")
        assert record.attributes == b'{"a":1}'
        assert record.created_at == record.updated_at == self.world.clock.now_us()
        assert [each.event for each in self.world.storage.open_tasks(record.incarnation, 9)] == [2]
        assert worker.do(self._step(worker, "new")) == APPLIED

    def test_what_is_gone_is_not_made_again(self) -> None:
        worker = self.world.worker()
        for instance_id in ("gone", "gone too"):
            self._ready(worker, instance_id)
        turns = self._step(worker, "gone"), self._end(worker, "gone too")
        for instance_id in ("gone", "gone too"):
            applied(self.world.delete(instance_id, force=True))
        assert refused(self._in_company(worker, turns[0])) is Refusal.NOT_OWNER
        assert refused(self._in_company(worker, turns[1], "more")) is Refusal.NOT_OWNER
        assert len(self.world.storage.find(Query())[0]) == 2 * _COMPANY

    def test_another_workers_is_refused(self) -> None:
        worker, other = self.world.worker(), self.world.worker("other")
        for instance_id, turn in (("theirs", self._step), ("theirs too", self._end)):
            self._ready(other, instance_id)
            outcome = self._in_company(worker, turn(worker, instance_id), f"beside {instance_id}")
            assert refused(outcome) is Refusal.NOT_OWNER
            record = self.world.record(instance_id)
            assert (record.last_event, record.status) == (2, Status.RUNNING)

    def test_a_stale_one_is_refused(self) -> None:
        worker = self.world.worker()
        stale: tuple[tuple[str, Any, dict[str, int]], ...] = (
            ("goes on", self._step, {"base": 4}),
            ("completes", self._end, {"base": 4}),
            ("is another execution", self._step, {"execution": 2}),
        )
        for instance_id, turn, fields in stale:
            # Each has an instance of its own: backends may remember of which they were mistaken.
            self._ready(worker, instance_id)
            outcome = self._in_company(worker, turn(worker, instance_id, **fields), f"beside what {instance_id}")
            assert refused(outcome) is Refusal.STALE
            record = self.world.record(instance_id)
            assert (record.last_event, record.status) == (2, Status.RUNNING)

    def test_what_is_set_aside_does_not_go_on(self) -> None:
        worker = self.world.worker()
        self._ready(worker, "order")
        self.world.client(Suspend(id="order"))
        assert refused(self._in_company(worker, self._step(worker, "order"))) is Refusal.NOT_OWNER
        assert self.world.record("order").status is Status.SUSPENDED

    def test_a_taken_id_is_refused(self) -> None:
        worker = self.world.worker()
        self._ready(worker, "order")
        second = worker.first_turn(self.world.new("order"), written=2, tasks=(task(2, local=True),))
        assert refused(self._in_company(worker, second)) is Refusal.EXISTS
        assert self.world.record("order").last_event == 2

    def test_one_of_which_two_activities_run_goes_on_beside_the_other(self) -> None:
        worker = self.world.worker()
        worker.own("order")
        worker.run("order", written=2, tasks=(task(2, local=True), task(3, local=True)))
        step = self._step(worker, "order", base=3, tasks=(task(5, local=True),), tasks_gone=(3,))
        assert self._in_company(worker, step) == APPLIED
        incarnation = self.world.record("order").incarnation
        assert [each.event for each in self.world.storage.open_tasks(incarnation, 9)] == [2, 5]

    def test_the_activity_of_one_may_be_for_others(self) -> None:
        worker = self.world.worker()
        self._ready(worker, "order")
        assert self._in_company(worker, self._step(worker, "order", tasks=(task(4),))) == APPLIED
        assert events(self.world.worker("other").claim()) == [4]

    def test_nothing_waits_for_one_that_completes(self) -> None:
        world = self.world
        worker = world.worker()
        self._ready(worker, "done")
        world.deliver("done", b"late")
        assert self._in_company(worker, self._end(worker, "done")) == APPLIED
        assert world.storage.depths().messages == 0

    def test_messages_wait_for_one_that_goes_on(self) -> None:
        worker = self.world.worker()
        self._ready(worker, "order")
        self.world.deliver("order", b"news")
        assert self._in_company(worker, self._step(worker, "order")) == APPLIED
        assert bodies(worker.take("order")) == [b"news"]

    def test_the_end_of_one_is_judged_alone_too(self) -> None:
        world = self.world
        worker, other = world.worker(), world.worker("other")
        for owner, instance_id in ((worker, "good"), (worker, "late"), (other, "theirs")):
            self._ready(owner, instance_id)
        assert refused(worker.do(self._end(worker, "theirs"))) is Refusal.NOT_OWNER
        assert refused(worker.do(self._end(worker, "late", base=4))) is Refusal.STALE
        assert refused(worker.do(self._end(worker, "late", execution=2))) is Refusal.STALE
        for instance_id in ("late", "theirs"):
            record = world.record(instance_id)
            assert (record.last_event, record.status) == (2, Status.RUNNING)
        assert worker.do(self._end(worker, "good")) == APPLIED
        record = world.record("good")
        assert (record.status, record.owner, record.last_event, record.output) == (Status.COMPLETED, None, 4, b"out")
        assert [each.last for each in world.storage.history(record.incarnation, 1)] == [1, 2, 4]
        assert refused(worker.do(self._end(worker, "good", base=4))) is Refusal.NOT_OWNER

    def test_nothing_waits_for_one_that_completes_alone(self) -> None:
        world = self.world
        worker = world.worker()
        self._ready(worker, "told")
        world.deliver("told", b"late")
        worker.own("beside")
        worker.run("beside", written=2, tasks=(task(2, local=True), task(3, local=True)), timers=((3, 0),))
        assert worker.do(self._end(worker, "told")) == APPLIED
        assert worker.do(self._end(worker, "beside", base=3)) == APPLIED
        assert (world.storage.depths().messages, world.storage.depths().timers) == (0, 0)
        assert world.storage.open_tasks(world.record("beside").incarnation, 9) == []
