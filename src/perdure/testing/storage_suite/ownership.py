"""One owner at a time, and nobody else can commit."""

import threading

from perdure._types import Status
from perdure._work import APPLIED, Batch, Claim, Deliver, Hold, InstanceChange, InstanceRelease, Refusal, TaskDone
from perdure.testing.storage_suite.suite import Topic
from perdure.testing.storage_suite.world import SECOND, Worker, applied, bodies, ids, refused, row, task


class Ownership(Topic):
    """Who may take an instance, and how it is handed on."""

    def test_a_claimed_instance_belongs_to_one_worker(self) -> None:
        world = self.world
        first, second = world.worker("first"), world.worker("second")
        world.start("order")
        assert first.take("order").record.owner == first.number
        assert world.record("order").owner == first.number
        assert ids(second.claim()) == []

    def test_two_workers_get_different_instances(self) -> None:
        world = self.world
        first, second = world.worker("first"), world.worker("second")
        world.start("a")
        world.start("b")
        assert (ids(first.claim(instances=1)), ids(second.claim(instances=1))) == (["a"], ["b"])

    def test_instances_are_owned_independently(self) -> None:
        world = self.world
        first, second = world.worker("first"), world.worker("second")
        first.own("a")
        second.own("b")
        applied(first.do(first.turn("a")))
        applied(second.do(second.turn("b")))

    def test_what_arrives_for_an_owned_instance_waits_for_its_owner(self) -> None:
        world = self.world
        first, second = world.worker("first"), world.worker("second")
        first.own("order")
        world.deliver("order", b"news")
        assert ids(second.claim()) == []
        assert bodies(first.take("order")) == [b"news"]

    def test_what_was_handed_out_and_not_consumed_comes_again(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        world.deliver("order", b"one")
        world.deliver("order", b"two")
        claimed = worker.take("order")
        worker.run("order", consumed=(claimed.messages[0].seq,))
        assert bodies(worker.take("order")) == [b"two"]

    def test_a_turn_consumes_only_what_it_names(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        world.deliver("order", b"handed out")
        worker.take("order")
        world.deliver("order", b"arrived meanwhile")
        worker.run("order")
        assert bodies(worker.take("order")) == [b"arrived meanwhile"]

    def test_a_turn_consumes_no_message_of_another_instance(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("mine")
        worker.own("other")
        world.deliver("other", b"keep")
        foreign = worker.take("other").messages[0].seq
        worker.run("mine", consumed=(foreign, 10**9))
        assert bodies(worker.take("other")) == [b"keep"]

    def test_a_closing_turn_leaves_no_owner_and_no_second_turn(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        worker.run("order", change=InstanceChange(status=Status.COMPLETED, output=b"done"))
        record = world.record("order")
        assert (record.status, record.output, record.owner) == (Status.COMPLETED, b"done", None)
        assert refused(worker.do(worker.turn("order"))) is Refusal.NOT_OWNER
        assert len(world.storage.history(record.incarnation, 1)) == 2

    def test_a_released_instance_may_be_claimed_by_anybody(self) -> None:
        world = self.world
        first, second = world.worker("first"), world.worker("second")
        record = first.own("order")
        world.deliver("order", b"news")
        assert first.do(InstanceRelease(incarnation=record.incarnation)) == APPLIED
        assert world.record("order").owner is None
        assert bodies(second.take("order")) == [b"news"]

    def test_a_delayed_release_keeps_only_the_releasing_worker_away(self) -> None:
        world = self.world
        first, second = world.worker("first"), world.worker("second")
        record = first.own("order")
        world.deliver("order", b"news")
        release = InstanceRelease(incarnation=record.incarnation, delay_us=5 * SECOND)
        work = first.claim(release)
        assert (ids(work), work.next_due) == ([], world.clock.now_us() + 5 * SECOND)
        assert ids(second.claim()) == ["order"]

    def test_a_delayed_release_ends_after_its_time(self) -> None:
        world = self.world
        worker = world.worker()
        record = worker.own("order")
        world.deliver("order", b"news")
        worker.do(InstanceRelease(incarnation=record.incarnation, delay_us=5 * SECOND))
        world.clock.advance(5 * SECOND - 1)
        assert ids(worker.claim()) == []
        world.clock.advance(1)
        assert ids(worker.claim()) == ["order"]

    def test_a_control_message_ends_a_delayed_release(self) -> None:
        world = self.world
        worker = world.worker()
        record = worker.own("order")
        worker.do(InstanceRelease(incarnation=record.incarnation, delay_us=5 * SECOND))
        world.deliver("order", b"terminate", control=True)
        work = worker.claim(instances=0)
        assert (work.more, work.next_due) == (True, None)
        assert bodies(worker.take("order")) == [b"terminate"]

    def test_another_claim_ends_a_delayed_release(self) -> None:
        world = self.world
        first, second = world.worker("first"), world.worker("second")
        record = first.own("order")
        world.deliver("order", b"news")
        first.do(InstanceRelease(incarnation=record.incarnation, delay_us=5 * SECOND))
        second.take("order")
        world.storage.unregister(second.number)
        assert ids(first.claim()) == ["order"]

    def test_many_workers_at_once_lose_and_double_nothing(self) -> None:
        world = self.world
        names = [f"order-{number}" for number in range(40)]
        for name in names:
            world.start(name)
        workers = [world.worker(f"worker-{n}", storage=world.connect()) for n in range(4)]
        ended: list[str] = []
        threads = [threading.Thread(target=_work_off, args=(worker, ended)) for worker in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(ended) == sorted(names)


def _work_off(worker: Worker, ended: list[str]) -> None:
    """Take one instance after the other, three at a time, and complete them, until there is none."""
    closing = InstanceChange(status=Status.COMPLETED)
    token = worker.number.to_bytes(16, "big")
    while True:
        batch = Batch(token=token, items=(), worker=worker.number, claim=Claim(instances_max=3, tasks_max=0))
        work = worker.storage.commit(batch).work
        if work is None or not work.instances:
            return
        turns = []
        for claimed in work.instances:
            worker.handed[claimed.record.id] = claimed
            turns.append(worker.turn(claimed.record.id, change=closing))
        outcomes = worker.storage.commit(Batch(token=token, items=tuple(turns), worker=worker.number)).outcomes
        ended += [each.record.id for each, outcome in zip(work.instances, outcomes, strict=True) if outcome == APPLIED]


class Fencing(Topic):
    """What a worker that has lost an instance, or itself, can't do."""

    def test_a_turn_needs_an_owned_instance(self) -> None:
        world = self.world
        owner, other = world.worker("owner"), world.worker("other")
        owner.own("order")
        assert refused(other.do(other.turn("order"))) is Refusal.NOT_OWNER
        world.start("unclaimed")
        assert refused(other.do(other.turn("unclaimed"))) is Refusal.NOT_OWNER

    def test_an_unknown_instance_has_no_owner(self) -> None:
        worker = self.world.worker()
        worker.own("order")
        turn = worker.turn("order", incarnation=987_654_321)
        assert refused(worker.do(turn)) is Refusal.NOT_OWNER
        assert refused(worker.do(InstanceRelease(incarnation=987_654_321))) is Refusal.NOT_OWNER
        assert refused(worker.do(Hold(incarnation=987_654_321, reason="lost"))) is Refusal.NOT_OWNER

    def test_the_same_turn_again_is_stale(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        turn = worker.turn("order")
        assert worker.do(turn) == APPLIED
        assert refused(worker.do(turn)) is Refusal.STALE
        assert len(world.storage.history(turn.incarnation, 1)) == 2

    def test_a_turn_must_continue_the_stored_history(self) -> None:
        worker = self.world.worker()
        worker.own("order")
        assert refused(worker.do(worker.turn("order", base=0, history=row(1)))) is Refusal.STALE
        assert refused(worker.do(worker.turn("order", base=2, history=row(3)))) is Refusal.STALE
        assert refused(worker.do(worker.turn("order", base=1, history=row(1)))) is Refusal.STALE
        assert refused(worker.do(worker.turn("order", base=1, history=row(3)))) is Refusal.STALE
        assert refused(worker.do(worker.turn("order", execution=2))) is Refusal.STALE

    def test_a_worker_without_a_row_is_fenced(self) -> None:
        world = self.world
        worker, other = world.worker("worker"), world.worker("other")
        record = worker.own("order")
        worker.run("order", tasks=(task(2, local=True),))
        items = (
            worker.turn("order"),
            worker.hold("order"),
            InstanceRelease(incarnation=record.incarnation),
            TaskDone(incarnation=record.incarnation, execution=1, event=2, body=b"done"),
        )
        world.storage.unregister(worker.number)
        committed = worker.commit(*items, claim=Claim(instances_max=1, tasks_max=1))
        assert [refused(each) for each in committed.outcomes] == [Refusal.FENCED] * 4
        assert committed.work is None
        assert world.record("order").last_event == 2
        assert ids(other.claim()) == []

    def test_a_worker_that_was_buried_begins_and_ends_nothing_by_a_single_turn(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        worker.run("order", tasks=(task(2, local=True),))
        turns = (
            worker.first_turn(world.new("other"), tasks=(task(2, local=True),)),
            worker.turn("order", tasks=(task(3, local=True),), tasks_gone=(2,)),
            worker.turn("order", tasks_gone=(2,), change=InstanceChange(status=Status.COMPLETED)),
        )
        world.storage.unregister(worker.number)
        assert [refused(worker.do(turn)) for turn in turns] == [Refusal.FENCED] * 3
        assert world.storage.get("other") is None
        assert world.record("order").last_event == 2

    def test_what_a_client_sends_through_a_fenced_worker_still_counts(self) -> None:
        world = self.world
        worker = world.worker()
        world.start("order")
        world.storage.unregister(worker.number)
        [outcome] = worker.commit(Deliver(to_id="order", body=b"news")).outcomes
        assert outcome == APPLIED

    def test_a_client_cannot_send_what_only_a_worker_may(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        [outcome] = world.client(worker.turn("order"))
        assert refused(outcome) is Refusal.FENCED
        batch = Batch(token=world.token(), items=(), claim=Claim(instances_max=1, tasks_max=1))
        assert world.storage.commit(batch).work is None

    def test_a_zombie_cannot_touch_the_instance_that_took_the_id(self) -> None:
        world = self.world
        zombie, worker = world.worker("zombie"), world.worker("worker")
        zombie.own("order")
        turn = zombie.turn("order", tasks=(task(2, local=True),))
        zombie.do(turn)
        late = zombie.turn("order")
        done = TaskDone(incarnation=turn.incarnation, execution=1, event=2, body=b"done")
        world.delete("order", force=True)
        world.start("order")
        worker.take("order")
        assert [refused(each) for each in zombie.commit(late, done).outcomes] == [Refusal.NOT_OWNER] * 2
        worker.run("order")
        assert ids(worker.claim()) == []

    def test_a_zombie_cannot_commit_once_another_owns_the_instance(self) -> None:
        world = self.world
        zombie, worker = world.worker("zombie"), world.worker("worker")
        record = zombie.own("order")
        late = zombie.turn("order")
        zombie.do(InstanceRelease(incarnation=record.incarnation))
        world.deliver("order", b"news")
        worker.take("order")
        assert refused(zombie.do(late)) is Refusal.NOT_OWNER
        worker.run("order")
