"""What goes from one shard to another, and what has come: items that go alone, with all their parcels at once."""

from msgspec.structs import replace

from perdure._work import (
    APPLIED,
    Applied,
    Effect,
    Forget,
    NewInstance,
    Outcome,
    OutMessage,
    Receive,
    Refusal,
    Refused,
    Settle,
    ShardItem,
    ShardStamp,
)
from perdure.storage.postgres.arrays import bigint, bigints, booleans, text
from perdure.storage.postgres.items import any_taken, send
from perdure.storage.postgres.session import begin, commit
from perdure.storage.postgres.transaction import Transaction
from perdure.storage.postgres.wire import Rows, Wire
from perdure.storage.postgres.working import Working


def named(item: ShardItem) -> tuple[list[NewInstance], list[OutMessage]]:
    """The instances that an item makes, and what it tells others: whom it concerns is locked before it is applied."""
    if isinstance(item, Receive):
        starts = [effect.start for effect in item.effects if effect.start is not None]
        return starts, [effect.message for effect in item.effects if effect.message is not None]
    return [], [message for _, message in item.replies] if isinstance(item, Settle) else []


def apply(transaction: Transaction, working: Working, item: ShardItem) -> Outcome:
    """Apply one item, or refuse it and leave everything as it was."""
    if isinstance(item, Receive):
        return _receive(transaction, working, item)
    if isinstance(item, Settle):
        [rows] = transaction.run([("remove_parcels", (bigints(sorted(item.seqs)),))])
        there = {seq for (seq,) in rows}
        send(working, 0, [replace(message, shard=None) for seq, message in item.replies if seq in there])
        return Applied(count=len(there))
    return _forget(transaction, item)


def _receive(transaction: Transaction, working: Working, item: Receive) -> Outcome:
    if transaction.now > item.until:
        return Refused(reason=Refusal.STALE)
    sender = bigint(item.sender)
    names = [bigints([each.seq for each in item.effects]), bigints([each.incarnation for each in item.effects])]
    [rows] = transaction.run([("received_parcels", [sender, *names])])
    known = {(seq, incarnation): skipped for seq, incarnation, skipped in rows}
    fresh = [each for each in item.effects if (each.seq, each.incarnation) not in known]
    if any_taken(working, [each.start for each in fresh if each.start is not None]):
        return Refused(reason=Refusal.INCARNATION)
    added: dict[tuple[int, int], bool] = {}
    for each in fresh:
        if (each.seq, each.incarnation) not in added:
            added[each.seq, each.incarnation] = not _happens(working, each)
    if added:
        columns = [bigints([seq for seq, _ in added]), bigints([incarnation for _, incarnation in added])]
        working.further.append(("add_received", [sender, *columns, booleans([*added.values()])]))
    known |= added
    skipped = tuple(str(each.seq) for each in item.effects if known[each.seq, each.incarnation])
    return Applied(skipped=skipped) if skipped else APPLIED


def _happens(working: Working, effect: Effect) -> bool:
    """Whether what a parcel says could be done."""
    if effect.start is not None:
        if effect.start.id in working.by_id:
            return False
        working.create(effect.start, owner=None)
    return effect.message is None or not send(working, 0, [replace(effect.message, shard=None)])


def _forget(transaction: Transaction, item: Forget) -> Outcome:
    [[(count,)]] = transaction.run([("forget_received", (bigint(item.sender), bigint(item.before)))])
    return Applied(count=count)


def stamped(wire: Wire, *, stamp: ShardStamp | None, place: str) -> ShardStamp | None:
    """Which shard a store is; `stamp` is what it becomes if it is none yet."""
    if stamp is not None:
        wire.run(begin(wire))
        commit(wire, [("become_shard", (bigint(stamp.number), bigint(stamp.count), text(stamp.fleet)))], place, ())
    [rows] = wire.run([("shard", ())])
    return stamp_of(rows)


def stamp_of(rows: Rows) -> ShardStamp | None:
    """Which shard a store is, of the rows of the statement `shard`."""
    return ShardStamp(number=rows[0][0], count=rows[0][1], fleet=rows[0][2]) if rows else None
