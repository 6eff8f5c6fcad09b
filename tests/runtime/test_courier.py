"""The courier between shards: at least once, in order, and what it can't deliver stays where it is."""

from threading import Event

import pytest

from perdure._ports import Incarnations
from perdure._runtime.courier import FORGET_US, OVERDUE_US, REFUSED_US, STALE_US, Courier
from perdure._work import (
    Applied,
    Batch,
    ChildStart,
    Claim,
    HistoryRow,
    NewInstance,
    OutMessage,
    Receive,
    Settle,
    StartInstance,
    Turn,
)
from perdure._work.parcels import parcel_for
from perdure.errors import StorageError, StorageUnavailableError
from perdure.storage.memory import MemoryStorage
from perdure.testing._clock import ManualClock, SeededEntropy

NAME = "shop::orchestration::order"
SENDER = 1_000


def _new(instance_id, incarnation):
    return NewInstance(
        id=instance_id, incarnation=incarnation, name=NAME, version="1.0.0", start=b"start", root=instance_id
    )


def _says(body, to_id="there", shard=1):
    return parcel_for(shard, OutMessage(body=body, to_id=to_id))


class Shards:
    """Shards in memory, an instance on the first, and a courier whose deliveries are committed at once."""

    def __init__(self, count=2):
        self.clock = ManualClock()
        self.stores = [MemoryStorage(self.clock, SeededEntropy(number)) for number in range(1, count + 1)]
        self.away = set()
        """Numbers of shards that take nothing, and kinds of items that nobody takes."""
        self.broken = set()
        """Kinds of items that can't be stored."""
        self.poison = set()
        """Bodies of messages that can't be stored."""
        self.sent = []
        self.on_settled = None
        self.worker = self.stores[0].register(name="w", orchestrations=[f"{NAME}@1.0.0"], activities=[]).worker
        self.senders = {}
        self.join("here", SENDER)
        self.courier = self.make_courier()

    def join(self, instance_id, incarnation):
        """Another instance on the first shard."""
        self.client(0, StartInstance(new=_new(instance_id, incarnation)))
        claim = Claim(instances_max=9, tasks_max=9)
        self.stores[0].commit(Batch(token=b"%d" % incarnation, items=(), worker=self.worker, claim=claim))
        self.senders[instance_id] = [incarnation, 0]

    def make_courier(self):
        inboxes = [lambda entries, number=number: self._put(number, entries) for number in range(len(self.stores))]
        return Courier(self.stores, inboxes, self.clock, Incarnations(self.clock, SeededEntropy(3)))

    def _put(self, number, entries):
        for request in entries:
            self.sent.append(request.item)
            request.resolve(self._answer(number, request.item))
            if isinstance(request.item, Settle) and self.on_settled is not None:
                self.on_settled()

    def _answer(self, number, item):
        if self.away & {number, type(item)}:
            return StorageUnavailableError("away")
        if type(item) in self.broken or (isinstance(item, Receive) and self.poison & _bodies(item)):
            return StorageError("can't be stored")
        return self.client(number, item)

    def client(self, number, item):
        [outcome] = self.stores[number].commit(Batch(token=b"c", items=(item,))).outcomes
        return outcome

    def send(self, *messages, by="here"):
        incarnation, base = self.senders[by]
        row = HistoryRow(first=base + 1, last=base + 1, at=1, data=b"", crc=0)
        turn = Turn(incarnation=incarnation, execution=1, base=base, history=row, messages=messages)
        [outcome] = self.stores[0].commit(Batch(token=b"t", items=(turn,), worker=self.worker)).outcomes
        assert isinstance(outcome, Applied)
        self.senders[by][1] += 1

    def deliver(self, courier=None):
        courier = courier or self.courier
        courier.sent(0, 1, SENDER)
        courier.run_once()

    def read_early(self, slow=None):
        """Another worker's courier, or this one, reads the outbox; returns how it delivers what it has read."""
        slow = slow or self.make_courier()
        held = []
        inboxes, slow.inboxes = slow.inboxes, [held.extend] * len(self.stores)
        slow.sent(0, 1, SENDER)
        slow.run_once()

        def deliver():
            slow.inboxes = inboxes
            self._put(1, held)
            slow.run_once()

        return deliver

    def look(self):
        self.courier.look(0)
        self.courier.run_once()

    def waiting(self, number=0):
        return len(self.stores[number].parcels(None, 9_999))

    def told(self, instance_id="there", number=1):
        [image] = self.stores[number].images([instance_id])
        return [message.body for message in image.messages]

    def deliveries_of(self, body):
        """How often a message was on its way."""
        return sum(isinstance(item, Receive) and body in _bodies(item) for item in self.sent)


def _bodies(item):
    return {effect.message.body for effect in item.effects if effect.message is not None}


def _with_receiver():
    shards = Shards()
    shards.client(1, StartInstance(new=_new("there", 7)))
    return shards


