"""Shards: several databases that are one store, and what is on its way from one of them to another.

A commit is atomic in one database only. What a turn does to an instance of another shard is therefore a parcel in its
own shard's outbox, written with the turn; whoever delivers it may do so twice, and the receiver applies it once.
"""

from msgspec import Struct

from perdure._types import SLOTS, slot_of

_SEQUENCE_BITS = 22
_KEPT_BITS = 12


class Shard(Struct, frozen=True, gc=False, kw_only=True):
    """Which database of how many: slots are spread over them in equal ranges."""

    number: int
    count: int

    def of(self, instance_id: str) -> int:
        """The number of the shard that has the instance, or would have it."""
        return slot_of(instance_id) * self.count // SLOTS

    def far(self, instance_id: str) -> int | None:
        """The same, None if it is this one."""
        number = self.of(instance_id)
        return None if number == self.number else number


def shard_of(incarnation: int, count: int) -> int:
    """The number of the shard of an instance that was started in one of so many."""
    return (incarnation & (SLOTS - 1)) * count // SLOTS


def with_slot(incarnation: int, slot: int) -> int:
    """An incarnation that says which slot its id has, and so is no other shard's.

    It has the milliseconds of the one that was drawn, and 12 bits of its sequence.
    """
    time, sequence = incarnation >> _SEQUENCE_BITS, incarnation & ((1 << _KEPT_BITS) - 1)
    return (time << _SEQUENCE_BITS) | (sequence << (_SEQUENCE_BITS - _KEPT_BITS)) | slot


class ShardStamp(Struct, frozen=True, gc=False, kw_only=True):
    """What is written into a database of a sharded store: its place, and which store it belongs to."""

    number: int
    count: int
    fleet: str


class Parcel(Struct, frozen=True, gc=False, kw_only=True):
    """A parcel in an outbox: its number there, for which shard it is, and the instance whose turn has sent it."""

    seq: int
    shard: int
    incarnation: int
    sent_at: int
    body: bytes
