"""What clients send: refused with a reason, or kept; once if they say that it is the same."""

from msgspec.structs import replace

from perdure._types import Status
from perdure._work import APPLIED, Deliver, InstanceChange, Refusal, Refused, StartInstance
from perdure.testing.storage_suite.suite import Topic
from perdure.testing.storage_suite.world import SECOND, bodies, ids, refused


class Delivery(Topic):
    """A client's message by id."""

    def test_an_unknown_instance_is_not_found(self) -> None:
        assert refused(self.world.deliver("nobody", b"news")) is Refusal.NOT_FOUND
        assert refused(self.world.deliver("nobody", b"news", dedup_key="key")) is Refusal.NOT_FOUND

    def test_one_for_an_earlier_instance_of_the_id_reaches_no_other(self) -> None:
        # given
        world = self.world
        first = world.start("order")
        message = Deliver(to_id="order", body=b"for the first", incarnation=first.incarnation)
        assert world.client(message) == (APPLIED,)
        second = world.start("order", on_conflict="terminate_and_restart")
        # when, also with keys that the second one has
        third = world.new("order")
        with_key = replace(message, dedup_key="key")
        outcomes = world.client(
            message,
            Deliver(to_id="order", body=b"for the second", incarnation=second.incarnation, dedup_key="key"),
            with_key,
            StartInstance(new=third, on_conflict="terminate_and_restart"),
            replace(message, incarnation=second.incarnation),
            replace(with_key, body=b"for the third", incarnation=third.incarnation),
        )
        # then
        gone = Refused(reason=Refusal.NOT_FOUND)
        assert outcomes == (gone, APPLIED, gone, APPLIED, gone, APPLIED)
        assert bodies(world.worker().take("order")) == [b"start order", b"for the third"]

    def test_a_closed_instance_is_closed(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        worker.run("order", change=InstanceChange(status=Status.FAILED))
        assert refused(world.deliver("order", b"news")) is Refusal.CLOSED
        assert refused(world.deliver("order", b"terminate", control=True)) is Refusal.CLOSED

    def test_pending_running_and_held_instances_get_it(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("running")
        worker.own("held")
        worker.do(worker.hold("held"))
        world.start("pending")
        for name in ("pending", "running", "held"):
            assert world.deliver(name, b"news") == APPLIED
        world.clock.advance(1)
        world.storage.unregister(worker.number)
        claimed = {each.record.id: bodies(each) for each in world.worker().claim().instances}
        assert claimed == {"pending": [b"start pending", b"news"], "running": [b"news"], "held": [b"news"]}

    def test_the_same_key_is_delivered_once(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        for body in (b"one", b"two"):
            assert world.deliver("order", body, dedup_key="key") == APPLIED
        assert world.deliver("order", b"three", dedup_key="other") == APPLIED
        assert bodies(worker.take("order")) == [b"one", b"three"]

    def test_a_key_is_remembered_after_its_message_was_consumed(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        world.deliver("order", b"one", dedup_key="key")
        worker.take("order")
        worker.run("order")
        world.clock.advance(86_400 * SECOND)
        assert world.deliver("order", b"one", dedup_key="key") == APPLIED
        assert ids(worker.claim()) == []

    def test_a_key_is_remembered_after_the_instance_has_closed(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        world.deliver("order", b"one", dedup_key="key")
        worker.run("order", change=InstanceChange(status=Status.COMPLETED))
        assert world.deliver("order", b"one", dedup_key="key") == APPLIED
        assert refused(world.deliver("order", b"one", dedup_key="other")) is Refusal.CLOSED

    def test_a_key_is_remembered_over_a_continue_as_new(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        world.deliver("order", b"one", dedup_key="key")
        worker.take("order")
        worker.run("order", next_start=b"start again", change=InstanceChange(execution=2))
        assert world.deliver("order", b"one", dedup_key="key") == APPLIED
        assert bodies(worker.take("order")) == [b"start again"]

    def test_keys_of_different_instances_are_different(self) -> None:
        world = self.world
        worker = world.worker()
        for name in ("a", "b"):
            worker.own(name)
            world.deliver(name, b"news", dedup_key="key")
        assert ids(worker.claim()) == ["a", "b"]

    def test_a_key_is_forgotten_with_its_incarnation(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        world.deliver("order", b"one", dedup_key="key")
        world.delete("order", force=True)
        world.start("order")
        world.deliver("order", b"two", dedup_key="key")
        assert bodies(worker.take("order")) == [b"start order", b"two"]

    def test_messages_without_a_key_all_come(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        world.deliver("order", b"same")
        world.deliver("order", b"same")
        assert bodies(worker.take("order")) == [b"same", b"same"]
