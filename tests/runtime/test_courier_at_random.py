"""Couriers of several workers between two shards, whatever happens to them: each parcel is applied once, and in order.

Drawn by seeds: when something is sent, looked for, asked and answered, how late, by whom, whether the answer is lost,
whether the worker dies, and which numbers are drawn and not committed yet when somebody looks.
"""

import random
from collections import defaultdict

import pytest

from perdure._ports import Incarnations
from perdure._runtime.courier import FORGET_US, LOOKS_TO_FORGET, REFUSED_US, STALE_US, Courier
from perdure._work import (
    Applied,
    Batch,
    ChildStart,
    Claim,
    HistoryRow,
    NewInstance,
    OutMessage,
    StartInstance,
    Turn,
)
from perdure._work.parcels import parcel_for
from perdure.errors import OutcomeUnknownError, StorageError, StorageUnavailableError
from perdure.storage.memory import MemoryStorage
from perdure.testing._clock import ManualClock, SeededEntropy

NAME = "shop::orchestration::order"
SENDERS = ("a", "b", "c")
RECEIVERS = ("left", "right")
COURIERS = 3
STEPS = 250
SEEDS = 60


def _new(instance_id, incarnation):
    return NewInstance(
        id=instance_id, incarnation=incarnation, name=NAME, version="1.0.0", start=b"start", root=instance_id
    )


class Outbox:
    """The sender's store, of which some of the latest parcels are not committed yet."""

    def __init__(self, storage):
        self._storage = storage
        self.open = set()

    def __getattr__(self, name):
        return getattr(self._storage, name)

    def parcels(self, shard, limit, /, *which, **options):
        found = self._storage.parcels(shard, 9_999, *which, **options)
        return [each for each in found if each.seq not in self.open][:limit]

    def lowest_parcel(self):
        seqs = [each.seq for each in self.parcels(None, 9_999)]
        return min(seqs, default=self._storage.rows.last_parcel + 1)


