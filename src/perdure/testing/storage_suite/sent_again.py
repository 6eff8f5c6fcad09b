"""A start that was sent before begins nothing that has been there already, and may have gone since."""

from perdure._types import OnConflict, Status
from perdure._work import (
    APPLIED,
    Applied,
    Delete,
    InstanceChange,
    NewInstance,
    Outcome,
    Refusal,
    Refused,
    StartInstance,
)
from perdure.testing.storage_suite.suite import Topic
from perdure.testing.storage_suite.world import applied, bodies, refused

_CONFLICTS: tuple[OnConflict, ...] = ("fail", "use_existing", "restart_if_closed", "terminate_and_restart")


class SentAgain(Topic):
    """`StartInstance.again`."""

    def _again(self, new: NewInstance, on_conflict: OnConflict = "fail") -> Outcome:
        [outcome] = self.world.client(StartInstance(new=new, on_conflict=on_conflict, again=True))
        return outcome

    def test_what_is_there_was_applied(self) -> None:
        world = self.world
        new = world.new("order")
        applied(world.client(StartInstance(new=new))[0])
        for on_conflict in _CONFLICTS:
            assert self._again(new, on_conflict) == APPLIED
        assert bodies(world.worker().take("order")) == [b"start order"]

    def test_what_has_not_landed_begins(self) -> None:
        world = self.world
        world.start("older")
        applied(world.delete("older", force=True))
        for on_conflict in _CONFLICTS:
            assert self._again(world.new(on_conflict), on_conflict) == APPLIED
            assert world.record(on_conflict).status is Status.PENDING

    def test_what_was_deleted_does_not_begin_once_more(self) -> None:
        world = self.world
        for on_conflict in _CONFLICTS:
            new = world.new("order")
            applied(world.client(StartInstance(new=new, on_conflict=on_conflict))[0])
            applied(world.delete("order", force=True))
            assert refused(self._again(new, on_conflict)) is Refusal.GONE
            assert world.storage.get("order") is None

    def test_nor_in_the_batch_that_deletes_it(self) -> None:
        world = self.world
        new = world.new("order")
        outcomes = world.client(
            StartInstance(new=new), Delete(id="order", force=True), StartInstance(new=new, again=True)
        )
        assert outcomes == (APPLIED, Applied(count=1), Refused(reason=Refusal.GONE))

    def test_nor_what_was_replaced(self) -> None:
        world = self.world
        worker = world.worker()
        for on_conflict in ("restart_if_closed", "terminate_and_restart"):
            first = world.new("order")
            applied(world.client(StartInstance(new=first, on_conflict="terminate_and_restart"))[0])
            second = world.start("order", on_conflict="terminate_and_restart")
            worker.take("order")
            worker.run("order", change=InstanceChange(status=Status.COMPLETED))
            assert refused(self._again(first, on_conflict)) is Refusal.GONE
            assert world.record("order").incarnation == second.incarnation

    def test_nobody_remembers_which_of_the_older_ones_were_there(self) -> None:
        world = self.world
        older = world.new("order")
        for _ in range(3):
            world.start("younger")
            applied(world.delete("younger", force=True))
        assert refused(self._again(older)) is Refusal.GONE
        # It is older than what was deleted then, and younger than what is deleted now.
        middle = world.new("another order")
        world.start("oldest", incarnation=1)
        applied(world.delete("oldest", force=True))
        assert self._again(middle) == APPLIED

    def test_whoever_has_the_id_is_met_as_always(self) -> None:
        world = self.world
        new = world.new("order")
        taken = world.start("order")
        world.start("younger")
        applied(world.delete("younger", force=True))
        assert self._again(new) == Refused(reason=Refusal.EXISTS, existing=taken)
        assert self._again(new, "restart_if_closed") == Refused(reason=Refusal.EXISTS, existing=taken)
        assert self._again(new, "use_existing") == Applied(existing=taken)
        clash = world.new("other", incarnation=taken.incarnation)
        assert refused(self._again(clash)) is Refusal.INCARNATION

    def test_another_handle_knows_it_too(self) -> None:
        world = self.world
        new = world.new("order")
        applied(world.client(StartInstance(new=new))[0])
        applied(world.delete("order", force=True))
        other = world.worker(storage=world.connect())
        assert refused(other.do(StartInstance(new=new, again=True))) is Refusal.GONE
