"""What goes from one shard to another: kept with the turn that sends it, applied once where it arrives."""

from typing import Any

from perdure._types import Status
from perdure._work import (
    Applied,
    Effect,
    Forget,
    InstanceChange,
    Outcome,
    OutMessage,
    Parcel,
    Query,
    Receive,
    Refusal,
    Settle,
    ShardStamp,
)
from perdure.testing.storage_suite.suite import Topic
from perdure.testing.storage_suite.world import SECOND, Worker, World, applied, bodies, refused, row

HERE, THERE = 0, 1
OFTEN = 100
LATE = 10_000 * SECOND
OUTSIDE = 1_000_000
"""The incarnation of an instance of another shard."""


def _parcel(body: bytes, shard: int = THERE) -> OutMessage:
    return OutMessage(body=body, shard=shard)


def _sent(world: World, shard: int | None = THERE, **options: Any) -> list[bytes]:
    return [parcel.body for parcel in _outbox(world, shard, **options)]


def _outbox(world: World, shard: int | None = THERE, **options: Any) -> list[Parcel]:
    return world.storage.parcels(shard, OFTEN, **options)


def _receive(world: World, *effects: Effect, sender: int = THERE, until: int | None = None) -> Outcome:
    until = world.storage.now() + LATE if until is None else until
    [outcome] = world.client(Receive(sender=sender, effects=effects, until=until))
    return outcome


def _tells(seq: int, to_id: str, body: bytes, *, sent_by: int = OUTSIDE, **options: Any) -> Effect:
    return Effect(seq=seq, incarnation=sent_by, message=OutMessage(body=body, to_id=to_id, **options))


def _starts(world: World, seq: int, instance_id: str, **options: Any) -> Effect:
    return Effect(seq=seq, incarnation=OUTSIDE, start=world.new(instance_id, **options))


