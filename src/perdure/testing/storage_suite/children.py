"""Sub-orchestrations and detached ones: created with their parent's turn, or refused in it."""

from perdure._events import Parent
from perdure._types import Status
from perdure._work import APPLIED, ChildStart, InstanceChange, OutMessage, Refusal, StartInstance
from perdure.testing.storage_suite.suite import Topic
from perdure.testing.storage_suite.world import SECOND, Worker, applied, bodies, ids, refused


class Children(Topic):
    """What a turn starts."""

    def _parent(self) -> Worker:
        worker = self.world.worker()
        worker.own("parent")
        return worker

    def _start_children(self, worker: Worker, *names: str, **options: object) -> None:
        parent = self.world.record("parent")
        starts = tuple(
            ChildStart(new=self.world.child(parent, name, event=event, **options), refused=b"refused " + name.encode())
            for event, name in enumerate(names, start=2)
        )
        worker.run("parent", starts=starts)

    def test_a_child_knows_its_parent_and_root(self) -> None:
        world = self.world
        worker = self._parent()
        self._start_children(worker, "child")
        parent, child = world.record("parent"), world.record("child")
        assert child.parent == Parent(instance_id="parent", incarnation=parent.incarnation, execution=1, event=2)
        assert (child.root, child.status, child.owner) == ("parent", Status.PENDING, None)
        assert bodies(worker.take("child")) == [b"start child"]

    def test_a_taken_id_is_told_to_the_parent(self) -> None:
        world = self.world
        worker = self._parent()
        world.start("child")
        self._start_children(worker, "child", "other", "other")
        assert world.record("child").parent is None
        assert bodies(worker.take("parent")) == [b"refused child", b"refused other"]

    def test_the_same_child_again_is_a_taken_id(self) -> None:
        world = self.world
        worker = self._parent()
        child = ChildStart(new=world.child(world.record("parent"), "child"), refused=b"refused")
        worker.run("parent", starts=(child, child))
        assert {each.record.id: bodies(each) for each in worker.claim().instances} == {
            "parent": [b"refused"],
            "child": [b"start child"],
        }

    def test_a_detached_start_with_a_taken_id_is_reported(self) -> None:
        world = self.world
        worker = self._parent()
        world.start("taken")
        starts = (ChildStart(new=world.new("taken")), ChildStart(new=world.new("fresh")))
        assert worker.run("parent", starts=starts).skipped == ("taken",)
        assert world.record("fresh").parent is None

    def test_a_taken_incarnation_refuses_the_turn(self) -> None:
        world = self.world
        worker = self._parent()
        parent = world.record("parent")
        clash = ChildStart(new=world.child(parent, "child", incarnation=parent.incarnation))
        assert refused(worker.do(worker.turn("parent", starts=(clash,)))) is Refusal.INCARNATION
        twins = tuple(ChildStart(new=world.child(parent, name, incarnation=9)) for name in ("one", "two"))
        assert refused(worker.do(worker.turn("parent", starts=twins))) is Refusal.INCARNATION
        assert world.record("parent") == parent
        assert world.storage.get_many(["child", "one", "two"]) == {}

    def test_a_child_may_start_later(self) -> None:
        world = self.world
        worker = self._parent()
        self._start_children(worker, "child", start_at=world.clock.now_us() + SECOND)
        assert worker.claim().next_due == world.clock.now_us() + SECOND
        world.clock.advance(SECOND)
        assert bodies(worker.take("child")) == [b"start child"]

    def test_a_turn_may_talk_to_the_child_that_it_starts(self) -> None:
        world = self.world
        worker = self._parent()
        child = world.child(world.record("parent"), "child")
        worker.run("parent", starts=(ChildStart(new=child),), messages=(OutMessage(to_id="child", body=b"hello"),))
        assert bodies(worker.take("child")) == [b"start child", b"hello"]

    def test_a_child_reports_to_its_parents_incarnation_only(self) -> None:
        world = self.world
        worker = self._parent()
        self._start_children(worker, "child")
        worker.take("child")
        parent = world.record("parent")
        world.start("parent", on_conflict="terminate_and_restart")
        report = OutMessage(to_incarnation=parent.incarnation, body=b"completed")
        landed = worker.run("child", messages=(report,), change=InstanceChange(status=Status.COMPLETED))
        assert landed.skipped == (str(parent.incarnation),)
        assert bodies(worker.take("parent")) == [b"start parent"]

    def test_a_message_for_a_child_misses_a_stranger_with_its_id(self) -> None:
        world = self.world
        worker = self._parent()
        self._start_children(worker, "child", "gone")
        worker.take("gone")
        worker.run("gone", change=InstanceChange(status=Status.COMPLETED))
        world.start("gone", on_conflict="restart_if_closed")
        own = world.record("parent").incarnation
        messages = tuple(OutMessage(to_id=name, body=b"cancel", child_of=own) for name in ("child", "gone", "nobody"))
        assert worker.run("parent", messages=messages).skipped == ("gone", "nobody")
        assert bodies(worker.take("child")) == [b"start child", b"cancel"]
        others = OutMessage(to_id="child", body=b"cancel", child_of=own + 1)
        assert worker.run("parent", messages=(others,)).skipped == ("child",)


