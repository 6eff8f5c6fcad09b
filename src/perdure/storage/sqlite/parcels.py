"""What goes from one shard to another, and what has come: items that go alone, each parcel after the other."""

from typing import assert_never

from perdure._work import (
    APPLIED,
    COMING,
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
from perdure.storage.sqlite.changes import Changes
from perdure.storage.sqlite.connection import Connection
from perdure.storage.sqlite.rows import encode_rows
from perdure.storage.sqlite.statements import STATEMENTS, RowStatement
from perdure.storage.sqlite.transaction import Transaction

_CREATIONS = RowStatement("judge_creations")
_RECEIVERS = STATEMENTS["receivers"]


def apply(transaction: Transaction, item: ShardItem) -> Outcome:
    """Apply one item, or refuse it and leave everything as it was."""
    match item:
        case Receive():
            return _receive(transaction, item)
        case Settle():
            return _settle(transaction, item)
        case Forget():
            below = (item.sender, item.before)
            count = transaction.execute(STATEMENTS["count_received"], below).get
            transaction.execute(STATEMENTS["forget_received"], below)
            return Applied(count=count)
        case _:
            assert_never(item)


def _receive(transaction: Transaction, item: Receive) -> Outcome:
    if transaction.now > item.until:
        return Refused(reason=Refusal.STALE)
    names = encode_rows([(effect.seq, effect.incarnation) for effect in item.effects])
    known = {
        (seq, incarnation): bool(skipped)
        for seq, incarnation, skipped in transaction.ask(STATEMENTS["received_parcels"], item.sender, names)
    }
    fresh = [effect for effect in item.effects if (effect.seq, effect.incarnation) not in known]
    if _incarnation_taken(transaction, [effect.start for effect in fresh if effect.start is not None]):
        return Refused(reason=Refusal.INCARNATION)
    rows = []
    for effect in fresh:
        if (effect.seq, effect.incarnation) not in known:
            skipped = known[effect.seq, effect.incarnation] = not _happens(transaction, effect)
            rows.append((effect.seq, effect.incarnation, skipped))
    if rows:
        transaction.execute(STATEMENTS["add_received"], (item.sender, encode_rows(rows)))
    passed_over = tuple(str(effect.seq) for effect in item.effects if known[effect.seq, effect.incarnation])
    return Applied(skipped=passed_over) if passed_over else APPLIED


def _incarnation_taken(transaction: Transaction, news: list[NewInstance]) -> bool:
    ids: set[str] = set()
    incarnations: set[int] = set()
    for new in news:
        if new.id in ids:
            continue
        by_id, by_incarnation = _taken(transaction, new)
        if by_id:
            continue
        if by_incarnation or new.incarnation in incarnations:
            return True
        ids.add(new.id)
        incarnations.add(new.incarnation)
    return False


def _taken(transaction: Transaction, new: NewInstance) -> tuple[bool, bool]:
    """Whether the id is taken, and the incarnation."""
    for _, by_id, by_incarnation in _CREATIONS.ask(transaction.execute, [0, new.id, new.incarnation]):
        return by_id is not None, bool(by_incarnation)
    return False, False


def _happens(transaction: Transaction, effect: Effect) -> bool:
    """Whether what a parcel says could be done."""
    if effect.start is not None:
        if _taken(transaction, effect.start)[0]:
            return False
        changes = Changes(transaction)
        changes.create(effect.start)
        changes.write()
    return effect.message is None or _tell(transaction, effect.message)


def _tell(transaction: Transaction, message: OutMessage) -> bool:
    """Whether a message had a receiver."""
    named = (message.to_id, message.to_incarnation, message.child_of)
    [receiver] = transaction.ask(_RECEIVERS, encode_rows([named]), COMING)
    if receiver is None:
        return False
    changes = Changes(transaction)
    changes.message(receiver, message.body, control=message.control)
    changes.write()
    return True


def _settle(transaction: Transaction, item: Settle) -> Outcome:
    rows = transaction.execute(STATEMENTS["remove_parcels"], (encode_rows(item.seqs),)).fetchall()
    there = {seq for seq, _ in rows}
    for seq, message in item.replies:
        if seq in there:
            _tell(transaction, message)
    return Applied(count=len(there))


def read_stamp(connection: Connection, stamp: ShardStamp | None) -> ShardStamp | None:
    """Which shard this is; `stamp` is what it becomes if it is none yet."""
    if stamp is not None:
        with connection.writing():
            connection.execute(STATEMENTS["become_shard"], (stamp.number, stamp.count, stamp.fleet))
    with connection.alone():
        found = connection.execute(STATEMENTS["shard"]).get
    return None if found is None else ShardStamp(number=found[0], count=found[1], fleet=found[2])
