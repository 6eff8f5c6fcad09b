"""What has to hold of all that goes from one shard to another: it arrives once, in order, and is forgotten after.

The book of parcels is kept from what turns have sent, and from what couriers were told; how a store remembers what it
has received is none of its business.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from perdure import _work as work
from perdure._work.parcels import Content, read_parcel
from perdure.testing.simulation.checks import Checks
from perdure.testing.simulation.ledger import Violation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from perdure import _events as ev
    from perdure.storage.memory.rows import MessageRow, Tables
    from perdure.testing.simulation.chronicle import Chronicle

Place = tuple[int, int, int]
"""Where a child was asked for: incarnation, execution, event."""


@dataclass(eq=False)
class Sent:
    """What a turn has sent to another shard.

    Attributes:
        arrived: Whether the receiver has applied it, or passed it over.
        passed_over: Whether it did so.
        settled: Whether it has left the outbox.
        rows: The rows that it has become, if it is the outcome of a child.
    """

    seq: int
    sender: int
    receiver: int
    content: Content
    arrived: bool = False
    passed_over: bool = False
    settled: bool = False
    rows: set[int] = field(default_factory=set)

    @property
    def place(self) -> Place | None:
        """The child that it is about, if it is a start or an outcome."""
        start, message = self.content.start, self.content.message
        if start is not None:
            return None if start.refused is None else place_of(start.new.parent)
        assert message is not None  # noqa: S101 - it has one of the two
        told = work.decode_message(message.body)
        if isinstance(told, work.ChildOutcome):
            return (message.to_incarnation or 0, told.execution, told.source)
        return None


def place_of(parent: ev.Parent | None) -> Place | None:
    """Where a child was asked for."""
    return None if parent is None else (parent.incarnation, parent.execution, parent.event)


class Post:
    """All parcels between the shards of a world."""

    def __init__(self) -> None:
        self.parcels: dict[tuple[int, int], Sent] = {}
        """By the sender's shard, and the number."""
        self.lines: dict[tuple[int, int], list[Sent]] = {}
        """By sender and the receiver's shard, in order: what has not arrived."""
        self.outboxes: dict[int, set[int]] = {}
        """What has to be in each outbox."""
        self.born_at: dict[int, int] = {}
        """When instances were created that came from other shards."""
        self.replaced: set[int] = set()
        """Those that were open when another took their place."""
        self.under_way: Counter[Place] = Counter()
        """Starts of children, refusals and outcomes that have left and not arrived."""

    def sent(self, shard: int, parcel: Sent) -> None:
        """A turn was applied."""
        self.parcels[shard, parcel.seq] = parcel
        self.lines.setdefault((parcel.sender, parcel.receiver), []).append(parcel)
        self.outboxes.setdefault(shard, set()).add(parcel.seq)
        self._moves(parcel, 1)

    def arrived(self, parcel: Sent, *, passed_over: bool) -> None:
        """It was received for the first time."""
        first = self.lines[parcel.sender, parcel.receiver].pop(0)
        if first is not parcel:
            raise Violation(f"what {parcel.sender} has sent as {parcel.seq} came before {first.seq}")
        parcel.arrived, parcel.passed_over = True, passed_over
        if parcel.content.start is None or not passed_over:
            self._moves(parcel, -1)

    def settled(self, shard: int, parcel: Sent) -> None:
        """It has left the outbox."""
        parcel.settled = True
        self.outboxes[shard].discard(parcel.seq)
        if parcel.content.start is not None and parcel.passed_over:
            self._moves(parcel, -1)

    def _moves(self, parcel: Sent, by: int) -> None:
        place = parcel.place
        if place is not None:
            self.under_way[place] += by


def sent(checks: ShardChecks, turn: work.Turn) -> None:
    """A turn was applied: what it sends elsewhere is in the outbox, behind all that its instance has sent before."""
    far = [message for message in turn.messages if message.shard is not None]
    if not far:
        return
    mine, book = checks.number, checks.post
    new = [
        row
        for seq, row in sorted(checks.outbox.items())
        if row.incarnation == turn.incarnation and (mine, seq) not in book.parcels
    ][: len(far)]
    if [(each.shard, each.body) for each in new] != [(each.shard, each.body) for each in far]:
        raise Violation(f"{turn.incarnation} has sent {len(far)} parcels, and there are {new}")
    for row in new:
        book.sent(mine, Sent(row.seq, row.incarnation, row.shard, read_parcel(row.body)))


