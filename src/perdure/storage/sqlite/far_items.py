"""The items that go alone: a hold, a restart, a delete, a prune."""

from perdure._work import (
    APPLIED,
    Applied,
    Delete,
    Forget,
    Hold,
    Item,
    MoveOut,
    NewInstance,
    Outcome,
    Prune,
    Put,
    Receive,
    Refusal,
    Refused,
    Resume,
    Settle,
    StartInstance,
    Suspend,
    TaskDiscard,
    TaskHold,
    Try,
    is_copy,
)
from perdure.storage.sqlite import aside, images, local_tasks, parcels
from perdure.storage.sqlite.changes import CLOSED, Changes
from perdure.storage.sqlite.rows import encode_rows, storable
from perdure.storage.sqlite.statements import STATEMENTS, RowStatement
from perdure.storage.sqlite.transaction import Transaction

_CREATIONS = RowStatement("judge_creations")
_TURNS = RowStatement("judge_turns")
_INCARNATION = Refused(reason=Refusal.INCARNATION)


def apply(transaction: Transaction, item: Item) -> Outcome:
    """Apply one item, or refuse it and leave everything as it was."""
    match item:
        case Hold():
            return _hold(transaction, item)
        case Delete():
            return _delete(transaction, item)
        case Prune():
            return _prune(transaction, item)
        case StartInstance():
            return _start(transaction, item)
        case Suspend() | Resume() | TaskDiscard() | Try() | TaskHold():
            return aside.apply(transaction, item)
        case Put():
            return images.put(transaction, item)
        case MoveOut():
            return images.move_out(transaction, item)
        case Receive() | Settle() | Forget():
            return parcels.apply(transaction, item)
        case _:
            raise TypeError(f"a {type(item).__name__} is applied with others, not alone")


def hold_instances(transaction: Transaction, reasons: list[tuple[int, str]]) -> None:
    """Set instances aside, without owner; for who registered after this worker, or after all where there is none."""
    rows = [(incarnation, storable(reason)) for incarnation, reason in reasons]
    transaction.execute(STATEMENTS["hold_instances"], (encode_rows(rows), transaction.now, transaction.worker))


def _taken(transaction: Transaction, new: NewInstance) -> tuple[int | None, bool]:
    """By whom the id is taken, and whether the incarnation is."""
    for _, by_id, by_incarnation in _CREATIONS.ask(transaction.execute, [0, new.id, new.incarnation]):
        return by_id, bool(by_incarnation)
    return None, False


def _hold(transaction: Transaction, hold: Hold) -> Outcome:
    changes = Changes(transaction)
    incarnation = hold.incarnation
    if hold.create is not None:
        incarnation = hold.create.incarnation
        by_id, by_incarnation = _taken(transaction, hold.create)
        if by_id is not None:
            return Refused(reason=Refusal.EXISTS, existing=transaction.records([by_id])[0])
        if by_incarnation:
            return _INCARNATION
        changes.create(hold.create)
    elif _is_not_owner(transaction, incarnation):
        return Refused(reason=Refusal.NOT_OWNER)
    else:
        local_tasks.move(transaction, {incarnation})
    changes.consume(incarnation, hold.consumed)
    changes.drop_tasks(incarnation, hold.execution, hold.tasks_gone)
    for body in hold.messages:
        changes.message(incarnation, body, execution=hold.execution)
    changes.write()
    hold_instances(transaction, [(incarnation, hold.reason)])
    return APPLIED


def _is_not_owner(transaction: Transaction, incarnation: int) -> bool:
    verdicts = _TURNS.ask(transaction.execute, [transaction.worker, incarnation, None, None, None])
    return any(verdict == "not_owner" for _, verdict, _ in verdicts)


def _start(transaction: Transaction, item: StartInstance) -> Outcome:
    """A start that may replace the instance that has its id, or was sent before."""
    holder, by_incarnation = _taken(transaction, item.new)
    changes = Changes(transaction)
    if holder is not None:
        settled = _meet(transaction, item, holder)
        if settled is not None:
            return settled
    if by_incarnation:
        return _INCARNATION
    if item.again and transaction.execute(STATEMENTS["is_gone"], (item.new.incarnation,)).get:
        return Refused(reason=Refusal.GONE)
    if holder is not None:
        if item.cancel is not None:
            # A closed one has no open children that wait to be cancelled: they outlived it by design.
            open_before = transaction.records([holder])[0].status not in CLOSED
            children = transaction.ask(STATEMENTS["open_children"], holder) if open_before else []
            for child in children:
                changes.message(child, item.cancel)
        transaction.execute(STATEMENTS["delete_instances"], (encode_rows([holder]),))
    changes.create(item.new)
    changes.write()
    return APPLIED


def _meet(transaction: Transaction, item: StartInstance, holder: int) -> Outcome | None:
    """What the start says to the instance that has its id; None: it replaces it."""
    if holder == item.new.incarnation:
        return APPLIED
    record = transaction.records([holder])[0]
    if item.on_conflict == "use_existing":
        return Applied(existing=record)
    if record.status in CLOSED and item.on_conflict != "fail":
        return None
    if item.on_conflict in ("fail", "restart_if_closed"):
        return Refused(reason=Refusal.EXISTS, existing=record)
    if is_copy(record.status, record.held_because):
        return Refused(reason=Refusal.COMING)
    if transaction.execute(STATEMENTS["parent_is_open"], (holder,)).get:
        return Refused(reason=Refusal.NOT_ROOT)
    return None


def _delete(transaction: Transaction, item: Delete) -> Outcome:
    incarnation = _named(transaction, item)
    if incarnation is None:
        return Refused(reason=Refusal.NOT_FOUND)
    count, still_open, has_parent, incarnations = transaction.ask(STATEMENTS["tree"], incarnation)
    if has_parent:
        return Refused(reason=Refusal.NOT_ROOT)
    if still_open and not item.force:
        return Refused(reason=Refusal.NOT_CLOSED)
    transaction.execute(STATEMENTS["delete_instances"], (encode_rows(incarnations),))
    return Applied(count=count)


def _named(transaction: Transaction, item: Delete | Prune) -> int | None:
    """The incarnation of the instance that an item names, unless it means an earlier one of that id."""
    found: dict[str, int] = transaction.ask(STATEMENTS["incarnations"], encode_rows([item.id]))
    incarnation = found.get(item.id)
    return incarnation if item.incarnation in (None, incarnation) else None


def _prune(transaction: Transaction, item: Prune) -> Outcome:
    incarnation = _named(transaction, item)
    if incarnation is None:
        return Refused(reason=Refusal.NOT_FOUND)
    [record] = transaction.records([incarnation])
    last = record.execution - max(item.keep, 1)
    past = transaction.ask(STATEMENTS["past_executions"], incarnation, last, item.before)
    if past:
        transaction.execute(STATEMENTS["delete_executions"], (incarnation, encode_rows(past)))
    return Applied(count=len(past))
