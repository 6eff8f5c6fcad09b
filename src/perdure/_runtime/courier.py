"""Carries what is in the outboxes of shards to where it belongs.

Laws kept here: a parcel leaves its outbox only when its effect is durable elsewhere, and may be delivered any number of
times before, by any worker; parcels of one instance for one shard are delivered in order, because whoever delivers one
delivers all that come before it.

A worker delivers what it has sent itself, at once; what others have left behind, because they died or could not reach
the receiver, is found in the outbox when it is old enough. Whoever receives remembers what it has received, until the
sender's outbox has had nothing as old for a while, and takes nothing that was looked up before that while.

No shard delays others: each outbox is read on a thread of its own, and a receiver is only ever asked by its engine.
"""

from __future__ import annotations

import logging
import threading
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from perdure import _work as work
from perdure._client.requests import Request
from perdure._types import slot_of
from perdure._work.parcels import Content, read_parcel
from perdure.errors import DatabaseCorruptError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perdure._ports import Clock, Incarnations
    from perdure._runtime.inbox import Entry

PARCELS_MAX = 1_000
"""Parcels in one delivery."""

PARCEL_BYTES_MAX = 16 * 1024 * 1024
"""How many bytes of parcels are in one delivery, if it is more than one parcel."""

STALE_US = 1_000_000
"""How old a parcel is that whoever sent it has not delivered, so that another worker does."""

DELIVERY_US_MAX = 300_000_000
"""How long after its outbox was asked a parcel may arrive, in microseconds of the receiver's clock."""

FORGET_US = 900_000_000
"""Between two looks at the lowest number in an outbox; must be more than a delivery may take, and a commit."""

LOOKS_TO_FORGET = 2
"""How many looks before the present one have found nothing as low as what is forgotten.

One is not enough: a number that is drawn and not committed yet is not seen. The next look sees it, unless it has left
the outbox by then, and whoever has read it there before has no time left to deliver it when there is one more.
"""

OVERDUE_US = 3_000_000
"""How long a delivery may be under way until it is told that it waits."""

REFUSED_US = 60_000_000
"""How long what an instance has sent waits when a store can't take it, and takes all else."""

_ITS_OWN_FAULT = (StorageError, DatabaseCorruptError)
"""By which errors, not by what derives from them, an engine says that its store can't take an item but all else."""

_log = logging.getLogger("perdure.runtime")


class SendingStorage:
    """A shard's store, as its engine sees it: the courier hears of what a commit has left in the outbox."""

    def __init__(self, storage: Any, number: int, courier: Courier) -> None:
        self._storage = storage
        self._number = number
        self._courier = courier

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def commit(self, batch: work.Batch, /) -> work.Committed:
        """Commit, and have delivered what is for other shards."""
        committed: work.Committed = self._storage.commit(batch)
        for item, outcome in zip(batch.items, committed.outcomes, strict=True):
            if type(item) is work.Turn and item.messages and isinstance(outcome, work.Applied):
                for message in item.messages:
                    if message.shard is not None:
                        self._courier.sent(self._number, message.shard, item.incarnation)
        return committed

    def reap(self, worker: int, /) -> work.Reaped:
        """What is done from time to time; so is a look at what others have left."""
        self._courier.look(self._number)
        reaped: work.Reaped = self._storage.reap(worker)
        return reaped


