"""Copies of instances of another store, which are none before their move is done: they are told and do nothing."""

from msgspec.structs import replace

from perdure._types import Status
from perdure._work import (
    APPLIED,
    COMING,
    ChildStart,
    Deliver,
    Effect,
    Hold,
    Item,
    MessageImage,
    Outcome,
    OutMessage,
    Put,
    Receive,
    Refusal,
    Resume,
    StartInstance,
    Suspend,
    TaskDiscard,
)
from perdure.testing.storage_suite.suite import Topic
from perdure.testing.storage_suite.world import SECOND, Worker, applied, bodies, ids, refused, task

MARK = f"{COMING} (1)"
HELD = "come from another store"


class Copies(Topic):
    """What has the reason of a copy."""

    def _one(self, item: Item) -> Outcome:
        [outcome] = self.world.client(item)
        return outcome

    def _copied(self, *instance_ids: str) -> Worker:
        """These are copies, which had a message and a task."""
        worker = self.world.worker()
        for each in instance_ids:
            worker.own(each)
            worker.run(each, written=2, tasks=(task(3),))
            self.world.deliver(each, b"came along", dedup_key="once")
            assert self._one(Suspend(id=each, reason=MARK, tasks="all")) == APPLIED
        return worker

    def _doomed(self, *instance_ids: str) -> Worker:
        """These are copies of what somebody ends, and a timer of each is due."""
        worker = self._copied()
        for each in instance_ids:
            worker.own(each)
            worker.run(each, written=2, timers=((4, self.world.clock.now_us()),))
            self.world.deliver(each, b"came along")
            self.world.deliver(each, b"terminate", control=True)
            assert self._one(Suspend(id=each, reason=MARK)) == APPLIED
        return worker

    def test_it_takes_no_message_of_a_client(self) -> None:
        world = self.world
        worker = self._copied("order")
        incarnation = world.record("order").incarnation
        for item in (
            Deliver(to_id="order", body=b"lost"),
            Deliver(to_id="order", body=b"lost", control=True),
            Deliver(to_id="order", body=b"lost", dedup_key="new"),
            Deliver(to_id="order", body=b"lost", incarnation=incarnation),
            Deliver(to_id="order", body=b"lost", if_held=True),
        ):
            assert refused(self._one(item)) is Refusal.COMING
        assert worker.claim().instances == ()
        assert self._one(Resume(id="order", reason=MARK)) == APPLIED
        assert bodies(worker.take("order")) == [b"came along"]

    def test_what_has_come_along_is_known_and_a_key_that_was_refused_is_not(self) -> None:
        world = self.world
        worker = self._copied("order")
        assert world.deliver("order", b"came along", dedup_key="once") == APPLIED
        assert refused(world.deliver("order", b"later", dedup_key="new")) is Refusal.COMING
        assert self._one(Resume(id="order", reason=MARK)) == APPLIED
        assert world.deliver("order", b"later", dedup_key="new") == APPLIED
        assert bodies(worker.take("order")) == [b"came along", b"later"]

    def test_it_goes_to_nobody_for_a_control_message_that_has_come_along(self) -> None:
        worker = self._doomed("order")
        self.world.clock.advance(1)
        for each in (worker, self.world.worker("without its code", orchestrations=())):
            work = each.claim(tasks=0)
            assert (ids(work), work.next_due, work.more) == ([], None, False)

    def test_it_leaves_no_less_of_a_claim_to_others(self) -> None:
        worker = self._doomed("order", "another")
        self.world.start("last")
        work = worker.claim(instances=1, tasks=0)
        assert (ids(work), work.more) == (["last"], False)

    def test_a_control_message_that_has_come_along_ends_it_when_it_is_a_copy_no_more(self) -> None:
        worker = self._doomed("order")
        assert self._one(Suspend(id="order", reason=HELD, instead_of=MARK)) == APPLIED
        claimed = worker.take("order")
        assert (bodies(claimed), claimed.for_control) == ([b"terminate"], True)

    def test_it_brings_a_control_message_that_has_come_along_with_the_rest_when_somebody_resumes_it(self) -> None:
        worker = self._doomed("order")
        assert self._one(Resume(id="order", reason=MARK)) == APPLIED
        claimed = worker.take("order")
        assert (bodies(claimed), claimed.for_control) == ([b"timer 4", b"came along", b"terminate"], False)

    def test_a_control_message_that_has_come_along_too_early_is_waited_for_when_it_is_a_copy_no_more(self) -> None:
        world = self.world
        worker = self._copied("order")
        due = world.clock.now_us() + SECOND
        [image] = world.storage.images(["order"])
        late = MessageImage(due_at=due, body=b"terminate", control=True)
        early = replace(image, messages=(late,), tasks=())
        assert self._one(Put(images=(early,), on_conflict="named", instead_of=(image.stamp,))) == APPLIED
        assert worker.claim(tasks=0).next_due is None
        assert self._one(Suspend(id="order", reason=HELD, instead_of=MARK)) == APPLIED
        work = worker.claim(tasks=0)
        assert (ids(work), work.next_due) == ([], due)
        world.clock.advance(SECOND)
        assert bodies(worker.take("order")) == [b"terminate"]

    def test_what_others_send_it_by_its_id_goes_to_nobody(self) -> None:
        world = self.world
        worker = self._copied("order")
        worker.own("sender")
        incarnation = world.record("order").incarnation
        messages = (OutMessage(body=b"by id", to_id="order"), OutMessage(body=b"family", to_incarnation=incarnation))
        assert worker.run("sender", messages=messages).skipped == ("order",)
        assert self._one(Resume(id="order", reason=MARK)) == APPLIED
        assert bodies(worker.take("order")) == [b"came along", b"family"]

    def test_its_parent_reaches_it(self) -> None:
        world = self.world
        worker = world.worker()
        parent = worker.own("parent")
        worker.run("parent", starts=(ChildStart(new=world.child(parent, "child")),))
        self._one(Suspend(id="child", reason=MARK))
        message = OutMessage(body=b"cancel", to_id="child", child_of=parent.incarnation)
        assert worker.run("parent", messages=(message,)).skipped == ()
        assert self._one(Resume(id="child", reason=MARK)) == APPLIED
        assert bodies(worker.take("child")) == [b"start child", b"cancel"]

    def test_what_comes_for_it_from_another_shard_goes_to_nobody(self) -> None:
        world = self.world
        self._copied("order")
        effect = Effect(seq=1, incarnation=4_711, message=OutMessage(body=b"lost", to_id="order"))
        outcome = self._one(Receive(sender=1, effects=(effect,), until=world.storage.now() + SECOND))
        assert applied(outcome).skipped == ("1",)

    def test_nobody_says_what_came_of_its_activities(self) -> None:
        world = self.world
        worker = self._copied("order")
        discard = TaskDiscard(incarnation=world.record("order").incarnation, execution=1, event=3, body=b"given up")
        assert refused(self._one(discard)) is Refusal.COMING
        assert self._one(Suspend(id="order", reason="audit", instead_of=MARK)) == APPLIED
        assert self._one(discard) == APPLIED
        self._one(Resume(id="order"))
        assert bodies(worker.take("order")) == [b"came along", b"given up"]

    def test_no_start_replaces_it(self) -> None:
        world = self.world
        self._copied("order")
        before = world.record("order")
        new = world.new("order")
        assert refused(self._one(StartInstance(new=new, on_conflict="terminate_and_restart"))) is Refusal.COMING
        assert refused(self._one(StartInstance(new=new, on_conflict="restart_if_closed"))) is Refusal.EXISTS
        assert world.record("order") == before

    def test_only_who_names_its_reason_gives_it_another_one(self) -> None:
        world = self.world
        self._copied("order")
        assert refused(self._one(Suspend(id="order", reason="audit"))) is Refusal.COMING
        assert self._one(Suspend(id="order", reason="audit", instead_of=COMING)) == APPLIED
        assert world.record("order").held_because == MARK
        assert self._one(Suspend(id="order", reason=HELD, instead_of=MARK)) == APPLIED
        assert world.record("order").held_because == HELD
        assert world.deliver("order", b"news") == APPLIED

    def test_what_is_not_suspended_for_a_reason_is_not_set_aside_instead_of_that(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        worker.run("order", written=2, tasks=(task(3),))
        world.clock.advance(1)
        before = world.record("order")
        late = Suspend(id="order", reason=HELD, instead_of=MARK, tasks="all")
        assert self._one(late) == APPLIED
        assert world.record("order") == before
        assert world.storage.held_tasks(10) == []
        worker.do(Hold(incarnation=before.incarnation, reason=MARK))
        assert self._one(late) == APPLIED
        assert (world.record("order").status, world.record("order").held_because) == (Status.HELD, MARK)

    def test_what_is_held_with_these_words_is_an_instance(self) -> None:
        world = self.world
        worker = world.worker()
        held = worker.own("order")
        worker.do(Hold(incarnation=held.incarnation, reason=MARK))
        assert world.deliver("order", b"news") == APPLIED
