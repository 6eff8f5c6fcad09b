"""A turn lands whole or not at all, and items of one batch are judged one by one."""

from typing import Any

from perdure._types import Status
from perdure._work import (
    APPLIED,
    ChildStart,
    Deliver,
    InstanceChange,
    OutMessage,
    Refusal,
    Refused,
    StartInstance,
    Turn,
)
from perdure.testing.storage_suite.suite import Topic
from perdure.testing.storage_suite.world import SECOND, applied, bodies, events, ids, refused, row, task


class Atomicity(Topic):
    def _turn_with_everything(self, base: int = 1) -> dict[str, Any]:
        world = self.world
        here = world.record("order")
        return {
            "base": base,
            "history": row(base + 1, base + 9),
            "tasks": (task(2), task(3)),
            "timers": ((4, world.clock.now_us()),),
            "starts": (ChildStart(new=world.child(here, "child", event=5)),),
            "messages": (OutMessage(to_id="neighbour", body=b"hello"),),
            "change": InstanceChange(custom_status=b'"busy"', cancel_requested=True),
        }

    def test_a_turn_lands_whole(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        worker.own("neighbour")
        assert worker.do(worker.turn("order", **self._turn_with_everything())) == APPLIED
        record = world.record("order")
        assert (record.last_event, record.custom_status, record.cancel_requested) == (10, b'"busy"', True)
        assert [(each.first, each.last) for each in world.storage.history(record.incarnation, 1)] == [(1, 1), (2, 10)]
        work = worker.claim()
        assert events(work) == [2, 3]
        assert {each.record.id: bodies(each) for each in work.instances} == {
            "order": [b"timer 4"],
            "child": [b"start child"],
            "neighbour": [b"hello"],
        }

    def test_a_refused_turn_leaves_nothing_behind(self) -> None:
        world = self.world
        worker = world.worker()
        before = worker.own("order")
        worker.own("neighbour")
        assert refused(worker.do(worker.turn("order", **self._turn_with_everything(base=7)))) is Refusal.STALE
        assert world.record("order") == before
        assert world.storage.get("child") is None
        assert len(world.storage.history(before.incarnation, 1)) == 1
        work = worker.claim()
        assert (work.instances, work.tasks, work.next_due) == ((), (), None)

    def test_a_refused_item_harms_no_other(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("first")
        worker.own("second")
        lost = worker.turn("first", base=5)
        outcomes = worker.commit(
            worker.turn("first"), lost, worker.turn("second"), Deliver(to_id="none", body=b"")
        ).outcomes
        assert [type(each).__name__ for each in outcomes] == ["Applied", "Refused", "Applied", "Refused"]
        assert (world.record("first").last_event, world.record("second").last_event) == (2, 2)

    def test_items_apply_in_order(self) -> None:
        world = self.world
        outcomes = world.client(
            Deliver(to_id="order", body=b"too early"),
            StartInstance(new=world.new("order")),
            Deliver(to_id="order", body=b"in time"),
        )
        assert refused(outcomes[0]) is Refusal.NOT_FOUND
        assert bodies(world.worker().take("order")) == [b"start order", b"in time"]

    def test_turns_of_one_batch_see_each_other(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("first")
        worker.own("second")
        closing = worker.turn("first", change=InstanceChange(status=Status.COMPLETED))
        telling = worker.turn("second", messages=(OutMessage(to_id="first", body=b"late"),))
        closed, told = worker.commit(closing, telling).outcomes
        assert closed == APPLIED
        assert applied(told).skipped == ("first",)

    def test_two_turns_of_one_instance_may_share_a_batch(self) -> None:
        worker = self.world.worker()
        worker.own("order")
        first, second = worker.turn("order"), worker.turn("order", base=2, history=row(3, 4))
        assert worker.commit(first, second).outcomes == (APPLIED, APPLIED)
        assert self.world.record("order").last_event == 4

    def test_turns_that_only_go_from_one_activity_to_the_next_are_judged_one_by_one_too(self) -> None:
        world = self.world
        worker, other = world.worker(), world.worker("other")
        for owner, instance_id in (
            (worker, "good"),
            (worker, "late"),
            (other, "theirs"),
            (worker, "twice"),
            (worker, "told"),
        ):
            owner.own(instance_id)
            owner.run(instance_id, tasks=(task(2, local=True),))

        def step(instance_id: str, base: int = 2, **fields: Any) -> Turn:
            tasks = (task(base + 2, **{"local": True} | fields),)
            history = row(base + 1, base + 2)
            return worker.turn(instance_id, base=base, history=history, consumed=(), tasks=tasks, tasks_gone=(base,))

        outcomes = worker.commit(
            step("good", local=False), step("late", base=4), step("theirs"), step("twice"), step("twice", base=4),
            Deliver(to_id="told", body=b"before"), step("told"), Deliver(to_id="told", body=b"behind"),
        ).outcomes  # fmt: skip
        assert [refused(each) if isinstance(each, Refused) else None for each in outcomes] == [
            None, Refusal.STALE, Refusal.NOT_OWNER, None, None, None, None, None,
        ]  # fmt: skip
        records = {name: world.record(name) for name in ("good", "late", "theirs", "twice", "told")}
        assert [each.last_event for each in records.values()] == [4, 2, 2, 6, 4]
        tasks = [world.storage.open_tasks(each.incarnation, 9) for each in records.values()]
        assert [[each.event for each in open_] for open_ in tasks] == [[4], [2], [2], [6], [4]]
        assert bodies(worker.take("told")) == [b"before", b"behind"]
        assert events(other.claim()) == [4]

    def test_work_is_claimed_after_the_items_in_the_same_commit(self) -> None:
        world = self.world
        worker = world.worker()
        work = worker.claim(StartInstance(new=world.new("order")))
        assert ids(work) == ["order"]
        work = worker.claim(worker.turn("order", tasks=(task(2),), timers=((3, world.clock.now_us() + SECOND),)))
        assert (ids(work), events(work), work.next_due) == ([], [2], world.clock.now_us() + SECOND)

    def test_a_turn_may_consume_without_writing_events(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        world.deliver("order", b"of no interest")
        worker.take("order")
        assert worker.run("order", written=0) == APPLIED
        assert world.record("order").last_event == 1
        assert ids(worker.claim()) == []

    def test_a_turn_may_have_thousands_of_outputs(self) -> None:
        worker = self.world.worker()
        worker.own("order")
        later = self.world.clock.now_us() + SECOND
        worker.run(
            "order",
            tasks=tuple(task(event) for event in range(2, 2_002)),
            timers=tuple((event, later) for event in range(3_000, 4_000)),
            written=5_000,
        )
        assert events(worker.claim(tasks=5_000)) == list(range(2, 2_002))
        self.world.clock.advance(SECOND)
        [claimed] = worker.claim().instances
        assert len(claimed.messages) == 1_000

    def test_what_is_stored_comes_back_byte_for_byte(self) -> None:
        world = self.world
        worker = world.worker()
        opaque = bytes(range(256)) * 300
        world.start("order", start=opaque)
        assert bodies(worker.take("order")) == [opaque]
        worker.run(
            "order",
            history=row(1, data=opaque),
            tasks=(task(2, input=opaque, retry=opaque),),
            change=InstanceChange(output=opaque, error=opaque, custom_status=opaque),
        )
        record = world.record("order")
        assert (record.output, record.error, record.custom_status) == (opaque, opaque, opaque)
        assert world.storage.history(record.incarnation, 1) == [row(1, data=opaque)]
        claimed = worker.take_task(2)
        assert (claimed.input, claimed.retry) == (opaque, opaque)
