"""Images: instances that leave with all their rows, and come into the same or another store."""

from msgspec.structs import replace

from perdure._types import INSTANT_US_MAX, Status
from perdure._work import (
    APPLIED,
    Applied,
    ChildStart,
    Entry,
    InstanceChange,
    InstanceImage,
    InstanceRecord,
    MoveOut,
    Outcome,
    Put,
    Refusal,
    Refused,
    Resume,
    Suspend,
    TaskDone,
    TaskRetry,
    Turn,
)
from perdure.testing.storage_suite.suite import Topic
from perdure.testing.storage_suite.world import (
    ORDER,
    SECOND,
    Worker,
    World,
    about,
    applied,
    bodies,
    events,
    ids,
    refused,
    row,
    task,
)

ELSEWHERE = "postgresql://elsewhere"


def _full(world: World) -> Worker:
    """An instance with some of everything, and a child; its activity runs."""
    worker = world.worker()
    worker.own("order", attributes=b'{"size":1}')
    world.deliver("order", b"unread", dedup_key="once")
    entries = (Entry(shelf="value", key="k", value=b"v"), Entry(shelf="answer", key="a", value=b"y", passing=True))
    change = InstanceChange(custom_status=b"half", custom_status_sets=2)
    record = world.record("order")
    worker.run(
        "order",
        written=5,
        tasks=(task(2, local=True), task(3, retry=b"{}", priority=2, total_timeout_us=60 * SECOND)),
        timers=((4, world.clock.now_us() + 5 * SECOND),),
        entries=entries,
        change=change,
    )
    worker.run("order", starts=(_start(world, record),))
    return worker


def _start(world: World, record: InstanceRecord) -> ChildStart:
    return ChildStart(new=world.child(record, "child", event=7))


def _one(world: World, item: Put | MoveOut | Suspend | Resume) -> Outcome:
    [outcome] = world.client(item)
    return outcome


def _stopped(image: InstanceImage) -> InstanceImage:
    """The image as it comes back: nobody runs its tasks."""
    return replace(image, tasks=tuple(replace(each, running=False) for each in image.tasks))