def test_what_is_sent_arrives_and_leaves_the_outbox():
    shards = _with_receiver()
    shards.send(_says(b"1"), _says(b"2"))
    shards.deliver()
    assert (shards.told(), shards.waiting()) == ([b"start", b"1", b"2"], 0)


def test_what_nobody_has_delivered_is_found_when_it_is_old_enough():
    shards = _with_receiver()
    shards.send(_says(b"1"))
    shards.clock.advance(STALE_US)
    shards.look()
    assert shards.told() == [b"start"]
    shards.clock.advance(1)
    shards.look()
    assert (shards.told(), shards.waiting()) == ([b"start", b"1"], 0)


def test_who_delivers_something_delivers_first_what_came_before_it():
    shards = _with_receiver()
    shards.send(_says(b"1"))
    shards.send(_says(b"2"))
    shards.deliver(shards.make_courier())
    assert shards.told() == [b"start", b"1", b"2"]


def test_what_was_received_and_not_settled_is_delivered_again_and_happens_once():
    shards = _with_receiver()
    shards.away.add(Settle)
    shards.send(_says(b"1"))
    shards.deliver()
    assert (shards.told(), shards.waiting()) == ([b"start", b"1"], 1)
    shards.away.clear()
    shards.send(_says(b"2"))
    shards.deliver(shards.make_courier())
    assert (shards.told(), shards.waiting()) == ([b"start", b"1", b"2"], 0)


def test_what_is_for_a_shard_that_is_away_waits_and_is_told_once(caplog):
    shards = _with_receiver()
    shards.away.add(1)
    shards.send(_says(b"1"))
    shards.deliver()
    shards.deliver()
    assert (shards.told(), shards.waiting()) == ([b"start"], 1)
    assert caplog.text.count("from shard 0 to shard 1 waits there") == 1
    shards.away.clear()
    shards.clock.advance(STALE_US + 1)
    shards.look()
    assert (shards.told(), shards.waiting()) == ([b"start", b"1"], 0)


def test_a_child_whose_incarnation_is_taken_there_gets_another():
    shards = _with_receiver()
    shards.send(parcel_for(1, ChildStart(new=_new("child", 7))))
    shards.deliver()
    child = shards.stores[1].get("child")
    assert child is not None
    assert (child.incarnation != 7, shards.waiting()) == (True, 0)


def test_a_child_whose_id_is_taken_there_is_refused_to_its_parent():
    shards = _with_receiver()
    shards.send(parcel_for(1, ChildStart(new=_new("there", 8), refused=b"taken")))
    shards.deliver()
    [image] = shards.stores[0].images(["here"])
    assert [message.body for message in image.messages] == [b"start", b"taken"]


def test_a_detached_start_whose_id_is_taken_there_is_a_warning(caplog):
    shards = _with_receiver()
    shards.send(parcel_for(1, ChildStart(new=_new("there", 8))))
    shards.deliver()
    assert "a detached start of 'there' was not delivered" in caplog.text
    assert shards.waiting() == 0


def test_what_can_not_be_read_stays_and_holds_up_nobody(caplog):
    shards = _with_receiver()
    shards.send(OutMessage(body=b"no parcel", shard=1), _says(b"1"))
    for _ in range(2):
        shards.deliver()
    assert (shards.told(), shards.waiting()) == ([b"start", b"1"], 1)
    assert caplog.text.count("can't be read") == 1


def test_more_than_one_delivery_takes_goes_in_several_and_in_order():
    shards = _with_receiver()
    many = [b"%d" % number for number in range(2_500)]
    shards.send(*map(_says, many))
    shards.deliver()
    assert (shards.told()[1:], shards.waiting()) == (many, 0)
    assert sum(isinstance(item, Receive) for item in shards.sent) == 3


def test_much_goes_in_several_deliveries():
    shards = _with_receiver()
    shards.send(*(_says(b"x" * 6_000_000) for _ in range(4)))
    shards.deliver()
    assert (len(shards.told()), shards.waiting()) == (5, 0)
    assert sum(isinstance(item, Receive) for item in shards.sent) == 2


def test_what_was_received_is_forgotten_when_it_can_not_come_again():
    shards = _with_receiver()
    shards.send(_says(b"1"))
    shards.deliver()
    for _ in range(2):
        shards.look()
        shards.clock.advance(FORGET_US)
    shards.clock.advance(-1)
    shards.look()
    assert shards.stores[1].rows.received
    shards.clock.advance(1)
    shards.look()
    assert not shards.stores[1].rows.received


def test_what_is_not_settled_yet_is_not_forgotten():
    shards = _with_receiver()
    shards.away.add(Settle)
    shards.send(_says(b"1"))
    shards.deliver()
    for _ in range(4):
        shards.clock.advance(FORGET_US)
        shards.look()
    assert len(shards.stores[1].rows.received) == 1
    assert shards.told() == [b"start", b"1"]


