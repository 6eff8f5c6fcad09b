"""What is set aside, and what brings it back: suspended instances, held tasks, and what is tried by itself."""

from perdure._types import INSTANT_US_MAX, Status
from perdure._work import (
    APPLIED,
    InstanceRecord,
    Outcome,
    Refusal,
    Refused,
    Resume,
    Suspend,
    TaskDiscard,
    TaskHold,
    Try,
    is_copy,
)
from perdure.storage.sqlite import local_tasks
from perdure.storage.sqlite.changes import CLOSED, Changes
from perdure.storage.sqlite.rows import decode_answer, encode_rows, storable
from perdure.storage.sqlite.statements import STATEMENTS
from perdure.storage.sqlite.transaction import Transaction

_NOT_FOUND = Refused(reason=Refusal.NOT_FOUND)
_NOT_OWNER = Refused(reason=Refusal.NOT_OWNER)
_CLOSED = Refused(reason=Refusal.CLOSED)
_COMING = Refused(reason=Refusal.COMING)
_ASIDE = Status.HELD, Status.SUSPENDED


def apply(transaction: Transaction, item: Suspend | Resume | TaskDiscard | Try | TaskHold) -> Outcome:
    """Apply one item, or refuse it and leave everything as it was."""
    match item:
        case Suspend() | Resume():
            return _of_instance(transaction, item)
        case TaskDiscard():
            return _discard(transaction, item)
        case Try():
            return _try(transaction, item)
        case TaskHold():
            return _hold_task(transaction, item)


def _of_instance(transaction: Transaction, item: Suspend | Resume) -> Outcome:
    found: dict[str, int] = transaction.ask(STATEMENTS["incarnations"], encode_rows([item.id]))
    incarnation = found.get(item.id)
    if incarnation is None or item.incarnation not in (None, incarnation):
        return _NOT_FOUND
    [record] = transaction.records([incarnation])
    if record.status in CLOSED:
        return _CLOSED
    reason = None if item.reason is None else storable(item.reason)
    if isinstance(item, Suspend):
        return _suspend(transaction, item, record)
    held = transaction.ask(STATEMENTS["held_task_events"], incarnation, item.event, reason, item.repeat)
    if item.event is None and record.status in _ASIDE and reason in (None, record.held_because):
        transaction.execute(STATEMENTS["resume_instance"], (incarnation, transaction.now))
    elif held:
        transaction.execute(STATEMENTS["tell_decision"], (incarnation,))
    elif item.event is not None:
        return _NOT_FOUND
    if held:
        which = (incarnation, item.event, reason, item.repeat)
        transaction.execute(STATEMENTS["resume_tasks"], (*which, transaction.now))
    return APPLIED


def _suspend(transaction: Transaction, item: Suspend, record: InstanceRecord) -> Outcome:
    if item.instead_of is None and is_copy(record.status, record.held_because):
        return _COMING
    if item.instead_of is not None and not _is_suspended_for(record, storable(item.instead_of)):
        return APPLIED
    how = record.incarnation, transaction.now, storable(item.reason)
    if not (item.keep and record.status is Status.SUSPENDED):
        transaction.execute(STATEMENTS["suspend_instance"], how)
    if item.tasks != "go on":
        transaction.execute(STATEMENTS["set_tasks_aside"], (*how, INSTANT_US_MAX, item.tasks == "all"))
    return APPLIED


def _is_suspended_for(record: InstanceRecord, reason: str) -> bool:
    return record.status is Status.SUSPENDED and record.held_because == reason


def _stands(transaction: Transaction, key: tuple[int, int, int]) -> tuple[int | None, str | None, int | None] | None:
    """Who owns a task, why it is held, and since when; None when it is not there."""
    found = transaction.execute(STATEMENTS["task_stands"], key).get
    return None if found is None else tuple(decode_answer(found))


def _discard(transaction: Transaction, item: TaskDiscard) -> Outcome:
    stands = _stands(transaction, (item.incarnation, item.execution, item.event))
    if stands is None or stands[1] is None or item.held_at not in (None, stands[2]):
        return _NOT_FOUND
    [record] = transaction.records([item.incarnation])
    if is_copy(record.status, record.held_because):
        return _COMING
    changes = Changes(transaction)
    changes.drop_tasks(item.incarnation, item.execution, (item.event,))
    changes.message(item.incarnation, item.body, execution=item.execution)
    changes.write()
    return APPLIED


def _try(transaction: Transaction, item: Try) -> Outcome:
    if item.event is not None:
        key = item.incarnation, item.execution, item.event
        local_tasks.move(transaction, {item.incarnation})
        stands = _stands(transaction, key)
        if stands is None or stands[0] != transaction.worker:
            return _NOT_OWNER
        transaction.execute(STATEMENTS["try_task"], key)
        return APPLIED
    records = transaction.records([item.incarnation])
    if not records or records[0].owner != transaction.worker:
        return _NOT_OWNER
    transaction.execute(STATEMENTS["try_instance"], (item.incarnation,))
    return APPLIED


def _hold_task(transaction: Transaction, item: TaskHold) -> Outcome:
    key = item.incarnation, item.execution, item.event
    local_tasks.move(transaction, {item.incarnation})
    stands = _stands(transaction, key)
    if stands is None or stands[0] != transaction.worker:
        return _NOT_OWNER
    transaction.execute(STATEMENTS["hold_task"], (*key, transaction.now, storable(item.reason), INSTANT_US_MAX))
    return APPLIED
