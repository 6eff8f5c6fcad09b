"""What instances say to others, on the same shard or on another, and what comes from there."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from perdure._work import Effect, Forget, InstanceRecord, NewInstance, OutMessage, Receive, Settle, ShardItem
from perdure.testing._dice import Dice

if TYPE_CHECKING:
    from perdure.testing.storage_suite.tape.book import Book

SHARDS = (1, 2)
_SEQS = 12


class Parcels:
    """Writes messages and parcels."""

    def __init__(self, dice: Dice, book: "Book", receiver: Callable[[], str], new: Callable[[], NewInstance]) -> None:
        self._dice = dice
        self._book = book
        self._receiver = receiver
        self._new = new
        self._sent: list[int] = [4_711]

    def message(self, record: InstanceRecord) -> OutMessage:
        """What an instance says to another."""
        dice, book = self._dice, self._book
        if dice.chance(15):
            body = book.body()
            self._sent.append(number_of(body))
            return OutMessage(body=body, shard=dice.pick(SHARDS))
        return self._near(record)

    def _near(self, record: InstanceRecord | None) -> OutMessage:
        dice, book = self._dice, self._book
        control = dice.chance(15)
        if dice.chance(40):
            return OutMessage(body=book.body(), to_incarnation=dice.pick(book.incarnations[-8:]), control=control)
        guard = record.incarnation if record and dice.chance(40) else None
        return OutMessage(body=book.body(), to_id=self._receiver(), child_of=guard, control=control)

    def item(self, kind: str) -> ShardItem:
        """What a courier sends. Parcels in the outbox are named by their bodies, which each store numbers by itself."""
        dice = self._dice
        if kind == "settle":
            seqs = dice.some(self._sent[-6:], 3)
            replies = tuple((seq, self._near(None)) for seq in seqs if dice.chance(30))
            return Settle(seqs=seqs, replies=replies)
        if kind == "forget":
            return Forget(sender=dice.pick(SHARDS), before=1 + dice.below(_SEQS))
        until = self._book.now + (10_000_000 if dice.chance(95) else -1)
        effects = tuple(self._effect(1 + dice.below(_SEQS)) for _ in range(1 + dice.below(3)))
        return Receive(sender=dice.pick(SHARDS), effects=effects, until=until)

    def _effect(self, seq: int) -> Effect:
        if self._dice.chance(40):
            return Effect(seq=seq, incarnation=seq, start=self._new())
        return Effect(seq=seq, incarnation=seq, message=self._near(self._book.record()))


def number_of(body: bytes) -> int:
    """By which a body that the book has made is known."""
    return int(body.split()[-1])