class Images(Topic):
    """What an image holds, and what comes of writing it."""

    def test_an_image_has_everything_that_belongs_to_the_instance_and_to_those_below_it(self) -> None:
        world = self.world
        _full(world)
        order, child = world.storage.images(["order", "nobody"])
        assert (order.record, child.record.id) == (replace(world.record("order"), owner=None), "child")
        assert [each.row.last for each in order.history] == [1, 6, 7]
        assert [each.body for each in order.messages] == [b"unread"]
        assert [(each.event, each.execution) for each in order.timers] == [(4, 1)]
        assert [(each.event, each.running, each.retry) for each in order.tasks] == [(2, True, None), (3, False, b"{}")]
        assert [(each.shelf, each.passing_since is None) for each in order.entries] == [
            ("answer", False),
            ("value", True),
        ]
        assert order.dedup_keys == ("once",)
        assert [each.body for each in child.messages] == [b"start child"]

    def test_the_lone_activity_of_a_turn_is_in_the_image(self) -> None:
        worker = self.world.worker()
        worker.own("order")
        worker.run("order", written=2, tasks=(task(3, local=True),))
        [image] = self.world.storage.images(["order"])
        assert [(each.event, each.name, each.running) for each in image.tasks] == [(3, task(3).name, True)]

    def test_what_is_written_reads_as_it_did(self) -> None:
        world = self.world
        _full(world)
        before = world.storage.images(["order"])
        applied(world.delete("order", force=True))
        assert _one(world, Put(images=tuple(before))) == APPLIED
        assert world.storage.images(["order"]) == [_stopped(each) for each in before]
        assert [each.id for each in world.storage.family("order", 5)] == ["order", "child"]

    def test_it_goes_on_where_it_was(self) -> None:
        world = self.world
        _full(world)
        before = tuple(world.storage.images(["order"]))
        world.delete("order", force=True)
        _one(world, Put(images=before))
        other = world.worker("other")
        assert bodies(other.take("order")) == [b"unread"]
        assert events(other.claim()) == [3, 2]
        other.run("order")
        world.clock.advance(5 * SECOND)
        assert bodies(other.take("order")) == [b"timer 4"]
        other.run("order")
        assert world.deliver("order", b"again", dedup_key="once") == APPLIED
        assert "order" not in ids(other.claim())

    def test_a_held_one_is_tried_by_workers_that_are_there(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        world.deliver("order", b"news")
        worker.do(worker.hold("order"))
        images = tuple(world.storage.images(["order"]))
        world.delete("order", force=True)
        _one(world, Put(images=images))
        assert ids(worker.claim()) == ["order"]

    def test_a_taken_id_is_refused_passed_over_or_replaced_as_the_policy_says(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        images = tuple(world.storage.images(["order"]))
        record = world.record("order")
        assert _one(world, Put(images=images)) == Refused(reason=Refusal.EXISTS, existing=record)
        assert _one(world, Put(images=images, on_conflict="skip")) == Applied(existing=record)
        assert refused(_one(world, Put(images=images, on_conflict="replace"))) is Refusal.EXISTS
        worker.run("order", change=InstanceChange(status=Status.COMPLETED))
        assert _one(world, Put(images=images, on_conflict="replace")) == APPLIED
        assert world.record("order") == replace(record, owner=None, resets=1)

    def test_a_suspended_one_is_replaced_by_the_same_only(self) -> None:
        world = self.world
        world.start("order")
        _one(world, Suspend(id="order"))
        images = tuple(world.storage.images(["order"]))
        another = replace(images[0], record=replace(images[0].record, incarnation=7))
        assert refused(_one(world, Put(images=(another,), on_conflict="replace"))) is Refusal.EXISTS
        assert _one(world, Put(images=images, on_conflict="replace")) == APPLIED

    def test_an_incarnation_of_another_is_refused_and_nothing_is_written(self) -> None:
        world = self.world
        record = world.start("order")
        [image] = world.storage.images(["order"])
        news = tuple(
            replace(image, record=replace(image.record, id=each, incarnation=incarnation))
            for each, incarnation in (("a", 5), ("b", record.incarnation))
        )
        assert refused(_one(world, Put(images=news))) is Refusal.INCARNATION
        assert world.storage.get("a") is None

    def test_what_it_is_put_instead_of_must_stand_as_it_was_read(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        [image] = world.storage.images(["order"])
        earlier = replace(image, record=replace(image.record, last_event=0), history=())
        world.deliver("order", b"late")
        put = Put(images=(earlier,), instead_of=(image.stamp,))
        assert refused(_one(world, put)) is Refusal.STALE
        world.clock.advance(1)
        [image] = world.storage.images(["order"])
        assert _one(world, replace(put, instead_of=(image.stamp,))) == APPLIED
        record = world.record("order")
        assert (record.last_event, record.resets, record.owner) == (0, 1, None)
        assert record.updated_at == world.clock.now_us()
        assert refused(worker.do(worker.turn("order"))) is Refusal.NOT_OWNER

    def test_nothing_is_put_instead_of_what_a_worker_runs_an_activity_of(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        worker.run("order", written=2, tasks=(task(3, local=True),))
        [image] = world.storage.images(["order"])
        assert refused(_one(world, Put(images=(image,), instead_of=(image.stamp,)))) is Refusal.RUNNING

    def test_a_child_that_it_is_to_wait_for_must_not_have_ended(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        worker.run("order", starts=(_start(world, world.record("order")),))
        [order, child] = world.storage.images(["order"])
        put = Put(images=(order,), instead_of=(order.stamp,), while_open=(child.record.incarnation,))
        assert refused(_one(world, replace(put, while_open=(999,)))) is Refusal.STALE
        assert _one(world, put) == APPLIED
        world.clock.advance(1)
        worker.take("child")
        worker.run("child", change=InstanceChange(status=Status.COMPLETED))
        [order] = [each for each in world.storage.images(["order"]) if each.record.id == "order"]
        assert refused(_one(world, replace(put, instead_of=(order.stamp,)))) is Refusal.STALE

    def test_what_it_is_put_instead_of_may_be_more_than_comes(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        worker.run("order", starts=(_start(world, world.record("order")),))
        order, child = world.storage.images(["order"])
        assert _one(world, Put(images=(order,), instead_of=(order.stamp, child.stamp))) == APPLIED
        assert world.storage.get("child") is None


class MovingOut(Topic):
    """An instance that goes elsewhere."""

    def _sealed(self) -> tuple[Worker, tuple[InstanceImage, ...]]:
        world = self.world
        worker = world.worker()
        worker.own("order")
        worker.run("order", written=3, tasks=(task(3), task(4, local=True)))
        world.deliver("order", b"unread")
        _one(world, Suspend(id="order", reason="moving", tasks="all"))
        return worker, tuple(world.storage.images(["order"]))

    def test_tasks_are_set_aside_with_it_those_that_run_only_if_that_is_asked_for(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        worker.run("order", written=3, tasks=(task(3), task(4, local=True)))
        _one(world, Suspend(id="order", reason="moving", tasks="wait"))
        [image] = world.storage.images(["order"])
        assert [(each.held_because, each.due_at, each.running) for each in image.tasks] == [
            ("moving", INSTANT_US_MAX, False),
            (None, image.tasks[1].due_at, True),
        ]
        _one(world, Suspend(id="order", reason="moving", tasks="all"))
        [image] = world.storage.images(["order"])
        assert [(each.held_because, each.running) for each in image.tasks] == [("moving", False)] * 2
        gone = TaskDone(incarnation=image.record.incarnation, execution=1, event=4, body=b"late")
        assert refused(worker.do(gone)) is Refusal.NOT_OWNER
        assert events(worker.claim()) == []

    def test_only_what_was_set_aside_for_a_reason_goes_on(self) -> None:
        world = self.world
        worker, _ = self._sealed()
        assert _one(world, Resume(id="order", reason="audit")) == APPLIED
        assert world.record("order").status is Status.SUSPENDED
        assert events(worker.claim()) == []
        assert _one(world, Resume(id="order", reason="moving")) == APPLIED
        work = worker.claim()
        assert (ids(work), events(work)) == (["order"], [3, 4])

    def test_what_has_moved_is_closed_and_says_where_it_is(self) -> None:
        world = self.world
        worker, (image,) = self._sealed()
        world.clock.advance(1)
        assert _one(world, MoveOut(stamps=(image.stamp,), place=ELSEWHERE)) == APPLIED
        record = world.record("order")
        assert (record.status, record.held_because, record.owner) == (Status.MOVED, ELSEWHERE, None)
        assert record.updated_at == world.clock.now_us()
        [left] = world.storage.images(["order"])
        assert (left.messages, left.tasks, left.timers) == ((), (), ())
        assert left.history == image.history
        assert refused(world.deliver("order", b"late")) is Refusal.CLOSED
        assert refused(_one(world, Resume(id="order"))) is Refusal.CLOSED
        assert ids(worker.claim()) == []
        assert applied(world.delete("order")).count == 1

    def test_it_stays_when_something_has_happened_to_it(self) -> None:
        world = self.world
        _, (image,) = self._sealed()
        world.deliver("order", b"late")
        out = MoveOut(stamps=(image.stamp,), place=ELSEWHERE)
        assert refused(_one(world, out)) is Refusal.STALE
        world.delete("order", force=True)
        assert refused(_one(world, out)) is Refusal.STALE

    def test_it_stays_when_somebody_has_decided_about_it_though_it_looks_the_same(self) -> None:
        world = self.world
        self._sealed()
        moving = Suspend(id="order", reason="moving", tasks="all", keep=True)
        for decisions in (
            (Suspend(id="order", reason="moving"),),
            (Resume(id="order"), moving),
            (Resume(id="order", event=3), moving),
            (Resume(id="order", event=3), moving, Resume(id="order", event=4), moving),
        ):
            [image] = world.storage.images(["order"])
            for decision in decisions:
                assert _one(world, decision) == APPLIED
            [after] = world.storage.images(["order"])
            assert (len(after.tasks), len(after.messages)) == (len(image.tasks), len(image.messages))
            assert refused(_one(world, MoveOut(stamps=(image.stamp,), place=ELSEWHERE))) is Refusal.STALE, decisions
        [image] = world.storage.images(["order"])
        assert _one(world, moving) == APPLIED
        assert _one(world, MoveOut(stamps=(image.stamp,), place=ELSEWHERE)) == APPLIED

    def test_it_stays_while_a_worker_runs_an_activity_of_it(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        worker.run("order", tasks=(task(3),))
        claimed = worker.take_task(3)
        _one(world, Suspend(id="order", reason="moving", tasks="wait"))
        [image] = world.storage.images(["order"])
        assert refused(_one(world, MoveOut(stamps=(image.stamp,), place=ELSEWHERE))) is Refusal.RUNNING
        worker.do(about(TaskRetry, claimed, attempt=2, delay_us=0))
        _one(world, Suspend(id="order", reason="moving", tasks="wait"))
        [image] = world.storage.images(["order"])
        assert _one(world, MoveOut(stamps=(image.stamp,), place=ELSEWHERE)) == APPLIED

    def test_it_comes_home_in_place_of_what_says_that_it_has_moved(self) -> None:
        world = self.world
        worker, (image,) = self._sealed()
        _one(world, MoveOut(stamps=(image.stamp,), place=ELSEWHERE))
        assert _one(world, Put(images=(image,))) == APPLIED
        _one(world, Resume(id="order"))
        assert bodies(worker.take("order")) == [b"unread"]
        assert world.record("order").resets == 1

    def test_who_names_what_it_comes_for_comes_for_nothing_else_not_even_for_what_has_moved_away(self) -> None:
        world = self.world
        _, (image,) = self._sealed()
        _one(world, MoveOut(stamps=(image.stamp,), place=ELSEWHERE))
        [left] = world.storage.images(["order"])
        late = refused(_one(world, Put(images=(image,), on_conflict="named")))
        stale = refused(_one(world, Put(images=(image,), on_conflict="named", instead_of=(image.stamp,))))
        assert (late, stale) == (Refusal.EXISTS, Refusal.STALE)
        assert _one(world, Put(images=(image,), on_conflict="named", instead_of=(left.stamp,))) == APPLIED

    def test_another_of_its_id_does_not(self) -> None:
        world = self.world
        _, (image,) = self._sealed()
        _one(world, MoveOut(stamps=(image.stamp,), place=ELSEWHERE))
        another = replace(image, record=replace(image.record, incarnation=7))
        assert refused(_one(world, Put(images=(another,)))) is Refusal.EXISTS

    def test_a_worker_that_knew_it_before_can_write_nothing(self) -> None:
        world = self.world
        worker, (image,) = self._sealed()
        stale = Turn(incarnation=image.record.incarnation, execution=1, base=4, history=row(5))
        _one(world, MoveOut(stamps=(image.stamp,), place=ELSEWHERE))
        assert refused(worker.do(stale)) is Refusal.NOT_OWNER
        assert world.worker("other", orchestrations=(ORDER,)).claim().instances == ()