class RestartedParents(Topic):
    """What terminate_and_restart does to the family."""

    def _family(self) -> Worker:
        """A parent with an open, a sleeping and a closed child, and an open grandchild."""
        world = self.world
        worker = world.worker()
        worker.own("parent")
        for name in ("open", "closed"):
            worker.run("parent", starts=(ChildStart(new=world.child(world.record("parent"), name)),))
            worker.take(name)
            worker.run(name)
        worker.run("closed", change=InstanceChange(status=Status.COMPLETED))
        worker.run("open", starts=(ChildStart(new=world.child(world.record("open"), "grandchild")),))
        worker.take("grandchild")
        worker.run("grandchild")
        return worker

    def _restart(self, name: str) -> None:
        world = self.world
        restart = StartInstance(new=world.new(name), on_conflict="terminate_and_restart", cancel=b"cancel")
        assert world.client(restart) == (APPLIED,)

    def test_open_children_of_the_replaced_are_cancelled(self) -> None:
        world = self.world
        worker = self._family()
        self._restart("parent")
        work = worker.claim()
        assert {each.record.id: bodies(each) for each in work.instances} == {
            "parent": [b"start parent"],
            "open": [b"cancel"],
        }
        assert world.record("closed").status is Status.COMPLETED

    def test_children_of_a_closed_instance_are_left_alone(self) -> None:
        worker = self._family()
        worker.run("parent", change=InstanceChange(status=Status.COMPLETED))
        self._restart("parent")
        assert ids(worker.claim()) == ["parent"]

    def test_without_a_cancel_message_children_are_left_alone(self) -> None:
        worker = self._family()
        self.world.start("parent", on_conflict="terminate_and_restart")
        assert ids(worker.claim()) == ["parent"]

    def test_a_child_whose_parent_waits_cannot_be_replaced(self) -> None:
        world = self.world
        self._family()
        before = world.record("open")
        [outcome] = world.client(StartInstance(new=world.new("open"), on_conflict="terminate_and_restart"))
        assert refused(outcome) is Refusal.NOT_ROOT
        assert world.record("open") == before

    def test_a_child_whose_parent_has_ended_can_be_replaced(self) -> None:
        world = self.world
        worker = self._family()
        worker.run("parent", change=InstanceChange(status=Status.COMPLETED))
        self._restart("open")
        assert world.record("open").parent is None
        assert applied(world.delete("parent")).count == 2

    def test_a_closed_child_can_be_replaced(self) -> None:
        self._family()
        self._restart("closed")
        assert self.world.record("closed").status is Status.PENDING

    def test_a_child_whose_parent_was_replaced_is_its_own_root(self) -> None:
        world = self.world
        self._family()
        self._restart("parent")
        assert applied(world.delete("open", force=True)).count == 2
        assert world.storage.get("grandchild") is None
