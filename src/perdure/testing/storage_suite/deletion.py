"""A tree of instances is deleted as a whole, and leaves nothing."""

from typing import Any

from msgspec.structs import replace

from perdure._types import Status
from perdure._work import (
    Applied,
    ChildStart,
    Delete,
    HistoryRow,
    InstanceChange,
    InstanceRelease,
    Prune,
    Query,
    Refusal,
    Scan,
    TaskDone,
)
from perdure.testing.storage_suite.suite import Topic
from perdure.testing.storage_suite.world import SECOND, Worker, about, applied, bodies, events, ids, refused, row, task


class Deletion(Topic):
    """A client's delete."""

    def _tree(self) -> Worker:
        """A root with two children and a grandchild, all running, and a neighbour."""
        world = self.world
        worker = world.worker()
        for name in ("root", "neighbour"):
            worker.own(name)
        for parent, name in (("root", "left"), ("root", "right"), ("left", "below")):
            worker.run(parent, starts=(ChildStart(new=world.child(world.record(parent), name)),))
            worker.take(name)
            worker.run(name)
        return worker

    def _close(self, worker: Worker, *names: str) -> None:
        for name in names:
            worker.run(name, change=InstanceChange(status=Status.COMPLETED))

    def test_an_unknown_instance_is_not_deleted(self) -> None:
        assert refused(self.world.delete("nobody")) is Refusal.NOT_FOUND

    def test_a_closed_tree_goes_with_all_that_is_below(self) -> None:
        world = self.world
        worker = self._tree()
        self._close(worker, "root", "left", "right", "below")
        incarnations = [world.record(name).incarnation for name in ("root", "left", "right", "below")]
        assert world.delete("root") == Applied(count=4)
        assert world.storage.get_many(["root", "left", "right", "below"]) == {}
        assert [world.storage.history(each, 1) for each in incarnations] == [[]] * 4
        assert world.record("neighbour").status is Status.RUNNING

    def test_a_tree_of_which_something_is_open_stays(self) -> None:
        world = self.world
        worker = self._tree()
        self._close(worker, "root", "left", "right")
        assert refused(world.delete("root")) is Refusal.NOT_CLOSED
        assert world.record("right").status is Status.COMPLETED

    def test_force_deletes_what_is_open_and_nothing_of_it_is_left(self) -> None:
        world = self.world
        worker = self._tree()
        other = world.worker("other", orchestrations=[])
        worker.run("below", tasks=(task(3), task(4), task(5, local=True)), timers=((6, world.clock.now_us() + SECOND),))
        claimed = other.claim(tasks=1).tasks[0]
        world.deliver("right", b"news")
        late = worker.turn("below")
        assert world.delete("root", force=True) == Applied(count=4)
        assert refused(other.do(about(TaskDone, claimed, body=b"late"))) is Refusal.NOT_OWNER
        assert refused(worker.do(late)) is Refusal.NOT_OWNER
        work = worker.claim()
        assert (ids(work), events(work), work.next_due, work.more) == ([], [], None, False)

    def test_a_child_goes_only_with_its_root(self) -> None:
        world = self.world
        worker = self._tree()
        self._close(worker, "below")
        assert refused(world.delete("below")) is Refusal.NOT_ROOT
        assert refused(world.delete("left", force=True)) is Refusal.NOT_ROOT

    def test_an_id_is_free_again(self) -> None:
        world = self.world
        worker = self._tree()
        before = world.record("root")
        world.delete("root", force=True)
        after = world.start("root")
        assert after.incarnation != before.incarnation
        assert bodies(worker.take("root")) == [b"start root"]
        assert applied(world.delete("root", force=True)).count == 1

    def test_a_pending_instance_is_open(self) -> None:
        world = self.world
        world.start("order", start_at=world.clock.now_us() + SECOND)
        assert refused(world.delete("order")) is Refusal.NOT_CLOSED
        assert world.delete("order", force=True) == Applied(count=1)
        assert world.worker().claim().next_due is None

    def test_what_was_released_with_a_delay_can_be_deleted(self) -> None:
        world = self.world
        worker = world.worker()
        record = worker.own("order")
        world.deliver("order", b"news")
        worker.do(InstanceRelease(incarnation=record.incarnation, delay_us=SECOND))
        assert world.delete("order", force=True) == Applied(count=1)
        assert worker.claim().next_due is None

    def test_an_earlier_instance_of_the_id_is_not_mistaken_for_this_one(self) -> None:
        world = self.world
        record = world.start("order")
        other = Delete(id="order", force=True, incarnation=record.incarnation + 1)
        assert refused(*world.client(other)) is Refusal.NOT_FOUND
        assert world.client(Delete(id="order", force=True, incarnation=record.incarnation)) == (Applied(count=1),)