class World:
    """Two shards, senders on the first, receivers on the second, and what is on its way."""

    def __init__(self, seed):
        self.dice = random.Random(seed)  # noqa: S311 - the same world for the same seed
        self.clock = ManualClock()
        self.stores = [MemoryStorage(self.clock, SeededEntropy(seed + number)) for number in (0, 1)]
        self.outbox = Outbox(self.stores[0])
        self.worker = self.stores[0].register(name="w", orchestrations=[f"{NAME}@1.0.0"], activities=[]).worker
        for place, sender in enumerate(SENDERS):
            self._commit(0, StartInstance(new=_new(sender, 1_000 + place)))
        claim = Claim(instances_max=9, tasks_max=9)
        self.stores[0].commit(Batch(token=b"claim", items=(), worker=self.worker, claim=claim))
        for place, receiver in enumerate(RECEIVERS):
            self._commit(1, StartInstance(new=_new(receiver, 7 + place)))
        self.sent = defaultdict(list)
        self.children = 0
        self.entropy = SeededEntropy(seed)
        self.under_way = []
        self.slow = []
        self.couriers = [self._courier() for _ in range(COURIERS)]

    def _courier(self):
        inboxes = [
            lambda requests, number=number: self.under_way.extend((number, each) for each in requests)
            for number in (0, 1)
        ]
        return Courier([self.outbox, self.stores[1]], inboxes, self.clock, Incarnations(self.clock, self.entropy))

    def _commit(self, number, item):
        [outcome] = self.stores[number].commit(Batch(token=b"c", items=(item,))).outcomes
        return outcome

    # -- what may happen -------------------------------------------------------------------------------------------

    def send(self):
        """An instance sends a message, or starts a child; its transaction may stay open for a while."""
        place = self.dice.randrange(len(SENDERS))
        before = {each.seq for each in self.stores[0].parcels(None, 9_999)}
        if self._is_open(1_000 + place):
            return
        base = len(self.sent[place])
        body = b"%s%d" % (SENDERS[place].encode(), base)
        if self.dice.random() < 0.2:
            self.children += 1
            what = ChildStart(new=_new(body.decode(), 100 + self.children // 2), refused=b"taken")
        else:
            what = OutMessage(body=body, to_id=RECEIVERS[base % 2])
        row = HistoryRow(first=base + 1, last=base + 1, at=1, data=b"", crc=0)
        turn = Turn(incarnation=1_000 + place, execution=1, base=base, history=row, messages=(parcel_for(1, what),))
        [outcome] = self.stores[0].commit(Batch(token=b"t", items=(turn,), worker=self.worker)).outcomes
        assert isinstance(outcome, Applied)
        self.sent[place].append((body, what))
        if self.dice.random() < 0.3:
            self.outbox.open |= {each.seq for each in self.stores[0].parcels(None, 9_999)} - before
        elif self.dice.random() < 0.7:
            self.dice.choice(self.couriers).sent(0, 1, 1_000 + place)

    def _is_open(self, incarnation):
        open_seqs = self.outbox.open
        return any(
            each.seq in open_seqs and each.incarnation == incarnation for each in self.stores[0].parcels(None, 9_999)
        )

    def go_on(self):
        """A courier does what it has to do."""
        self.dice.choice(self.couriers).run_once()

    def answer(self):
        """A commit is made, or not; and who asked hears so, or not."""
        if not self.under_way:
            return
        number, request = self.under_way.pop(self.dice.randrange(len(self.under_way)))
        fate = self.dice.random()
        if fate < 0.1:
            request.resolve(StorageUnavailableError("away"))
        elif fate < 0.15:
            request.resolve(StorageError("can't be stored"))
        elif fate < 0.3:
            self.slow.append((number, request))
        else:
            outcome = self._commit(number, request.item)
            request.resolve(OutcomeUnknownError("cut") if fate < 0.4 else outcome)

    def answer_late(self):
        """A commit is made that was asked for long ago."""
        if self.slow:
            number, request = self.slow.pop(self.dice.randrange(len(self.slow)))
            request.resolve(self._commit(number, request.item))

    def die(self):
        """A worker dies; what it has asked for may still be done, or not."""
        self.couriers[self.dice.randrange(COURIERS)] = self._courier()
        if self.dice.random() < 0.5:
            self.under_way = [each for each in self.under_way if self.dice.random() < 0.5]

    def wait(self):
        """Time passes; transactions don't stay open for long."""
        us = self.dice.choice([1_000, STALE_US + 1, REFUSED_US + 1, FORGET_US, FORGET_US])
        if us > STALE_US + 1:
            self.outbox.open.clear()
        self.clock.advance(us)

    def look(self):
        """It is time to look."""
        self.dice.choice(self.couriers).look(0)

    def live(self):
        """All of it, and then everything heals."""
        acts = [self.send, self.go_on, self.answer, self.answer_late, self.look, self.wait, self.die]
        for act in self.dice.choices(acts, [10, 30, 25, 2, 25, 20, 2], k=STEPS):
            act()
        self.outbox.open.clear()
        self.under_way += self.slow
        for _ in range(LOOKS_TO_FORGET + 3):
            self.clock.advance(FORGET_US)
            for courier in self.couriers:
                courier.look(0)
            self._settle()

    def _settle(self):
        for _ in range(100):
            for courier in self.couriers:
                courier.run_once()
            if not self.under_way:
                return
            under_way, self.under_way = self.under_way, []
            for number, request in under_way:
                request.resolve(self._commit(number, request.item))

    # -- what must be ----------------------------------------------------------------------------------------------

    def told(self, instance_id):
        [image] = self.stores[1].images([instance_id])
        return [message.body for message in image.messages][1:]


@pytest.mark.parametrize("seed", range(SEEDS))
def test_each_parcel_is_applied_once_and_in_order_whatever_happens_to_those_who_carry_it(seed):
    world = World(seed)
    world.live()
    assert world.stores[0].parcels(None, 10) == []
    told = {receiver: world.told(receiver) for receiver in RECEIVERS}
    for place, sender in enumerate(SENDERS):
        for receiver in RECEIVERS:
            said = [body for body, what in world.sent[place] if getattr(what, "to_id", None) == receiver]
            heard = [body for body in told[receiver] if body.startswith(sender.encode())]
            assert heard == said
        started = [body for body, what in world.sent[place] if isinstance(what, ChildStart)]
        assert all(world.stores[1].get(body.decode()) is not None for body in started)
        [image] = world.stores[0].images([sender])
        assert [message.body for message in image.messages] == [b"start"]
    assert not world.stores[1].rows.received
