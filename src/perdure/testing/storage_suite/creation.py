"""How instances come to be, and what happens when an id or an incarnation is taken."""

import threading

import msgspec

from perdure._types import Status
from perdure._work import (
    APPLIED,
    Applied,
    Batch,
    InstanceChange,
    InstanceRecord,
    Outcome,
    Refusal,
    Refused,
    StartInstance,
)
from perdure.testing.storage_suite.suite import Topic
from perdure.testing.storage_suite.world import (
    NAME,
    ORDER,
    SECOND,
    Worker,
    applied,
    bodies,
    events,
    ids,
    refused,
    row,
    task,
)


class Creation(Topic):
    """A start makes a pending instance with one message."""

    def test_a_started_instance_is_pending(self) -> None:
        world = self.world
        record = world.start("order", incarnation=77, attributes=b'{"shop":1}', root="order", slot=5)
        now = world.clock.now_us()
        assert record == InstanceRecord(
            id="order",
            incarnation=77,
            name=NAME,
            version="1.0.0",
            status=Status.PENDING,
            execution=1,
            created_at=now,
            updated_at=now,
            root="order",
            attributes=b'{"shop":1}',
        )
        assert world.storage.history(77, 1) == []

    def test_its_start_message_waits_for_a_worker_with_its_name_and_version(self) -> None:
        world = self.world
        world.start("order")
        for strangers in ([], ["other@1.0.0"], [f"{NAME}@2.0.0"], [f"{NAME}@1.0.00"]):
            assert ids(world.worker(orchestrations=strangers).claim()) == []
        assert bodies(world.worker(orchestrations=["other@1.0.0", ORDER]).take("order")) == [b"start order"]

    def test_without_a_version_the_name_is_enough(self) -> None:
        world = self.world
        world.start("order", version=None)
        assert ids(world.worker(orchestrations=["other@1.0.0"]).claim()) == []
        worker = world.worker(orchestrations=[f"{NAME}@7.0.0"])
        assert worker.take("order").record.version is None
        worker.run("order", change=InstanceChange(version="7.0.0"))
        assert world.record("order").version == "7.0.0"

    def test_a_version_once_given_binds(self) -> None:
        world = self.world
        seven = world.worker(orchestrations=[f"{NAME}@7.0.0"])
        seven.own("order", version=None)
        seven.run("order", change=InstanceChange(version="7.0.0"))
        world.storage.unregister(seven.number)
        world.deliver("order", b"news")
        assert ids(world.worker(orchestrations=[f"{NAME}@8.0.0"]).claim()) == []

    def test_a_name_may_hold_an_at_sign(self) -> None:
        world = self.world
        world.start("pinned", name="a@b")
        world.start("open", name="a@b", version=None)
        assert ids(world.worker(orchestrations=["a@b@1.0.0"]).claim()) == ["pinned", "open"]

    def test_a_later_start_waits_for_its_time(self) -> None:
        world = self.world
        worker = world.worker()
        world.start("order", start_at=world.clock.now_us() + 60 * SECOND)
        work = worker.claim()
        assert (ids(work), work.next_due) == ([], world.clock.now_us() + 60 * SECOND)
        world.clock.advance(60 * SECOND)
        assert bodies(worker.take("order")) == [b"start order"]

    def test_messages_to_a_later_start_come_behind_it(self) -> None:
        world = self.world
        worker = world.worker()
        world.start("order", start_at=world.clock.now_us() + 60 * SECOND)
        assert world.deliver("order", b"early") == APPLIED
        assert ids(worker.claim()) == []
        world.clock.advance(60 * SECOND)
        assert bodies(worker.take("order")) == [b"start order", b"early"]

    def test_a_control_message_does_not_wait_for_a_later_start(self) -> None:
        world = self.world
        worker = world.worker()
        world.start("order", start_at=world.clock.now_us() + 60 * SECOND)
        world.deliver("order", b"terminate", control=True)
        assert bodies(worker.take("order")) == [b"terminate"]

    def test_a_start_in_the_past_is_due_now(self) -> None:
        world = self.world
        world.start("first")
        world.clock.advance(1)
        world.start("second", start_at=1)
        assert ids(world.worker().claim()) == ["first", "second"]

    def test_a_turn_may_create_its_instance(self) -> None:
        world = self.world
        worker = world.worker()
        new = world.new("order", attributes=b"{}")
        world.start("seen", incarnation=new.incarnation + 1)
        turn = worker.turn("seen", incarnation=new.incarnation, base=0, history=row(1, 3), create=new, tasks=(task(3),))
        assert worker.do(turn) == APPLIED
        record = world.record("order")
        assert (record.status, record.owner, record.last_event) == (Status.RUNNING, worker.number, 3)
        work = worker.claim()
        assert ([each for each in ids(work) if each != "seen"], events(work)) == ([], [3])

    def test_a_turn_may_create_and_close_its_instance(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("model")
        new = world.new("order")
        closing = InstanceChange(status=Status.FAILED, error=b"broken")
        turn = worker.turn("model", incarnation=new.incarnation, base=0, history=row(1, 2), create=new, change=closing)
        assert worker.do(turn) == APPLIED
        record = world.record("order")
        assert (record.status, record.owner, record.error) == (Status.FAILED, None, b"broken")

    def test_a_turn_creates_nothing_under_a_taken_id_or_incarnation(self) -> None:
        world = self.world
        worker = world.worker()
        taken = worker.own("order")
        again, clashing = world.new("order"), world.new("other", incarnation=taken.incarnation)
        first = worker.turn("order", incarnation=again.incarnation, base=0, history=row(1), create=again)
        assert worker.do(first) == Refused(reason=Refusal.EXISTS, existing=taken)
        second = worker.turn("order", base=0, history=row(1), create=clashing)
        assert refused(worker.do(second)) is Refusal.INCARNATION
        third = worker.turn("order", incarnation=5, base=1, history=row(2), create=world.new("third", incarnation=5))
        assert refused(worker.do(third)) is Refusal.STALE
        assert world.storage.get_many(["other", "third"]) == {}


class Conflicts(Topic):
    """A start whose id is taken, by policy."""

    def _open_and_closed(self) -> tuple[Worker, InstanceRecord, InstanceRecord]:
        worker = self.world.worker()
        worker.own("open")
        worker.own("closed")
        worker.run("closed", change=InstanceChange(status=Status.COMPLETED))
        return worker, self.world.record("open"), self.world.record("closed")

    def test_fail_refuses_and_shows_who_has_the_id(self) -> None:
        world = self.world
        _, opened, closed = self._open_and_closed()
        outcomes = world.client(StartInstance(new=world.new("open")), StartInstance(new=world.new("closed")))
        assert outcomes == (
            Refused(reason=Refusal.EXISTS, existing=opened),
            Refused(reason=Refusal.EXISTS, existing=closed),
        )

    def test_use_existing_hands_over_what_is_there(self) -> None:
        world = self.world
        _, opened, closed = self._open_and_closed()
        outcomes = world.client(
            StartInstance(new=world.new("open"), on_conflict="use_existing"),
            StartInstance(new=world.new("closed"), on_conflict="use_existing"),
            StartInstance(new=world.new("fresh"), on_conflict="use_existing"),
        )
        assert outcomes == (Applied(existing=opened), Applied(existing=closed), APPLIED)

    def test_restart_if_closed_replaces_only_what_is_closed(self) -> None:
        world = self.world
        worker, opened, closed = self._open_and_closed()
        outcomes = world.client(
            StartInstance(new=world.new("open"), on_conflict="restart_if_closed"),
            StartInstance(new=world.new("closed"), on_conflict="restart_if_closed"),
        )
        assert outcomes == (Refused(reason=Refusal.EXISTS, existing=opened), APPLIED)
        assert world.record("closed").incarnation != closed.incarnation
        assert world.record("closed").status is Status.PENDING
        assert world.storage.history(closed.incarnation, 1) == []
        assert bodies(worker.take("closed")) == [b"start closed"]

    def test_terminate_and_restart_replaces_what_is_open(self) -> None:
        world = self.world
        worker, opened, _ = self._open_and_closed()
        worker.run("open", tasks=(task(2), task(3, local=True)), timers=((4, 0),))
        world.deliver("open", b"old news", dedup_key="key")
        late = worker.turn("open")
        world.clock.advance(1)
        world.start("open", on_conflict="terminate_and_restart")
        assert world.record("open").incarnation != opened.incarnation
        assert world.storage.history(opened.incarnation, 1) == []
        assert refused(worker.do(late)) is Refusal.NOT_OWNER
        assert world.deliver("open", b"new news", dedup_key="key") == APPLIED
        work = worker.claim()
        assert (events(work), bodies(work.instances[0])) == ([], [b"start open", b"new news"])

    def test_sent_again_with_its_incarnation_a_start_applies_once(self) -> None:
        world = self.world
        start = StartInstance(new=world.new("order"))
        again = StartInstance(new=start.new, on_conflict="terminate_and_restart")
        assert world.client(start, start, again) == (APPLIED, APPLIED, APPLIED)
        worker = world.worker()
        assert bodies(worker.take("order")) == [b"start order"]
        worker.run("order")
        assert world.client(start) == (APPLIED,)
        assert ids(worker.claim()) == []

    def test_an_incarnation_belongs_to_one_id(self) -> None:
        world = self.world
        _, opened, closed = self._open_and_closed()
        taken = opened.incarnation
        outcomes = world.client(
            StartInstance(new=world.new("other", incarnation=taken)),
            StartInstance(new=world.new("closed", incarnation=taken), on_conflict="restart_if_closed"),
        )
        assert outcomes == (Refused(reason=Refusal.INCARNATION),) * 2
        assert world.storage.get_many(["other", "closed"]) == {"closed": closed}

    def test_of_a_hundred_starts_at_once_one_wins(self) -> None:
        world = self.world
        starts = [StartInstance(new=world.new("order")) for _ in range(100)]
        handles = [world.connect() for _ in range(4)]
        outcomes: list[Outcome] = []

        def send(number: int) -> None:
            for start in starts[number::4]:
                batch = Batch(token=b"sixteen bytes ok", items=(start,))
                outcomes.extend(handles[number].commit(batch).outcomes)

        threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(outcomes) == 100
        assert outcomes.count(APPLIED) == 1
        assert {each.existing.incarnation for each in outcomes if isinstance(each, Refused) and each.existing} == {
            world.record("order").incarnation
        }

    def test_a_replaced_instance_keeps_nothing_but_its_id(self) -> None:
        world = self.world
        worker, _, _ = self._open_and_closed()
        worker.run("open", change=InstanceChange(custom_status=b"1", cancel_requested=True))
        world.clock.advance(SECOND)
        fresh = world.start("open", on_conflict="terminate_and_restart", attributes=b"{}")
        assert fresh == msgspec.structs.replace(
            fresh, custom_status=None, custom_status_version=0, cancel_requested=False, last_event=0, owner=None
        )
        assert fresh.created_at == world.clock.now_us()
        assert applied(world.delete("open", force=True)).count == 1