class Pruning(Topic):
    """Histories of past executions go; the current one stays."""

    def _generations(self, executions: int) -> Worker:
        world = self.world
        worker = world.worker()
        worker.own("order")
        for execution in range(2, executions + 1):
            world.clock.advance(1)
            worker.run("order", history=turn_row(2, execution), **next_execution(execution))
            worker.take("order")
            worker.run("order", history=turn_row(1, execution))
        return worker

    def _stored(self) -> list[int]:
        incarnation = self.world.record("order").incarnation
        return [each.execution for each in self.world.storage.executions(incarnation)]

    def test_the_newest_are_kept_and_the_current_one_counts(self) -> None:
        world = self.world
        self._generations(5)
        assert world.client(Prune(id="order", keep=3)) == (Applied(count=2),)
        assert self._stored() == [3, 4, 5]
        assert world.client(Prune(id="order", keep=3)) == (Applied(count=0),)

    def test_the_current_execution_stays_whatever_is_asked_for(self) -> None:
        world = self.world
        worker = self._generations(3)
        assert world.client(Prune(id="order", keep=0)) == (Applied(count=2),)
        assert self._stored() == [3]
        assert world.client(Prune(id="order", before=1 << 60)) == (Applied(count=0),)
        worker.run("order")

    def test_one_whose_next_execution_has_no_turn_yet_loses_none_but_past_ones(self) -> None:
        world = self.world
        worker = self._generations(2)
        worker.run("order", **next_execution(3))
        assert world.client(Prune(id="order")) == (Applied(count=2),)
        worker.take("order")
        worker.run("order")
        assert self._stored() == [3]

    def test_both_conditions_have_to_hold(self) -> None:
        world = self.world
        self._generations(5)
        # The last turns of the executions were at 2, 3, 4, 5 and (of the current one) 5.
        assert world.client(Prune(id="order", before=4)) == (Applied(count=2),)
        assert self._stored() == [3, 4, 5]
        assert world.client(Prune(id="order", keep=3, before=1_000)) == (Applied(count=0),)

    def test_an_unknown_instance_or_an_earlier_one_is_not_found(self) -> None:
        world = self.world
        self._generations(2)
        assert refused(*world.client(Prune(id="nobody"))) is Refusal.NOT_FOUND
        incarnation = world.record("order").incarnation
        assert refused(*world.client(Prune(id="order", incarnation=incarnation + 1))) is Refusal.NOT_FOUND
        assert world.client(Prune(id="order", incarnation=incarnation)) == (Applied(count=1),)

    def test_a_closed_one_keeps_its_last_execution(self) -> None:
        worker = self._generations(3)
        worker.run("order", change=InstanceChange(status=Status.COMPLETED))
        assert self.world.client(Prune(id="order")) == (Applied(count=2),)
        assert self._stored() == [3]


class Lapsing(Topic):
    """What need not be kept any more is found a few instances at a time."""

    def _ended(self) -> int:
        """Instances that ended one microsecond after the other; the moment of the first end."""
        world = self.world
        worker = world.worker()
        statuses = (Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.TERMINATED, Status.COMPLETED)
        for status in statuses:
            worker.own(f"{status}-{world.clock.now_us()}")
            worker.run(world.storage.find(Query(limit=1))[0][0].id, change=InstanceChange(status=status))
            world.clock.advance(1)
        worker.own("open")
        return world.clock.now_us() - len(statuses)

    def test_roots_lapse_by_their_end_and_how_they_ended(self) -> None:
        began = self._ended()

        def found(completed: int | None, ended: int | None) -> list[str]:
            scan = Scan(after=0, rows_max=10, completed_before=completed, ended_before=ended)
            lapsed = self.world.storage.lapsed(scan)
            assert (lapsed.last, lapsed.overlong) == (None, ())
            return [each.partition("-")[0] for each, _ in lapsed.roots]

        assert found(None, None) == found(began, began + 1) == []
        assert found(began + 1, None) == ["completed"]
        assert found(None, began + 3) == ["failed", "cancelled"]
        assert found(began + 9, began + 9) == ["completed", "failed", "cancelled", "terminated", "completed"]

    def test_a_look_goes_on_behind_the_last(self) -> None:
        self._ended()
        scan = Scan(after=0, rows_max=4, completed_before=1 << 60)
        first = self.world.storage.lapsed(scan)
        assert first.last is not None
        assert first.last == first.roots[0][1] + 3
        second = self.world.storage.lapsed(Scan(after=first.last, rows_max=4, completed_before=1 << 60))
        assert [each[1] for each in second.roots] == [first.last + 1]
        assert second.last is None

    def test_children_lapse_with_their_roots_alone(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("root")
        worker.run("root", starts=(ChildStart(new=world.child(world.record("root"), "child")),))
        worker.take("child")
        worker.run("child", change=InstanceChange(status=Status.COMPLETED))
        assert world.storage.lapsed(Scan(after=0, rows_max=9, completed_before=1 << 60)).roots == ()

    def test_instances_with_too_many_executions_are_told(self) -> None:
        world = self.world
        worker = world.worker()
        incarnation = worker.own("order").incarnation
        for execution in (2, 3):
            worker.run("order", **next_execution(execution))
            worker.take("order")
            worker.run("order")
        for kept, expected in ((None, ()), (3, ()), (2, (("order", incarnation),)), (1, (("order", incarnation),))):
            assert world.storage.lapsed(Scan(after=0, rows_max=9, executions=kept)).overlong == expected
        world.client(Prune(id="order", keep=2))
        assert world.storage.lapsed(Scan(after=0, rows_max=9, executions=2)).overlong == ()


def turn_row(event: int, at: int) -> HistoryRow:
    """The row of a turn of one event, at this time."""
    return replace(row(event), at=at)


def next_execution(execution: int) -> dict[str, Any]:
    """What a turn says that begins this execution."""
    return {"change": InstanceChange(execution=execution), "next_start": b"next"}
