"""What is set aside, and what brings it back: suspended instances, held tasks, and what is tried by itself."""

from typing import TYPE_CHECKING

from perdure._types import INSTANT_US_MAX, Status
from perdure._work import APPLIED, Outcome, Refusal, Refused, Resume, Suspend, TaskDiscard, TaskHold, Try, is_copy
from perdure.storage.postgres.arrays import bigint, bigints, boolean, text
from perdure.storage.postgres.items import storable
from perdure.storage.postgres.transaction import Transaction
from perdure.storage.postgres.working import Row, Working

if TYPE_CHECKING:
    from perdure.storage.postgres.wire import Call

_NOT_FOUND = Refused(reason=Refusal.NOT_FOUND)
_NOT_OWNER = Refused(reason=Refusal.NOT_OWNER)
_CLOSED = Refused(reason=Refusal.CLOSED)
_COMING = Refused(reason=Refusal.COMING)


def apply(transaction: Transaction, working: Working, item: Suspend | Resume | TaskDiscard | Try | TaskHold) -> Outcome:
    """Apply one item, or refuse it and leave everything as it was."""
    match item:
        case Suspend():
            return _suspend(transaction, working, item)
        case Resume():
            return _resume(transaction, working, item)
        case TaskDiscard():
            return _discard(transaction, working, item)
        case Try():
            return _try(working, item)
        case TaskHold():
            return _hold_task(working, item)


def _refusal(working: Working, item: Suspend | Resume) -> Refused | Row:
    """The instance that an item names, unless it is refused."""
    row = working.by_id.get(item.id)
    if row is None or item.incarnation not in (None, row.incarnation):
        return _NOT_FOUND
    return _CLOSED if row.closed else row


def _suspend(transaction: Transaction, working: Working, item: Suspend) -> Outcome:
    row = _refusal(working, item)
    if isinstance(row, Refused):
        return row
    was_copy = is_copy(row.status, row.held_because)
    if item.instead_of is None and was_copy:
        return _COMING
    if item.instead_of is not None and not _is_suspended_for(row, storable(item.instead_of)):
        return APPLIED
    reason = storable(item.reason)
    if not (item.keep and row.status == Status.SUSPENDED):
        [[(changed_at,)]] = transaction.run([("last_change", (bigint(row.incarnation),))])
        row.status, row.held_because, row.owner = Status.SUSPENDED, reason, None
        row.updated_at = max(working.now, changed_at + 1)
        row.changed = True
        # One that was a copy may be ended now.
        working.news = working.news or was_copy
    if item.tasks != "go on":
        how = bigint(working.now), text(reason), bigint(INSTANT_US_MAX), boolean(value=item.tasks == "all")
        working.further.append(("set_tasks_aside", (bigint(row.incarnation), *how)))
    return APPLIED


def _is_suspended_for(row: Row, reason: str) -> bool:
    return bool(row.status == Status.SUSPENDED and row.held_because == reason)


def _resume(transaction: Transaction, working: Working, item: Resume) -> Outcome:
    row = _refusal(working, item)
    if isinstance(row, Refused):
        return row
    reason = None if item.reason is None else storable(item.reason)
    key = bigint(row.incarnation), bigint(item.event), text(reason), bigint(item.repeat)
    looks: list[Call] = [
        ("held_task_events", key),
        ("last_events", (bigints([row.incarnation]), bigints([row.execution]))),
        ("last_change", (bigint(row.incarnation),)),
    ]
    held, [(last, _)], [(changed_at,)] = transaction.run(looks)
    if item.event is not None and not held:
        return _NOT_FOUND
    is_meant = item.event is None and reason in (None, row.held_because)
    if is_meant and row.status in (Status.HELD, Status.SUSPENDED):
        row.status = Status.RUNNING if last or row.execution > 1 else Status.PENDING
        row.held_because = row.released_by = row.released_until = None
        row.deliveries = 1
        row.updated_at = max(working.now, changed_at + 1)
        row.changed = working.news = True
    elif held:
        row.updated_at = changed_at + 1
        row.changed = True
    if held:
        working.further.append(("resume_tasks", (*key, bigint(working.now))))
        working.news = True
    return APPLIED


def _discard(transaction: Transaction, working: Working, item: TaskDiscard) -> Outcome:
    key = bigint(item.incarnation), bigint(item.execution), bigint(item.event)
    [held] = transaction.run([("task_is_held", (*key, bigint(item.held_at)))])
    if not held or not held[0][0]:
        return _NOT_FOUND
    row = working.by_incarnation[item.incarnation]
    if is_copy(row.status, row.held_because):
        return _COMING
    working.drop_tasks(item.incarnation, item.execution, (item.event,))
    working.message(row, item.body, execution=item.execution)
    return APPLIED


def _try(working: Working, item: Try) -> Outcome:
    if item.event is not None:
        if (item.execution, item.event) not in working.owned_tasks.get(item.incarnation, ()):
            return _NOT_OWNER
        key = bigint(item.incarnation), bigint(item.execution), bigint(item.event)
        working.further.append(("try_task", key))
        return APPLIED
    row = working.by_incarnation.get(item.incarnation)
    if row is None or row.owner != working.worker:
        return _NOT_OWNER
    working.further.append(("try_instance", (bigint(item.incarnation),)))
    return APPLIED


def _hold_task(working: Working, item: TaskHold) -> Outcome:
    if (item.execution, item.event) not in working.owned_tasks.get(item.incarnation, ()):
        return _NOT_OWNER
    key = bigint(item.incarnation), bigint(item.execution), bigint(item.event)
    how = bigint(working.now), text(storable(item.reason)), bigint(INSTANT_US_MAX)
    working.further.append(("hold_task", (*key, *how)))
    return APPLIED
