"""A tree of instances is deleted as a whole, and leaves nothing."""

from perdure._types import Status
from perdure._work import Applied, ChildStart, InstanceChange, InstanceRelease, Refusal, TaskDone
from perdure.testing.storage_suite.suite import Topic
from perdure.testing.storage_suite.world import SECOND, Worker, about, applied, bodies, events, ids, refused, task


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
