"""The courier between shards: at least once, in order, and what it can't deliver stays where it is."""

from perdure._ports import Incarnations
from perdure._runtime.courier import FORGET_US, STALE_US, Courier
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
from perdure.errors import StorageUnavailableError
from perdure.storage.memory import MemoryStorage
from perdure.testing._clock import ManualClock, SeededEntropy

NAME = "shop::orchestration::order"
SENDER = 1_000


def _new(instance_id, incarnation):
    return NewInstance(
        id=instance_id, incarnation=incarnation, name=NAME, version="1.0.0", start=b"start", root=instance_id
    )


def _says(body, to_id="there"):
    return parcel_for(1, OutMessage(body=body, to_id=to_id))


class Shards:
    """Two shards in memory, an instance on the first, and a courier whose deliveries are committed at once."""

    def __init__(self):
        self.clock = ManualClock()
        self.stores = [MemoryStorage(self.clock, SeededEntropy(number)) for number in (1, 2)]
        self.away = set()
        """Numbers of shards that take nothing, and kinds of items that nobody takes."""
        self.sent = []
        self.worker = self.stores[0].register(name="w", orchestrations=[f"{NAME}@1.0.0"], activities=[]).worker
        self.client(0, StartInstance(new=_new("here", SENDER)))
        self.stores[0].commit(
            Batch(token=b"1", items=(), worker=self.worker, claim=Claim(instances_max=9, tasks_max=9))
        )
        self.base = 0
        self.courier = self.make_courier()

    def make_courier(self):
        inboxes = [lambda entries, number=number: self._put(number, entries) for number in (0, 1)]
        return Courier(self.stores, inboxes, self.clock, Incarnations(self.clock, SeededEntropy(3)))

    def _put(self, number, entries):
        for request in entries:
            self.sent.append(request.item)
            if self.away & {number, type(request.item)}:
                request.resolve(StorageUnavailableError("away"))
            else:
                request.resolve(self.client(number, request.item))

    def client(self, number, item):
        [outcome] = self.stores[number].commit(Batch(token=b"c", items=(item,))).outcomes
        return outcome

    def send(self, *messages):
        row = HistoryRow(first=self.base + 1, last=self.base + 1, at=1, data=b"", crc=0)
        turn = Turn(incarnation=SENDER, execution=1, base=self.base, history=row, messages=messages)
        [outcome] = self.stores[0].commit(Batch(token=b"t", items=(turn,), worker=self.worker)).outcomes
        assert isinstance(outcome, Applied)
        self.base += 1

    def deliver(self, courier=None):
        courier = courier or self.courier
        courier.sent(0, 1, SENDER)
        courier.run_once()

    def look(self):
        self.courier.look(0)
        self.courier.run_once()

    def waiting(self, number=0):
        return len(self.stores[number].parcels(None, 100))

    def told(self, instance_id="there"):
        [image] = self.stores[1].images([instance_id])
        return [message.body for message in image.messages]


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
    shards.look()
    shards.clock.advance(FORGET_US - 1)
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
