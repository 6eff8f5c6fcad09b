"""The items that go alone: a delete, a prune, and a start that replaces the instance that has its id."""

from perdure._work import (
    APPLIED,
    Applied,
    Delete,
    Item,
    MoveOut,
    Outcome,
    Prune,
    Put,
    Refusal,
    Refused,
    Resume,
    ShardItem,
    StartInstance,
    Suspend,
    TaskDiscard,
    TaskHold,
    Try,
    is_copy,
)
from perdure.storage.postgres import aside, images, parcels
from perdure.storage.postgres.arrays import bigint
from perdure.storage.postgres.transaction import Transaction
from perdure.storage.postgres.working import Row, Working

_ASIDE = Suspend | Resume | TaskDiscard | Try | TaskHold


def reaches_far(working: Working, item: Item) -> bool:
    """Whether an item touches more than the instances that it names."""
    if isinstance(item, StartInstance):
        present = working.by_id.get(item.new.id)
        return item.again or (present is not None and item.on_conflict not in ("fail", "use_existing"))
    return isinstance(item, Delete | Prune | Put | MoveOut | ShardItem | _ASIDE)


def apply(transaction: Transaction, working: Working, item: Item) -> Outcome:
    """Apply one item, or refuse it and leave everything as it was."""
    if isinstance(item, _ASIDE):
        if transaction.worker is None and isinstance(item, Try | TaskHold):
            return Refused(reason=Refusal.FENCED)
        return aside.apply(transaction, working, item)
    if isinstance(item, Delete):
        return _delete(transaction, working, item)
    if isinstance(item, Prune):
        return _prune(transaction, working, item)
    if isinstance(item, Put):
        return images.put(transaction, working, item)
    if isinstance(item, MoveOut):
        return images.move_out(transaction, working, item)
    if isinstance(item, ShardItem):
        return parcels.apply(transaction, working, item)
    if isinstance(item, StartInstance):
        return _start(transaction, working, item)
    raise TypeError(f"a {type(item).__name__} is applied with others, not alone")


def _start(transaction: Transaction, working: Working, item: StartInstance) -> Outcome:
    """A start that may replace the instance that has its id, or was sent before."""
    new = item.new
    present = working.by_id.get(new.id)
    settled = _meet_nobody(working, item) if present is None else _meet(transaction, item, present)
    if settled is not None:
        return settled
    if new.incarnation in working.by_incarnation:
        return Refused(reason=Refusal.INCARNATION)
    if item.again:
        [[(is_gone,)]] = transaction.run([("is_gone", (bigint(new.incarnation),))])
        if is_gone:
            return Refused(reason=Refusal.GONE)
    if present is not None:
        if item.cancel is not None and not present.closed:
            _cancel_children(transaction, working, present.incarnation, item.cancel)
        working.remove(present.incarnation)
    working.create(new, owner=None)
    return APPLIED


def _meet_nobody(working: Working, item: StartInstance) -> Outcome | None:
    return Refused(reason=Refusal.BUSY) if item.new.id in working.busy else None


def _meet(transaction: Transaction, item: StartInstance, present: Row) -> Outcome | None:
    """What the start says to the instance that has its id; None: it replaces it."""
    if present.incarnation == item.new.incarnation:
        return APPLIED
    if item.on_conflict == "use_existing":
        return Applied(existing=transaction.record(present.incarnation))
    if item.on_conflict == "fail" or (item.on_conflict == "restart_if_closed" and not present.closed):
        return Refused(reason=Refusal.EXISTS, existing=transaction.record(present.incarnation))
    if is_copy(present.status, present.held_because):
        return Refused(reason=Refusal.COMING)
    if not present.closed and present.parent_incarnation is not None:
        [parents] = transaction.run([("parent_is_open", (bigint(present.parent_incarnation),))])
        if parents:
            return Refused(reason=Refusal.NOT_ROOT)
    return None


def _cancel_children(transaction: Transaction, working: Working, parent: int, cancel: bytes) -> None:
    # A closed one has no open children that wait to be cancelled: they outlived it by design.
    [children] = transaction.run([("open_children", (bigint(parent),))])
    for row in children:
        child = Row(row, working.now)
        working.know(child)
        working.message(child, cancel)


def _delete(transaction: Transaction, working: Working, item: Delete) -> Outcome:
    root = _named(working, item)
    if root is None:
        return Refused(reason=Refusal.NOT_FOUND)
    if root.parent_incarnation is not None:
        [parents] = transaction.run([("instance_is_there", (bigint(root.parent_incarnation),))])
        if parents:
            return Refused(reason=Refusal.NOT_ROOT)
    key = (bigint(root.incarnation),)
    locked, tree = transaction.run([("lock_tree", key), ("tree", key)])
    while len(locked) != len(tree):
        # One was born while we waited for the locks.
        locked, tree = transaction.run([("lock_tree", key), ("tree", key)])
    if not item.force and any(is_open for _, is_open in tree):
        return Refused(reason=Refusal.NOT_CLOSED)
    for incarnation, _ in tree:
        working.remove(incarnation)
    return Applied(count=len(tree))


def _named(working: Working, item: Delete | Prune) -> Row | None:
    """The instance that an item names, unless it means an earlier one of that id."""
    row = working.by_id.get(item.id)
    return row if row is not None and item.incarnation in (None, row.incarnation) else None


def _prune(transaction: Transaction, working: Working, item: Prune) -> Outcome:
    row = _named(working, item)
    if row is None:
        return Refused(reason=Refusal.NOT_FOUND)
    last = row.execution - max(item.keep, 1)
    [past] = transaction.run([("past_executions", (bigint(row.incarnation), bigint(last), bigint(item.before)))])
    working.pruned += [(row.incarnation, execution) for (execution,) in past]
    return Applied(count=len(past))