def unpacked(messages: Iterable[work.OutMessage]) -> list[work.OutMessage]:
    """What messages say, wherever they go."""
    found = [each if each.shard is None else read_parcel(each.body).message for each in messages]
    return [each for each in found if each is not None]


def received(
    checks: ShardChecks, item: work.Receive, outcome: work.Applied, _: int | None, __: int, touched: set[int]
) -> None:
    """Parcels were received."""
    for effect in item.effects:
        parcel = checks.post.parcels.get((item.sender, effect.seq))
        if parcel is None or parcel.receiver != checks.number or not _is_of(effect, parcel.content):
            raise Violation(f"shard {checks.number} received {effect}, and {parcel} was sent")
        passed_over = str(effect.seq) in outcome.skipped
        if parcel.arrived:
            if passed_over != parcel.passed_over:
                raise Violation(f"{parcel} was received once more, and now it was {passed_over=}")
            _check_rows(checks, parcel)
            continue
        _check_passed_over(checks, effect, passed_over=passed_over)
        checks.post.arrived(parcel, passed_over=passed_over)
        if passed_over:
            continue
        if effect.start is not None:
            checks.born(effect.start, touched)
            checks.post.born_at[effect.start.incarnation] = checks.now()
        else:
            receiver = _receiver(checks, effect) or 0
            checks.mailed(receiver, _body(effect))
            touched.add(receiver)
            parcel.rows = _rows(checks, parcel)


def _is_of(effect: work.Effect, content: Content) -> bool:
    start = None if content.start is None else content.start.new.id
    return (None if effect.start is None else effect.start.id, effect.message) == (start, content.message)


def _body(effect: work.Effect) -> bytes:
    assert effect.message is not None  # noqa: S101 - it has one of the two
    return effect.message.body


def _receiver(checks: ShardChecks, effect: work.Effect) -> int | None:
    message = effect.message
    assert message is not None  # noqa: S101 - it has one of the two
    found = message.to_incarnation if message.to_id is None else checks.addressed(message)
    return found if found in checks.chronicles else None


def _check_passed_over(checks: ShardChecks, effect: work.Effect, *, passed_over: bool) -> None:
    wanted = _receiver(checks, effect) is None if effect.start is None else effect.start.id in checks.by_id
    if wanted != passed_over:
        raise Violation(f"{effect} was {passed_over=}, and should have been {wanted}")


def _rows(checks: ShardChecks, parcel: Sent) -> set[int]:
    """The rows with the same outcome of the same child; what else is said may be said twice."""
    message, place = parcel.content.message, parcel.place
    if message is None or place is None:
        return set()
    return {seq for seq, row in checks.messages_of(place[0]).items() if row.body == message.body}


def _check_rows(checks: ShardChecks, parcel: Sent) -> None:
    again = _rows(checks, parcel) - parcel.rows
    if again and not parcel.passed_over:
        raise Violation(f"{parcel} was applied once more, as rows {again}")


def settled(
    checks: ShardChecks, item: work.Settle, outcome: work.Applied, _: int | None, __: int, touched: set[int]
) -> None:
    """Parcels have left the outbox."""
    replies = {seq for seq, _ in item.replies}
    count = 0
    for seq in item.seqs:
        parcel = checks.post.parcels[checks.number, seq]
        if parcel.settled:
            continue
        count += 1
        if not parcel.arrived:
            raise Violation(f"{parcel} has left the outbox, and has not arrived")
        start = parcel.content.start
        wants_reply = parcel.passed_over and start is not None and start.refused is not None
        if wants_reply != (seq in replies):
            raise Violation(f"{parcel} has left the outbox, and its sender was told {seq in replies}")
        checks.post.settled(checks.number, parcel)
        if wants_reply and parcel.sender in checks.chronicles:
            touched.add(parcel.sender)
    if count != outcome.count:
        raise Violation(f"{outcome.count} of {item.seqs} have left the outbox, and {count} were there")