class Sending(Topic):
    """A turn leaves in the outbox what it has for others, in order, until that is settled."""

    def _sender(self, *instance_ids: str) -> Worker:
        worker = self.world.worker()
        for instance_id in instance_ids or ("order",):
            worker.own(instance_id)
        return worker

    def test_what_is_for_another_shard_waits_in_the_outbox(self) -> None:
        world = self.world
        worker = self._sender()
        assert worker.run("order", messages=(_parcel(b"a"), _parcel(b"c", 2), _parcel(b"b"))).skipped == ()
        worker.run("order", messages=(_parcel(b"d"),))
        assert (_sent(world), _sent(world, 2), _sent(world, HERE)) == ([b"a", b"b", b"d"], [b"c"], [])
        incarnation, now = world.record("order").incarnation, world.storage.now()
        assert {(each.incarnation, each.sent_at) for each in _outbox(world)} == {(incarnation, now)}
        assert [(each.body, each.shard) for each in _outbox(world, None)] == [
            (b"a", THERE), (b"c", 2), (b"b", THERE), (b"d", THERE),
        ]  # fmt: skip

    def test_how_much_waits_there_and_since_when_is_told(self) -> None:
        world = self.world
        worker = self._sender()
        assert (world.storage.depths().parcels, world.storage.depths().parcels_since) == (0, None)
        worker.run("order", messages=(_parcel(b"a"), _parcel(b"b", 2)))
        began = world.storage.now()
        world.clock.advance(SECOND)
        worker.run("order", messages=(_parcel(b"c"),))
        assert (world.storage.depths().parcels, world.storage.depths().parcels_since) == (3, began)

    def test_a_refused_turn_sends_nothing(self) -> None:
        world = self.world
        worker = self._sender()
        other = world.worker("other")
        refused(other.do(worker.turn("order", messages=(_parcel(b"a"),))))
        assert _sent(world) == []

    def test_a_first_and_a_last_turn_may_send_too(self) -> None:
        world = self.world
        worker = world.worker()
        applied(worker.do(worker.first_turn(world.new("order"), messages=(_parcel(b"a"),))))
        worker.run("order", messages=(_parcel(b"b"),), change=InstanceChange(status=Status.COMPLETED))
        assert _sent(world) == [b"a", b"b"]
        world.delete("order")
        assert _sent(world) == [b"a", b"b"]

    def test_many_turns_of_a_batch_keep_their_order(self) -> None:
        world = self.world
        names = [f"order-{number}" for number in range(10)]
        worker = self._sender(*names)
        firsts = [worker.turn(name, messages=(_parcel(b"1 " + name.encode()),)) for name in names]
        again = [
            worker.turn(name, base=2, history=row(3), messages=(_parcel(b"2 " + name.encode()),)) for name in names
        ]
        for outcome in worker.commit(*firsts, *again).outcomes:
            applied(outcome)
        for name in names:
            sent = _sent(world, incarnations=[world.record(name).incarnation])
            assert sent == [b"1 " + name.encode(), b"2 " + name.encode()]

    def test_some_are_read_without_the_others(self) -> None:
        world = self.world
        worker = self._sender("order", "other")
        worker.run("order", messages=(_parcel(b"a"),))
        world.clock.advance(5)
        worker.run("other", messages=(_parcel(b"b"), _parcel(b"c")))
        other = world.record("other").incarnation
        assert _sent(world, incarnations=[other]) == [b"b", b"c"]
        assert _sent(world, incarnations=[]) == []
        assert _sent(world, before=world.storage.now()) == [b"a"]
        assert _sent(world, None, before=world.storage.now()) == [b"a"]
        for shard in (THERE, None):
            assert [each.body for each in world.storage.parcels(shard, 2)] == [b"a", b"b"]

    def test_what_is_settled_is_gone_once(self) -> None:
        world = self.world
        worker = self._sender()
        worker.run("order", messages=(_parcel(b"a"), _parcel(b"b"), _parcel(b"c")))
        first, second, third = (each.seq for each in _outbox(world))
        outcomes = world.client(Settle(seqs=(third, first)), Settle(seqs=(first, 4_711)), Settle(seqs=()))
        assert [applied(outcome).count for outcome in outcomes] == [2, 0, 0]
        assert [each.seq for each in _outbox(world)] == [second]

    def test_a_reply_comes_with_the_parcel_or_not_at_all(self) -> None:
        world = self.world
        worker = self._sender()
        worker.run("order", messages=(_parcel(b"a"),))
        [parcel] = _outbox(world)
        reply = OutMessage(body=b"refused", to_incarnation=parcel.incarnation)
        for count in (1, 0):
            [outcome] = world.client(Settle(seqs=(parcel.seq,), replies=((parcel.seq, reply),)))
            assert applied(outcome).count == count
        assert bodies(worker.take("order")) == [b"refused"]

    def test_a_reply_to_nobody_is_passed_over(self) -> None:
        world = self.world
        worker = self._sender()
        worker.run("order", messages=(_parcel(b"a"),), change=InstanceChange(status=Status.COMPLETED))
        [parcel] = _outbox(world)
        reply = OutMessage(body=b"refused", to_incarnation=parcel.incarnation)
        [outcome] = world.client(Settle(seqs=(parcel.seq,), replies=((parcel.seq, reply),)))
        assert applied(outcome).count == 1

    def test_numbers_rise_and_never_come_again(self) -> None:
        world = self.world
        worker = self._sender()
        lowest = world.storage.lowest_parcel()
        worker.run("order", messages=(_parcel(b"a"), _parcel(b"b")))
        first, second = (each.seq for each in _outbox(world))
        assert lowest <= first == world.storage.lowest_parcel() < second
        world.client(Settle(seqs=(first,)))
        assert world.storage.lowest_parcel() == second
        world.client(Settle(seqs=(second,)))
        assert world.storage.lowest_parcel() > second
        worker.run("order", messages=(_parcel(b"c"),))
        [third] = _outbox(world)
        assert third.seq >= world.storage.lowest_parcel() > second