class Channel:
    """The way from one shard to another: one delivery at a time, of all that some instances have sent there."""

    def __init__(self, desk: Desk, receiver: int) -> None:
        self._desk = desk
        self._receiver = receiver
        self._wanted: set[int] = set()
        self._under_way: list[work.Parcel] = []
        self._contents: dict[int, Content] = {}
        self._damaged: set[int] = set()
        self._alone: set[int] = set()
        """Instances of which each has a delivery of its own: one of them has sent what the receiver can't take."""
        self._refused: dict[int, int] = {}
        """Which instances these are, and until when what they have sent waits."""
        self._is_busy = False
        self._busy_since = 0
        self._is_down = False

    def want(self, incarnations: set[int]) -> None:
        """These instances have sent something."""
        if self._refused:
            now = self._desk.monotonic_us()
            self._refused = {each: until for each, until in self._refused.items() if until > now}
            incarnations = incarnations - self._refused.keys()
        self._wanted |= incarnations
        self.go()

    def go(self) -> None:
        """Deliver, if nothing is under way."""
        while self._wanted and not self._is_busy:
            self._is_busy = True
            self._busy_since = self._desk.monotonic_us()
            self._alone &= self._wanted
            try:
                self._deliver([min(self._alone)] if self._alone else sorted(self._wanted)[:PARCELS_MAX])
            except StorageError as error:
                self._fail(error)

    def remind(self) -> None:
        """Tell when the receiver has not answered for long: its engine tries again by itself, as long as it takes."""
        if self._is_busy and self._desk.monotonic_us() - self._busy_since > OVERDUE_US:
            self._waits("no answer yet")

    def _waits(self, why: object) -> None:
        if not self._is_down:
            _log.warning(
                "what is on its way from shard %d to shard %d waits there: %s", self._desk.number, self._receiver, why
            )
        self._is_down = True

    def _deliver(self, incarnations: list[int]) -> None:
        desk = self._desk
        # Before the outbox is asked: what comes late must not be applied.
        until = desk.now_at(self._receiver) + DELIVERY_US_MAX
        parcels = desk.storage.parcels(self._receiver, PARCELS_MAX, incarnations)
        found = _first_bytes(parcels)
        if len(found) == len(parcels) < PARCELS_MAX:
            self._wanted.difference_update(incarnations)
        contents = {parcel.seq: content for parcel in found if (content := self._opened(parcel)) is not None}
        if not contents:
            # What can't be read stays where it is, and is found again.
            self._wanted.difference_update(incarnations)
            self._is_busy = False
            return
        self._under_way, self._contents = [each for each in found if each.seq in contents], contents
        self._ask(until)

    def _opened(self, parcel: work.Parcel) -> Content | None:
        try:
            return read_parcel(parcel.body)
        except Exception:  # noqa: BLE001 - whatever it is, the others are delivered
            if parcel.seq not in self._damaged:
                self._damaged.add(parcel.seq)
                _log.exception(
                    "parcel %d for shard %d can't be read, and stays in the outbox", parcel.seq, parcel.shard
                )
            return None

    def _ask(self, until: int) -> None:
        contents = self._contents
        effects = tuple(
            work.Effect(
                seq=each.seq,
                incarnation=each.incarnation ^ each.sent_at,
                start=None if (start := contents[each.seq].start) is None else start.new,
                message=contents[each.seq].message,
            )
            for each in self._under_way
        )
        item = work.Receive(sender=self._desk.number, effects=effects, until=until)
        self._desk.submit(self._receiver, item, partial(self._received, until))

    def _received(self, until: int, outcome: work.Outcome | BaseException) -> None:
        if isinstance(outcome, work.Refused) and outcome.reason is work.Refusal.INCARNATION:
            self._contents = {seq: self._desk.redrawn(content) for seq, content in self._contents.items()}
            self._ask(until)
        elif isinstance(outcome, work.Applied):
            self._settle(set(outcome.skipped))
        elif type(outcome) in _ITS_OWN_FAULT:
            self._refuse(outcome)
        else:
            self._fail(outcome)

    def _settle(self, skipped: set[str]) -> None:
        replies = []
        for parcel in self._under_way:
            if str(parcel.seq) in skipped:
                start = self._contents[parcel.seq].start
                if start is not None and start.refused is not None:
                    replies.append((parcel.seq, work.OutMessage(body=start.refused, to_incarnation=parcel.incarnation)))
                elif start is not None:
                    _log.warning("a detached start of %r was not delivered: its id is taken", start.new.id)
        seqs = tuple(parcel.seq for parcel in self._under_way)
        self._desk.submit(self._desk.number, work.Settle(seqs=seqs, replies=tuple(replies)), self._settled)

    def _settled(self, outcome: work.Outcome | BaseException) -> None:
        if type(outcome) in _ITS_OWN_FAULT:
            self._refuse(outcome)
            return
        if not isinstance(outcome, work.Applied):
            self._fail(outcome)
            return
        if self._is_down:
            _log.info("what waited in shard %d for shard %d is delivered again", self._desk.number, self._receiver)
        self._is_down = self._is_busy = False
        self.go()
        if not self._is_busy:
            self._desk.look_on()

    def _refuse(self, outcome: object) -> None:
        """A store takes all else: find out whose parcels it can't take, and let only those wait."""
        senders = {each.incarnation for each in self._under_way}
        if len(senders) > 1:
            self._wanted |= senders
            self._alone = senders
        else:
            self._wanted -= senders
            self._refused |= dict.fromkeys(senders, self._desk.monotonic_us() + REFUSED_US)
            _log.error(
                "what incarnation %d has sent from shard %d to shard %d can't be delivered, and waits: %s",
                *senders, self._desk.number, self._receiver, outcome,
            )  # fmt: skip
        self._is_busy = False
        self.go()

    def _fail(self, outcome: object) -> None:
        """Leave it all where it is: it is found there again, by whoever looks."""
        self._waits(outcome)
        self._wanted.clear()
        self._is_busy = False


