"""When an instance changed last: never before its last event, and never before it was said to have changed."""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from perdure._types import Status
from perdure._work import (
    APPLIED,
    Batch,
    Deliver,
    InstanceChange,
    InstanceImage,
    MoveOut,
    Put,
    Query,
    Resume,
    Scan,
    Suspend,
    Turn,
)
from perdure.testing.storage_suite.suite import Topic
from perdure.testing.storage_suite.world import SECOND, Worker, applied, row, task

_COMPANY = 5
"""So many others are in a batch, that nobody may take it for a small one."""

_DONE = InstanceChange(status=Status.COMPLETED, output=b"out")
_AGAIN = InstanceChange(execution=2, status=Status.RUNNING)
_TURNS: dict[str, dict[str, Any]] = {
    "a step": {"tasks": (task(9, local=True),), "tasks_gone": (2,)},
    "the end of an activity's": {"tasks_gone": (2,), "change": _DONE},
    "an end": {"change": _DONE},
    "nothing but events": {},
    "a custom status": {"change": InstanceChange(custom_status=b"1")},
    "a continue-as-new": {"change": _AGAIN, "next_start": b"start again"},
}


class LastChanges(Topic):
    """`updated_at`, where the clocks of handles differ."""

    def _with_activity(self, worker: Worker, *instance_ids: str) -> None:
        for instance_id in instance_ids:
            worker.own(instance_id)
            worker.run(instance_id, tasks=(task(2, local=True),))

    def _turn_told_at(self, worker: Worker, instance_id: str, at: int, fields: dict[str, Any]) -> Turn:
        history = replace(row(self.world.record(instance_id).last_event + 1), at=at)
        return worker.turn(instance_id, history=history, consumed=(), **fields)

    def _lands_beside_steps(self, worker: Worker, turn: Turn, company: str) -> None:
        """The turn lands in a batch with the steps of others."""
        others = [f"{company} {number}" for number in range(_COMPANY)]
        self._with_activity(worker, *others)
        steps = [self._turn_told_at(worker, other, 1, _TURNS["a step"]) for other in others]
        assert worker.commit(turn, *steps).outcomes == (APPLIED,) * (_COMPANY + 1)
        assert {self.world.record(other).updated_at for other in others} == {worker.storage.now()}

    def test_a_turn_whose_events_are_ahead_of_the_clock_takes_the_instance_along(self) -> None:
        world = self.world
        worker = world.worker()
        later = world.clock.now_us() + SECOND
        for instance_id, fields in _TURNS.items():
            self._with_activity(worker, instance_id)
            assert worker.do(self._turn_told_at(worker, instance_id, later, fields)) == APPLIED
            record = world.record(instance_id)
            assert (record.created_at, record.updated_at) == (world.clock.now_us(), later), instance_id

    def test_so_does_one_in_a_crowd_and_takes_nobody_else_along(self) -> None:
        world = self.world
        worker = world.worker()
        later = world.clock.now_us() + SECOND
        for instance_id, fields in _TURNS.items():
            self._with_activity(worker, instance_id)
            self._lands_beside_steps(
                worker, self._turn_told_at(worker, instance_id, later, fields), f"beside {instance_id}"
            )
            assert world.record(instance_id).updated_at == later, instance_id

    def test_so_does_a_first_turn(self) -> None:
        world = self.world
        worker = world.worker()
        later = world.clock.now_us() + SECOND
        history = replace(row(1, 2), at=later)
        turns: dict[str, dict[str, Any]] = {"goes on": {"tasks": (task(2, local=True),)}, "ends": {"change": _DONE}}
        for name, fields in turns.items():
            assert worker.do(worker.first_turn(world.new(name), history=history, **fields)) == APPLIED
            record = world.record(name)
            assert (record.created_at, record.updated_at) == (world.clock.now_us(), later), name

    def test_turns_of_who_is_behind_do_not_set_it_back(self) -> None:
        for instance_id, fields in _TURNS.items():

            def alone(worker: Worker, name: str, fields: dict[str, Any] = fields) -> None:
                applied(worker.do(self._turn_told_at(worker, name, 1, fields)))

            def in_a_crowd(worker: Worker, name: str, fields: dict[str, Any] = fields) -> None:
                self._lands_beside_steps(worker, self._turn_told_at(worker, name, 1, fields), f"beside {name}")

            self._stays_ahead(instance_id, alone)
            self._stays_ahead(f"{instance_id} in a crowd", in_a_crowd)

    def test_nor_does_who_is_behind_and_sets_it_aside(self) -> None:
        def suspend(worker: Worker, name: str) -> None:
            applied(worker.do(Suspend(id=name)))

        def resume(worker: Worker, name: str) -> None:
            suspend(worker, name)
            applied(worker.do(Resume(id=name)))

        def hold(worker: Worker, name: str) -> None:
            applied(worker.do(worker.hold(name)))

        def hold_the_next_execution(worker: Worker, name: str) -> None:
            applied(worker.do(self._turn_told_at(worker, name, 1, _TURNS["a continue-as-new"])))
            hold(worker, name)

        for how, decisions in ((suspend, 1), (resume, 2), (hold, 0), (hold_the_next_execution, 0)):
            self._stays_ahead(how.__name__, how, decisions=decisions)

    def test_it_is_held_since_then(self) -> None:
        world = self.world
        worker = world.worker()
        later = world.clock.now_us() + SECOND
        self._with_activity(worker, "order", "another order")
        for name in ("order", "another order"):
            applied(worker.do(self._turn_told_at(worker, name, later, _TURNS["a step"])))
            applied(worker.do(worker.hold(name)))
        assert world.storage.depths().held_since == world.record("order").updated_at == later

    def test_nor_does_who_is_behind_and_moves_it(self) -> None:
        def suspended(worker: Worker, name: str) -> InstanceImage:
            applied(worker.do(Suspend(id=name, tasks="all")))
            [image] = worker.storage.images([name])
            return image

        def put_back(worker: Worker, name: str) -> None:
            image = suspended(worker, name)
            applied(worker.do(Put(images=(image,), on_conflict="named", instead_of=(image.stamp,))))

        def move_out(worker: Worker, name: str) -> None:
            applied(worker.do(MoveOut(stamps=(suspended(worker, name).stamp,), place="elsewhere")))

        for how in (put_back, move_out):
            self._stays_ahead(how.__name__, how, decisions=1)

    def test_what_lapses_is_judged_by_it(self) -> None:
        world = self.world
        self._stays_ahead(
            "order", lambda worker, name: applied(worker.do(self._turn_told_at(worker, name, 1, _TURNS["an end"])))
        )
        ended, _ = world.storage.find(Query(statuses=(Status.COMPLETED,)))
        for record in ended:
            moments = (record.updated_at, record.updated_at + 1)
            scans = [Scan(after=record.incarnation - 1, rows_max=1, completed_before=each) for each in moments]
            assert [len(world.storage.lapsed(scan).roots) for scan in scans] == [0, 1]

    def _stays_ahead(self, what: str, how: Callable[[Worker, str], object], *, decisions: int = 0) -> None:
        """The clock of who does this to an instance is a second behind that of who did something before.

        It stands still then, but for each thing that somebody decides.
        """
        for last, fields in (("row", {"change": InstanceChange(custom_status=b"0"), "written": 0}), ("event", {})):
            name = f"{what} behind its {last}"
            self._stays_ahead_of(name, how, fields, decisions)

    def _stays_ahead_of(
        self, name: str, how: Callable[[Worker, str], object], fields: dict[str, Any], decisions: int
    ) -> None:
        world = self.world
        now = world.clock.now_us()
        ahead = world.worker("ahead", storage=world.connect())
        ahead.own(name)
        world.clock.advance(SECOND)
        ahead.run(name, **fields)
        ahead.storage.unregister(ahead.number)
        world.clock.set(now)
        behind = world.worker("behind", storage=world.connect())
        if behind.storage.now() == now + SECOND:
            return  # a backend with one handle for all
        behind.storage.commit(Batch(token=world.token(), items=(Deliver(to_id=name, body=b"news"),)))
        behind.take(name)
        behind.run(name, tasks=(task(2, local=True),))
        assert world.record(name).updated_at == now + SECOND
        how(behind, name)
        assert world.record(name).updated_at == now + SECOND + decisions, name
        behind.storage.unregister(behind.number)