class Receiving(Topic):
    """What comes from another shard happens once, however often it is delivered, and in order."""

    def test_a_start_makes_an_instance_once(self) -> None:
        world = self.world
        effect = _starts(world, 1, "child")
        assert [_receive(world, effect) for _ in range(3)] == [Applied()] * 3
        assert bodies(world.worker().take("child")) == [b"start child"]

    def test_what_was_received_does_not_come_back_when_it_is_gone(self) -> None:
        world = self.world
        effect = _starts(world, 1, "child")
        applied(_receive(world, effect))
        world.delete("child", force=True)
        assert _receive(world, effect) == Applied()
        assert world.storage.get("child") is None

    def test_messages_arrive_once_and_in_order(self) -> None:
        world = self.world
        world.start("order")
        first, second, third = (_tells(seq, "order", b"%d" % seq) for seq in (1, 2, 3))
        applied(_receive(world, first, second))
        applied(_receive(world, first, second, third))
        applied(_receive(world, second))
        assert bodies(world.worker().take("order")) == [b"start order", b"1", b"2", b"3"]

    def test_a_delivery_that_names_one_twice_applies_it_once(self) -> None:
        world = self.world
        world.start("order")
        told = _tells(1, "order", b"1")
        applied(_receive(world, told, told))
        assert bodies(world.worker().take("order")) == [b"start order", b"1"]

    def test_a_start_and_what_follows_may_come_together(self) -> None:
        world = self.world
        applied(_receive(world, _starts(world, 1, "child"), _tells(2, "child", b"2")))
        assert bodies(world.worker().take("child")) == [b"start child", b"2"]

    def test_parcels_of_other_shards_and_instances_are_others(self) -> None:
        world = self.world
        world.start("order")
        told = _tells(1, "order", b"1")
        applied(_receive(world, told))
        applied(_receive(world, told, sender=2))
        applied(_receive(world, _tells(1, "order", b"1", sent_by=OUTSIDE + 1)))
        assert len(bodies(world.worker().take("order"))) == len(["start", "1", "1", "1"])

    def test_a_taken_id_is_told_each_time(self) -> None:
        world = self.world
        before = world.start("child").incarnation
        effects = (_starts(world, 7, "child"), _starts(world, 8, "another"))
        assert _receive(world, *effects) == Applied(skipped=("7",))
        world.delete("child", force=True)
        assert _receive(world, *effects) == Applied(skipped=("7",))
        assert world.storage.get("child") is None
        assert world.record("another").incarnation != before

    def test_a_message_to_nobody_is_told_each_time(self) -> None:
        world = self.world
        told = (_tells(1, "nobody", b"1"), Effect(seq=2, incarnation=9, message=OutMessage(body=b"", to_incarnation=9)))
        assert _receive(world, *told) == Applied(skipped=("1", "2"))
        world.start("nobody")
        assert _receive(world, *told) == Applied(skipped=("1", "2"))

    def test_a_closed_receiver_is_passed_over(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        worker.run("order", change=InstanceChange(status=Status.COMPLETED))
        assert _receive(world, _tells(1, "order", b"late")) == Applied(skipped=("1",))

    def test_only_a_child_is_told_what_is_for_a_child(self) -> None:
        world = self.world
        worker = world.worker()
        parent = worker.own("parent")
        world.start("child", parent=world.child(parent, "child").parent)
        world.start("stranger")
        own = _tells(1, "child", b"stop", child_of=parent.incarnation)
        others = _tells(2, "stranger", b"stop", child_of=parent.incarnation)
        assert _receive(world, own, others) == Applied(skipped=("2",))
        assert bodies(worker.take("child")) == [b"start child", b"stop"]

    def test_a_taken_incarnation_refuses_all(self) -> None:
        world = self.world
        taken = world.start("order").incarnation
        effects = (_starts(world, 1, "child"), _starts(world, 2, "another", incarnation=taken))
        assert refused(_receive(world, *effects)) == Refusal.INCARNATION
        assert world.storage.get("child") is None
        assert _receive(world, effects[0], _starts(world, 2, "another")) == Applied()

    def test_after_its_time_nothing_is_received(self) -> None:
        world = self.world
        now = world.storage.now()
        applied(_receive(world, _starts(world, 1, "child"), until=now))
        assert refused(_receive(world, _starts(world, 2, "late"), until=now - 1)) == Refusal.STALE
        assert world.storage.get("late") is None

    def test_what_is_forgotten_could_come_again(self) -> None:
        world = self.world
        world.start("order")
        told = [_tells(seq, "order", b"%d" % seq) for seq in (1, 2, 3)]
        applied(_receive(world, *told))
        applied(_receive(world, *told, sender=2))
        outcomes = world.client(Forget(sender=THERE, before=3), Forget(sender=THERE, before=3))
        assert [applied(outcome).count for outcome in outcomes] == [2, 0]
        applied(_receive(world, *told))
        applied(_receive(world, *told, sender=2))
        assert len(bodies(world.worker().take("order"))) == 1 + 3 + 3 + 2

    def test_it_wakes_whoever_looks_for_changes(self) -> None:
        world = self.world
        other = world.connect()
        if other is world.storage:
            return
        other.changed()
        applied(_receive(world, _starts(world, 1, "child")))
        assert other.changed()

    def test_children_of_an_instance_elsewhere_are_found_by_its_incarnation(self) -> None:
        world = self.world
        parent = world.start("gone")
        world.start("child", parent=world.child(parent, "child").parent)
        world.start("other")
        world.delete("gone", force=True)
        applied(_receive(world, _starts(world, 1, "late", parent=world.child(parent, "late").parent)))
        found, _ = world.storage.find(Query(parents=(parent.incarnation, 4_711)))
        assert [each.id for each in found] == ["late"]
        assert [each.count for each in world.storage.count(Query(parents=(parent.incarnation,)))] == [1]
        assert world.storage.find(Query(parents=(4_711,))) == ([], None)


class Stamping(Topic):
    """A store becomes a shard once."""

    def test_the_first_stamp_stays(self) -> None:
        storage = self.world.storage
        assert storage.stamp() is None
        stamp = ShardStamp(number=1, count=3, fleet="a")
        assert storage.stamp(stamp) == stamp
        assert storage.stamp(ShardStamp(number=2, count=2, fleet="b")) == stamp
        assert storage.stamp() == self.world.connect().stamp() == stamp