def test_a_number_that_was_drawn_and_not_committed_at_a_look_is_not_forgotten_by_the_next():
    shards = _with_receiver()
    shards.send(_says(b"1"))
    store = shards.stores[0]
    lowest_parcel = store.lowest_parcel
    store.lowest_parcel = lambda: lowest_parcel() + 1
    shards.look()
    store.lowest_parcel = lowest_parcel
    shards.clock.advance(FORGET_US)
    deliver_late = shards.read_early()
    shards.deliver()
    shards.look()
    deliver_late()
    assert (shards.told(), shards.waiting()) == ([b"start", b"1"], 0)


def test_a_shard_that_does_not_answer_holds_up_only_what_it_sends():
    shards = _with_receiver()
    answer, told = Event(), Event()
    asked = Event()

    def silent(*_, **__):
        asked.set()
        answer.wait()
        return []

    shards.stores[1].parcels = silent
    shards.on_settled = told.set
    shards.courier.start()
    shards.courier.look(1)
    asked.wait()
    shards.send(_says(b"1"))
    shards.courier.sent(0, 1, SENDER)
    assert told.wait(30)
    assert shards.told() == [b"start", b"1"]
    answer.set()
    shards.courier.stop()


def test_what_the_receiver_can_not_store_holds_up_nobody_else(caplog):
    shards = _with_receiver()
    shards.join("other", 2_000)
    shards.poison = {b"1"}
    shards.send(_says(b"1"))
    shards.send(_says(b"2"))
    shards.send(_says(b"3"), by="other")
    shards.clock.advance(STALE_US + 1)
    for _ in range(3):
        shards.look()
    assert (shards.told(), shards.waiting()) == ([b"start", b"3"], 2)
    assert shards.deliveries_of(b"1") == len(["with the other", "alone"])
    assert caplog.text.count(f"what incarnation {SENDER} has sent from shard 0 to shard 1 can't be delivered") == 1
    shards.poison = set()
    shards.clock.advance(REFUSED_US)
    shards.look()
    assert (shards.told(), shards.waiting()) == ([b"start", b"3", b"1", b"2"], 0)


def test_an_outbox_that_can_not_be_emptied_is_tried_only_now_and_then():
    shards = _with_receiver()
    shards.broken.add(Settle)
    shards.send(_says(b"1"))
    shards.clock.advance(STALE_US + 1)
    for _ in range(3):
        shards.look()
    assert sum(isinstance(item, Settle) for item in shards.sent) == 1
    shards.broken.clear()
    shards.clock.advance(REFUSED_US)
    shards.look()
    assert (shards.told(), shards.waiting()) == ([b"start", b"1"], 0)


def test_what_a_dead_worker_has_left_is_delivered_without_waiting_for_further_looks():
    shards = _with_receiver()
    for number in range(5):
        shards.join(f"sender-{number}", 2_000 + number)
        shards.send(*(_says(b"x") for _ in range(700)), by=f"sender-{number}")
    shards.clock.advance(STALE_US + 1)
    shards.look()
    assert (len(shards.told()), shards.waiting()) == (3_501, 0)


def test_that_what_waited_is_delivered_again_is_told(caplog):
    caplog.set_level("INFO", "perdure.runtime")
    shards = _with_receiver()
    shards.away.add(1)
    shards.send(_says(b"1"))
    shards.deliver()
    assert "delivered again" not in caplog.text
    shards.away.clear()
    for _ in range(2):
        shards.deliver()
    assert caplog.text.count("what waited in shard 0 for shard 1 is delivered again") == 1


def test_that_the_receiver_does_not_answer_is_told_once_and_that_it_does_again(caplog):
    caplog.set_level("INFO", "perdure.runtime")
    shards = _with_receiver()
    shards.send(_says(b"1"))
    answer = shards.read_early(shards.courier)
    told = []
    for us in (OVERDUE_US, 1, 1):
        shards.clock.advance(us)
        shards.look()
        told.append(caplog.text.count("from shard 0 to shard 1 waits there"))
    assert told == [0, 1, 1]
    answer()
    assert "what waited in shard 0 for shard 1 is delivered again" in caplog.text


@pytest.mark.parametrize("receiver", [1, 2])
def test_all_receivers_are_looked_at_in_turn_however_much_waits_for_one_that_is_away(receiver):
    shards = Shards(3)
    away = 3 - receiver
    shards.client(receiver, StartInstance(new=_new("there", 7)))
    shards.away.add(away)
    shards.join("other", 2_000)
    shards.send(*(_says(b"x", shard=away) for _ in range(1_500)))
    shards.send(_says(b"1", shard=receiver), by="other")
    shards.clock.advance(STALE_US + 1)
    for _ in range(3):
        for sender in range(3):
            shards.courier.look(sender)
        shards.courier.run_once()
    assert shards.told(number=receiver) == [b"start", b"1"]
