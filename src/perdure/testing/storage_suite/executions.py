"""Continue-as-new: one execution ends, the next begins, and nothing that waits is lost."""

from typing import Any

from perdure._types import Status
from perdure._work import APPLIED, Batch, Deliver, InstanceChange, OutMessage, Refusal, TaskDone
from perdure.testing.storage_suite.suite import Topic
from perdure.testing.storage_suite.world import NAME, SECOND, Worker, about, bodies, events, ids, refused, row, task


class ContinueAsNew(Topic):
    """A turn with `next_start` and another `execution`."""

    def _continue(self, worker: Worker, **fields: Any) -> None:
        record = self.world.record("order")
        change = InstanceChange(execution=record.execution + 1, status=Status.RUNNING)
        worker.run("order", next_start=b"start again", change=change, **fields)

    def test_the_next_execution_begins_with_an_empty_history(self) -> None:
        world = self.world
        worker = world.worker()
        before = worker.own("order")
        self._continue(worker)
        record = world.record("order")
        assert (record.execution, record.last_event, record.owner) == (2, 0, worker.number)
        assert (record.incarnation, record.created_at) == (before.incarnation, before.created_at)
        assert bodies(worker.take("order")) == [b"start again"]
        worker.run("order", written=3)
        assert [len(world.storage.history(record.incarnation, execution)) for execution in (1, 2, 3)] == [2, 1, 0]
        assert world.record("order").last_event == 3

    def test_it_is_claimed_in_the_commit_that_makes_it(self) -> None:
        worker = self.world.worker()
        worker.own("order")
        turn = worker.turn("order", next_start=b"start again", change=InstanceChange(execution=2))
        [claimed] = worker.claim(turn).instances
        assert (claimed.record.execution, bodies(claimed)) == (2, [b"start again"])

    def test_the_start_comes_before_what_waited(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        world.deliver("order", b"unread")
        world.clock.advance(SECOND)
        self._continue(worker, consumed=())
        world.deliver("order", b"afterwards")
        assert bodies(worker.take("order")) == [b"start again", b"unread", b"afterwards"]

    def test_the_start_comes_before_a_thousand_that_waited(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("sender")
        worker.own("order")
        worker.run("sender", messages=tuple(OutMessage(to_id="order", body=b"unread") for _ in range(1_200)))
        self._continue(worker, consumed=())
        assert bodies(worker.take("order"))[0] == b"start again"

    def test_the_start_comes_before_what_a_handle_that_is_behind_sends(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        start = world.clock.advance(SECOND)
        self._continue(worker, consumed=())
        world.storage.unregister(worker.number)
        world.clock.set(start - 100)
        behind = world.worker("behind", storage=world.connect())
        if behind.storage.now() == start:
            return  # a backend with one handle for all
        behind.storage.commit(Batch(token=world.token(), items=(Deliver(to_id="order", body=b"news"),)))
        assert ids(behind.claim()) == []
        world.clock.set(start)
        assert bodies(behind.take("order")) == [b"start again", b"news"]

    def test_tasks_and_timers_of_the_ended_execution_are_gone(self) -> None:
        world = self.world
        worker = world.worker()
        other = world.worker("other", orchestrations=[])
        worker.own("order")
        worker.run("order", tasks=(task(2), task(3), task(4, local=True)), timers=((5, world.clock.now_us() + SECOND),))
        claimed = other.claim(tasks=1).tasks[0]
        self._continue(worker, tasks=(task(6),), timers=((7, 0),))
        assert refused(other.do(about(TaskDone, claimed, body=b"late"))) is Refusal.NOT_OWNER
        work = worker.claim()
        assert (events(work), bodies(work.instances[0]), work.next_due) == ([], [b"start again"], None)

    def test_outcomes_that_wait_for_the_ended_execution_are_gone_others_stay(self) -> None:
        world = self.world
        worker = world.worker()
        other = world.worker("other", orchestrations=[])
        worker.own("order")
        worker.run("order", tasks=(task(2),))
        claimed = other.claim().tasks[0]
        world.deliver("order", b"unread")
        other.do(about(TaskDone, claimed, body=b"of the old execution"))
        self._continue(worker, consumed=())
        assert bodies(worker.take("order")) == [b"start again", b"unread"]

    def test_outcomes_that_a_hold_kept_go_with_their_execution(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        worker.do(worker.hold("order", messages=(b"kept",), execution=1))
        world.clock.advance(1)
        mended = world.worker("mended")
        mended.take("order")
        self._continue(mended, consumed=())
        assert bodies(mended.take("order")) == [b"start again"]

    def test_the_same_event_number_may_be_asked_for_again(self) -> None:
        worker = self.world.worker()
        worker.own("order")
        worker.run("order", tasks=(task(2, local=True),), timers=((3, 0),))
        self._continue(worker)
        worker.take("order")
        worker.run("order", tasks=(task(2),), timers=((3, 0),))
        work = worker.claim()
        assert [(each.execution, each.event) for each in work.tasks] == [(2, 2)]
        assert work.instances[0].messages[0].timer is not None
        assert work.instances[0].messages[0].timer.execution == 2

    def test_a_turn_of_the_ended_execution_is_stale(self) -> None:
        worker = self.world.worker()
        worker.own("order")
        late = worker.turn("order")
        self._continue(worker)
        assert refused(worker.do(late)) is Refusal.STALE
        assert refused(worker.do(worker.turn("order", execution=3))) is Refusal.STALE

    def test_executions_are_isolated_and_kept(self) -> None:
        world = self.world
        worker = world.worker()
        record = worker.own("order")
        for number in range(2, 6):
            self._continue(worker)
            worker.take("order")
            worker.run("order", history=row(1, data=b"execution %d" % number))
        worker.run("order", change=InstanceChange(status=Status.COMPLETED))
        assert [world.storage.history(record.incarnation, number)[0].data for number in range(2, 6)] == [
            b"execution %d" % number for number in range(2, 6)
        ]
        assert world.storage.read_history(record.incarnation, 5) == world.storage.history(record.incarnation, 5)

    def test_the_version_may_change_with_the_execution(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        change = InstanceChange(execution=2, version="2.0.0")
        work = worker.claim(worker.turn("order", next_start=b"start again", change=change))
        assert ids(work) == []
        assert world.record("order").version == "2.0.0"
        assert world.deliver("order", b"unread") == APPLIED

    def test_without_a_version_it_is_open_again(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        self._continue(worker)
        assert world.record("order").version is None
        world.storage.unregister(worker.number)
        later = world.worker("later", orchestrations=[f"{NAME}@2.0.0"])
        assert bodies(later.take("order")) == [b"start again"]
