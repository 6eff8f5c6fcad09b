"""What can't go on is set aside, visible, with everything that waits for it, until somebody can run it."""

from msgspec.structs import replace

from perdure._types import Status
from perdure._work import APPLIED, Batch, Claim, Deliver, InstanceChange, Refusal, Refused, Resume, TaskDone
from perdure.testing.storage_suite.suite import Topic
from perdure.testing.storage_suite.world import NAME, SECOND, Worker, about, applied, bodies, events, ids, refused, task


class Holds(Topic):
    """An instance that its worker sets aside."""

    def _held(self) -> Worker:
        worker = self.world.worker()
        worker.own("order")
        self.world.deliver("order", b"news")
        self.world.clock.advance(SECOND)
        applied(worker.do(worker.hold("order", "history and code differ")))
        return worker

    def test_a_held_instance_shows_why(self) -> None:
        self._held()
        record = self.world.record("order")
        assert (record.status, record.held_because, record.owner) == (Status.HELD, "history and code differ", None)
        assert record.updated_at == self.world.clock.now_us()

    def test_workers_that_were_there_leave_it_alone(self) -> None:
        worker = self._held()
        work = worker.claim()
        assert (ids(work), work.more, work.next_due) == ([], False, None)

    def test_a_worker_that_registers_in_the_same_moment_takes_it(self) -> None:
        self._held()
        assert ids(self.world.worker("mended").claim()) == ["order"]

    def test_a_worker_that_came_after_the_one_that_held_it_takes_it(self) -> None:
        world = self.world
        worker, mended = world.worker("old"), world.worker("mended")
        worker.own("order")
        world.deliver("order", b"news")
        applied(worker.do(worker.hold("order")))
        assert ids(worker.claim()) == []
        assert bodies(mended.take("order")) == [b"news"]

    def test_it_goes_from_one_to_the_next_and_never_back(self) -> None:
        world = self.world
        workers = [world.worker(f"worker {number}") for number in range(3)]
        workers[0].own("order")
        world.deliver("order", b"news")
        for place, worker in enumerate(workers):
            applied(worker.do(worker.hold("order")))
            takers = [other for other in workers if ids(other.claim())]
            assert takers == workers[place + 1 : place + 2]

    def test_a_clock_that_is_set_back_keeps_nobody_from_taking_it(self) -> None:
        world = self.world
        self._held()
        world.clock.set(world.clock.now_us() - 100 * SECOND)
        mended = world.connect()
        record = mended.register(name="mended", orchestrations=[f"{NAME}@1.0.0"], activities=[])
        world.clock.set(world.clock.now_us() + 200 * SECOND)
        work = mended.commit(
            Batch(token=world.token(), items=(), worker=record.worker, claim=Claim(instances_max=9, tasks_max=9))
        ).work
        assert work is not None
        assert ids(work) == ["order"]

    def test_who_comes_when_all_others_have_gone_takes_it(self) -> None:
        worker = self._held()
        self.world.storage.unregister(worker.number)
        assert ids(self.world.worker("mended").claim()) == ["order"]

    def test_a_worker_that_comes_later_takes_it_with_its_messages(self) -> None:
        world = self.world
        self._held()
        world.deliver("order", b"more news")
        world.clock.advance(1)
        mended = world.worker("mended")
        claimed = mended.take("order")
        assert claimed.record.status is Status.HELD
        assert bodies(claimed) == [b"news", b"more news"]
        mended.run("order")
        record = world.record("order")
        assert (record.status, record.held_because) == (Status.RUNNING, None)

    def test_a_later_worker_without_its_code_does_not(self) -> None:
        self._held()
        self.world.clock.advance(1)
        assert ids(self.world.worker(orchestrations=[f"{NAME}@9.0.0"]).claim()) == []

    def test_held_again_it_waits_for_yet_another_worker(self) -> None:
        world = self.world
        self._held()
        world.clock.advance(1)
        mended = world.worker("mended")
        mended.take("order")
        applied(mended.do(mended.hold("order", "still differ")))
        assert ids(mended.claim()) == []
        world.clock.advance(1)
        assert ids(world.worker("mended again").claim()) == ["order"]

    def test_a_closing_turn_ends_a_hold(self) -> None:
        world = self.world
        worker = self._held()
        world.deliver("order", b"terminate", control=True)
        worker.take("order")
        worker.run("order", change=InstanceChange(status=Status.TERMINATED))
        record = world.record("order")
        assert (record.status, record.held_because) == (Status.TERMINATED, None)

    def test_outcomes_in_memory_become_messages(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        worker.run("order", tasks=(task(2, local=True), task(3, local=True)))
        applied(worker.do(worker.hold("order", messages=(b"charged",), tasks_gone=(2, 99))))
        late = TaskDone(incarnation=world.record("order").incarnation, execution=1, event=2, body=b"again")
        assert refused(worker.do(late)) is Refusal.NOT_OWNER
        world.clock.advance(1)
        assert bodies(world.worker("mended").take("order")) == [b"charged"]

    def test_what_it_takes_in_is_gone_and_nothing_else(self) -> None:
        world = self.world
        worker = world.worker()
        for name in ("order", "other"):
            worker.own(name)
            for body, control in ((b"torn", True), (b"news", False)):
                world.deliver(name, body, control=control)
        taken = {name: worker.take(name).messages for name in ("order", "other")}
        torn, foreign = (next(each.seq for each in taken[name] if each.body == b"torn") for name in ("order", "other"))
        applied(worker.do(worker.hold("order", consumed=(torn, foreign, 99_999))))
        assert ids(worker.claim()) == ["other"]
        assert bodies(worker.take("other")) == [b"torn", b"news"]
        assert bodies(world.worker("mended").take("order")) == [b"news"]

    def test_what_is_for_it_while_it_is_held_is_refused_when_it_is_not(self) -> None:
        world = self.world
        worker = world.worker()
        incarnation = worker.own("order").incarnation
        message = Deliver(
            to_id="order", body=b"terminate", control=True, incarnation=incarnation, if_held=True, dedup_key="once"
        )
        assert world.client(message) == (Refused(reason=Refusal.NOT_HELD),)
        worker.do(worker.hold("order"))
        assert world.client(replace(message, incarnation=incarnation + 1)) == (Refused(reason=Refusal.NOT_FOUND),)
        assert world.client(message, Resume(id="order"), message, replace(message, dedup_key=None)) == (
            APPLIED,
            APPLIED,
            APPLIED,
            Refused(reason=Refusal.NOT_HELD),
        )
        assert bodies(worker.take("order")) == [b"terminate"]
        worker.run("order", change=InstanceChange(status=Status.TERMINATED))
        assert world.client(replace(message, dedup_key=None)) == (Refused(reason=Refusal.CLOSED),)

    def test_its_activities_go_on(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        worker.run("order", tasks=(task(2), task(3)))
        claimed = worker.claim(tasks=1).tasks[0]
        worker.do(worker.hold("order"))
        assert worker.do(about(TaskDone, claimed, body=b"charged")) == APPLIED
        assert events(worker.claim()) == [3]
        world.clock.advance(1)
        assert bodies(world.worker("mended").take("order")) == [b"charged"]

    def test_an_instance_that_was_never_committed_can_be_held(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("seen")
        new = world.new("order")
        hold = worker.hold("seen", create=new)
        assert worker.do(hold) == APPLIED
        assert world.record("order").status is Status.HELD
        world.clock.advance(1)
        assert bodies(world.worker("mended").take("order")) == [b"start order"]

    def test_a_hold_is_refused_like_a_turn(self) -> None:
        world = self.world
        worker, other = world.worker("worker"), world.worker("other")
        taken = worker.own("order")
        assert refused(other.do(other.hold("order"))) is Refusal.NOT_OWNER
        again = worker.hold("order", create=world.new("order"))
        assert worker.do(again) == Refused(reason=Refusal.EXISTS, existing=taken)
        clash = worker.hold("order", create=world.new("other", incarnation=taken.incarnation))
        assert refused(worker.do(clash)) is Refusal.INCARNATION
        assert world.record("order") == taken