def forgotten(
    checks: ShardChecks, item: work.Forget, _: work.Applied, __: int | None, ___: int, ____: set[int]
) -> None:
    """It is forgotten which parcels were received."""
    for (shard, seq), parcel in checks.post.parcels.items():
        is_meant = shard == item.sender and parcel.receiver == checks.number and seq < item.before
        if is_meant and not parcel.settled:
            raise Violation(f"shard {checks.number} forgets {parcel}, which is in the outbox of shard {shard}")


class ShardChecks(Checks):
    """The books on one shard; what is known by an incarnation or an id is known of all of them.

    Args:
        tables: The rows of the shard.
        shard: Which it is.
        now: The time of the world.
        first: The books on another shard of the same world, if there are some.
    """

    judges = Checks.judges | {work.Receive: received, work.Settle: settled, work.Forget: forgotten}

    def __init__(self, tables: Tables, shard: work.Shard, now: Callable[[], int], first: ShardChecks | None) -> None:
        super().__init__(tables)
        self._shard = shard
        self.now = now
        self.number = shard.number
        self.post = Post()
        if first is not None:
            for name in _SHARED:
                setattr(self, name, getattr(first, name))

    @property
    def outbox(self) -> dict[int, work.Parcel]:
        """What is on its way from here."""
        return self._tables.outbox

    def messages_of(self, incarnation: int) -> dict[int, MessageRow]:
        """What waits for an instance."""
        row = self._tables.instances.get(incarnation)
        return {} if row is None else row.messages

    def here(self, chronicles: dict[int, Chronicle]) -> Iterable[Chronicle]:
        """Those of instances that this shard has."""
        return [each for each in chronicles.values() if self._shard.far(each.instance_id) is None]

    def unpacked(self, turn: work.Turn) -> Iterable[work.OutMessage]:
        """What a turn tells others, wherever they are."""
        return unpacked(turn.messages)

    def remove(self, incarnation: int, cancel: bytes | None = None) -> None:
        """An instance is no more."""
        if cancel is not None and incarnation in self.chronicles:
            self.post.replaced.add(incarnation)
        super().remove(incarnation, cancel)

    def children_of(self, incarnation: int, before: int) -> list[Chronicle]:
        """Its children that came from another shard before some time."""
        known = [*self.chronicles.values(), *self.closed.values()]
        mine = [each for each in known if each.parent is not None and each.parent.incarnation == incarnation]
        return [each for each in mine if self.post.born_at.get(each.incarnation, before) < before]

    def committed(self, batch: work.Batch, answer: work.Committed) -> None:
        """A batch was applied."""
        super().committed(batch, answer)
        if batch.items and self.outbox.keys() != self.post.outboxes.get(self.number, set()):
            wanted = self.post.outboxes.get(self.number)
            raise Violation(f"the outbox of shard {self.number} has {list(self.outbox)}, and should have {wanted}")

    def send(self, turn: work.Turn, touched: set[int]) -> None:
        """A turn tells others."""
        super().send(turn, touched)
        sent(self, turn)

    def _check_children(self, chronicle: Chronicle, answered: set[int]) -> None:
        for event, child in chronicle.children.items():
            if child.instance_id in self.put_back or child.instance_id in self.gone:
                continue
            place = (chronicle.incarnation, chronicle.execution, event)
            found = self.chronicles.get(self.by_id.get(child.instance_id, 0))
            is_open = found is not None and place_of(found.parent) == place
            ways = (is_open, event in answered, self.post.under_way[place])
            if sum(ways) != 1:
                name = chronicle.instance_id
                raise Violation(f"{name}: (open, heard of, under way) of child {child.instance_id} is {ways}")


_SHARED = (
    "stage", "chronicles", "by_id", "closed", "mail", "stored_mail", "dedup", "cancels", "terminates", "suspended",
    "gone", "gone_for_good", "endings", "begun", "put_back", "crowded", "repeatable", "placed", "post",
)  # fmt: skip
"""The books of which a world has one."""