class Desk:
    """The outbox of one shard, and the ways from there; all of it on one thread."""

    def __init__(self, courier: Courier, number: int, storage: Any, queue: Any) -> None:
        self.number = number
        self.storage = storage
        self._courier = courier
        self.monotonic_us = courier.clock.monotonic_us
        self.redrawn = courier.redrawn
        self._queue: SimpleQueue[Callable[[], None] | None] = queue
        self.channels = {other: Channel(self, other) for other in range(len(courier.storages)) if other != number}
        self._turn = number
        self._is_more = False
        self._lows: tuple[int, ...] = ()
        self._looked_at: int | None = None
        self._thread = threading.Thread(target=self._run, name=f"perdure-courier-{number}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Take nothing more; what is under way is found in the outbox again."""
        self._queue.put(None)

    def join(self) -> None:
        """Wait until nothing is done any more."""
        if self._thread.is_alive():
            self._thread.join()

    def put(self, duty: Callable[[], None]) -> None:
        """Have something done; on any thread."""
        self._queue.put(duty)

    def now_at(self, receiver: int) -> int:
        """The time of another shard."""
        now: int = self._courier.storages[receiver].now()
        return now

    def submit(self, number: int, item: work.ShardItem, tell: Callable[[work.Outcome | BaseException], None]) -> None:
        """Have a shard's engine commit an item; the answer is told on this thread."""
        self._courier.inboxes[number]([Request(item, lambda outcome: self._queue.put(partial(tell, outcome)))])

    def _run(self) -> None:
        while (duty := self._queue.get()) is not None:
            _do(duty)

    def run_once(self) -> bool:
        """Do what is waiting to be done, and what comes of it at once; whether there was anything."""
        found = False
        while not self._queue.empty():
            found = True
            duty = self._queue.get()
            if duty is not None:
                _do(duty)
        return found

    def look(self) -> None:
        """Deliver what has been in the outbox for too long; forget what can't come again."""
        storage = self.storage
        try:
            before = storage.now() - STALE_US
            left = storage.parcels(None, PARCELS_MAX, before=before)
            self._is_more = len(left) == PARCELS_MAX
            if self._is_more:
                # All may be for one that can't be reached: look at the others in turn.
                self._turn = (self._turn + 1) % len(self._courier.storages)
                left += storage.parcels(self._turn, PARCELS_MAX, before=before)
            self._forget()
        except StorageError as error:
            _log.debug("the outbox of shard %d could not be read: %s", self.number, error)
            return
        wanted: dict[int, set[int]] = {}
        for parcel in left:
            wanted.setdefault(parcel.shard, set()).add(parcel.incarnation)
        for channel in self.channels.values():
            channel.remind()
        for receiver, incarnations in wanted.items():
            if receiver in self.channels:
                self.channels[receiver].want(incarnations)

    def look_on(self) -> None:
        """Something was delivered: if the last look has not seen everything, don't wait for the next."""
        if self._is_more:
            self._is_more = False
            self.put(self.look)

    def _forget(self) -> None:
        now = self.monotonic_us()
        if self._looked_at is not None and now - self._looked_at < FORGET_US:
            return
        self._looked_at = now
        before, self._lows = self._lows, (*self._lows, self.storage.lowest_parcel())[-LOOKS_TO_FORGET:]
        if len(before) < LOOKS_TO_FORGET:
            return
        item = work.Forget(sender=self.number, before=min(*before, self._lows[-1]))
        for receiver in self.channels:
            self.submit(receiver, item, lambda _: None)


class Courier:
    """Delivers for the shards of a worker.

    Args:
        storages: The shards, in order.
        inboxes: How the engine of each is told.
        clock: When to look for what was left.
        incarnations: New ones, for instances whose own was taken meanwhile.
        queue: Makes the queue of a desk's duties.
    """

    def __init__(
        self,
        storages: Sequence[Any],
        inboxes: Sequence[Callable[[list[Entry]], None]],
        clock: Clock,
        incarnations: Incarnations,
        queue: Callable[[], Any] = SimpleQueue,
    ) -> None:
        self.storages = storages
        self.inboxes = inboxes
        self.clock = clock
        self._incarnations = incarnations
        self.desks = [Desk(self, number, storage, queue()) for number, storage in enumerate(storages)]

    def start(self) -> None:
        """Begin."""
        for desk in self.desks:
            desk.start()

    def stop(self) -> None:
        """End; what is under way is found in the outboxes again."""
        for desk in self.desks:
            desk.stop()
        for desk in self.desks:
            desk.join()

    def sent(self, sender: int, receiver: int, incarnation: int) -> None:
        """An instance of one shard has left something for another; on any thread."""
        desk = self.desks[sender]
        desk.put(partial(desk.channels[receiver].want, {incarnation}))

    def look(self, sender: int) -> None:
        """It is time to look what others have left in a shard's outbox; on any thread."""
        desk = self.desks[sender]
        desk.put(desk.look)

    def redrawn(self, content: Content) -> Content:
        """The same with another incarnation for whom it starts; on any thread, as one drawn twice is refused again."""
        start = content.start
        if start is None:
            return content
        incarnation = work.with_slot(self._incarnations.draw(), slot_of(start.new.id))
        return replace(content, start=replace(start, new=replace(start.new, incarnation=incarnation)))

    def run_once(self) -> None:
        """Do what is waiting to be done, and what comes of it at once."""
        while any(desk.run_once() for desk in self.desks):
            pass


def _do(duty: Callable[[], None]) -> None:
    try:
        duty()
    except Exception:  # noqa: BLE001 - one bad delivery must not end all others
        _log.exception("the courier between shards failed; it goes on")


def _first_bytes(parcels: list[work.Parcel]) -> list[work.Parcel]:
    """As many of the first as one delivery may have."""
    size = 0
    for place, parcel in enumerate(parcels):
        size += len(parcel.body)
        if size > PARCEL_BYTES_MAX and place:
            return parcels[:place]
    return parcels
