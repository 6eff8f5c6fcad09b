"""What goes from one shard to another, and what has come."""

from typing import assert_never

from msgspec.structs import replace

from perdure._work import (
    APPLIED,
    Applied,
    Effect,
    Forget,
    Outcome,
    OutMessage,
    Parcel,
    Receive,
    Refusal,
    Refused,
    Settle,
    ShardItem,
    is_copy,
)
from perdure.storage.memory.rows import InstanceRow, Tables


def send(tables: Tables, now: int, sender: int, messages: tuple[OutMessage, ...]) -> list[str]:
    """Send what an instance says, in order; returns the receivers that are no more."""
    skipped = []
    for message in messages:
        if message.shard is not None:
            tables.last_parcel += 1
            parcel = Parcel(
                seq=tables.last_parcel, shard=message.shard, incarnation=sender, sent_at=now, body=message.body
            )
            tables.outbox[parcel.seq] = parcel
            continue
        row = _receiver(tables, message)
        if row is None or row.closed or _is_none(row, message):
            skipped.append(str(message.to_incarnation) if message.to_id is None else message.to_id)
        else:
            tables.add_message(row, message.body, now, control=message.control)
    return skipped


def _receiver(tables: Tables, message: OutMessage) -> InstanceRow | None:
    if message.to_id is None:
        return tables.instances.get(message.to_incarnation or 0)
    row = tables.by_id.get(message.to_id)
    if row is None or message.child_of is None:
        return row
    parent = row.record.parent
    return row if parent is not None and parent.incarnation == message.child_of else None


def _is_none(row: InstanceRow, message: OutMessage) -> bool:
    """Whether it is a copy to whoever sends the message."""
    is_by_name = message.to_id is not None and message.child_of is None
    return is_by_name and is_copy(row.record.status, row.record.held_because)


def apply(tables: Tables, now: int, item: ShardItem) -> Outcome:
    """Apply one item, or refuse it and leave everything as it was."""
    match item:
        case Receive():
            return _receive(tables, now, item)
        case Settle():
            return _settle(tables, now, item)
        case Forget():
            gone = [key for key in tables.received if key[0] == item.sender and key[1] < item.before]
            for key in gone:
                del tables.received[key]
            return Applied(count=len(gone))
        case _:
            assert_never(item)


def _receive(tables: Tables, now: int, item: Receive) -> Outcome:
    if now > item.until:
        return Refused(reason=Refusal.STALE)
    if _incarnation_taken(tables, item):
        return Refused(reason=Refusal.INCARNATION)
    skipped = []
    for effect in item.effects:
        key = (item.sender, effect.seq, effect.incarnation)
        if key not in tables.received:
            tables.received[key] = not _happens(tables, now, effect)
        if tables.received[key]:
            skipped.append(str(effect.seq))
    return Applied(skipped=tuple(skipped)) if skipped else APPLIED


def _incarnation_taken(tables: Tables, item: Receive) -> bool:
    ids: set[str] = set()
    incarnations: set[int] = set()
    for effect in item.effects:
        new = effect.start
        if new is None or new.id in tables.by_id or new.id in ids:
            continue
        if (item.sender, effect.seq, effect.incarnation) in tables.received:
            continue
        if new.incarnation in tables.instances or new.incarnation in incarnations:
            return True
        ids.add(new.id)
        incarnations.add(new.incarnation)
    return False


def _happens(tables: Tables, now: int, effect: Effect) -> bool:
    """Whether what a parcel says could be done."""
    if effect.start is not None:
        if effect.start.id in tables.by_id:
            return False
        born = tables.add_instance(effect.start, now)
        tables.add_message(born, effect.start.start, born.ready_at)
    return effect.message is None or not send(tables, now, effect.incarnation, (replace(effect.message, shard=None),))


def _settle(tables: Tables, now: int, item: Settle) -> Outcome:
    there = [(seq, tables.outbox.pop(seq)) for seq in item.seqs if seq in tables.outbox]
    gone = {seq: parcel.incarnation for seq, parcel in there}
    for seq, message in item.replies:
        if seq in gone:
            send(tables, now, gone[seq], (replace(message, shard=None),))
    return Applied(count=len(gone))


def parcels(
    tables: Tables, shard: int | None, limit: int, incarnations: tuple[int, ...] | None, before: int | None
) -> list[Parcel]:
    """What is in the outbox for a shard, or for all, in order."""
    found = [
        parcel
        for _, parcel in sorted(tables.outbox.items())
        if shard in (None, parcel.shard)
        and (incarnations is None or parcel.incarnation in incarnations)
        and (before is None or parcel.sent_at < before)
    ]
    return found[:limit]
