"""What is set aside, and what brings it back: suspended instances, held tasks, and what is tried by itself."""

from msgspec.structs import replace

from perdure._types import INSTANT_US_MAX, Status
from perdure._work import APPLIED, Outcome, Refusal, Refused, Resume, Suspend, TaskDiscard, TaskHold, Try, is_copy
from perdure.storage.memory.rows import InstanceRow, Tables, TaskRow, WorkerRow

_NOT_FOUND = Refused(reason=Refusal.NOT_FOUND)
_NOT_OWNER = Refused(reason=Refusal.NOT_OWNER)
_CLOSED = Refused(reason=Refusal.CLOSED)
_COMING = Refused(reason=Refusal.COMING)


def suspend(tables: Tables, now: int, item: Suspend) -> Outcome:
    """Set an instance aside until somebody resumes it."""
    row = _named(tables, item)
    if row is None or row.closed:
        return _NOT_FOUND if row is None else _CLOSED
    if item.instead_of is None and is_copy(row.record.status, row.record.held_because):
        return _COMING
    if item.instead_of is not None and not _is_suspended_for(row, item.instead_of):
        return APPLIED
    if not (item.keep and row.record.status is Status.SUSPENDED):
        updated_at = max(now, row.record.updated_at + 1)
        tables.own_instance(row, None)
        row.record = replace(row.record, status=Status.SUSPENDED, held_because=item.reason, updated_at=updated_at)
    for task in [] if item.tasks == "go on" else list(row.tasks.values()):
        if task.new.permit is None and task.held_because is None and (task.owner is None or item.tasks == "all"):
            _set_aside(tables, now, task, item.reason)
    return APPLIED


def _is_suspended_for(row: InstanceRow, reason: str) -> bool:
    return row.record.status is Status.SUSPENDED and row.record.held_because == reason


def _set_aside(tables: Tables, now: int, task: TaskRow, reason: str) -> None:
    """Take a task out of line, or from its owner."""
    if task.owner is None:
        tables.line.remove(task)
        task.due, task.start_by = INSTANT_US_MAX, None
        tables.line.add(task)
    else:
        tables.disown_task(task, task.owner, due=INSTANT_US_MAX, started=True)
    task.held_because, task.held_at = reason, now


def resume(tables: Tables, now: int, item: Resume) -> Outcome:
    """Let an instance and its held tasks go on, or one of these."""
    row = _named(tables, item)
    if row is None or row.closed:
        return _NOT_FOUND if row is None else _CLOSED
    goes_on = False
    held = [task for task in row.tasks.values() if task.held_because is not None]
    held = [task for task in held if item.reason in (None, task.held_because)]
    held = [task for task in held if item.repeat in (None, task.began_at)]
    if item.event is not None:
        held = [task for task in held if task.new.event == item.event]
        if not held:
            return _NOT_FOUND
    elif row.record.status in (Status.HELD, Status.SUSPENDED) and item.reason in (None, row.record.held_because):
        begun = row.record.execution > 1 or row.record.last_event > 0
        status = Status.RUNNING if begun else Status.PENDING
        updated_at = max(now, row.record.updated_at + 1)
        row.record = replace(row.record, status=status, held_because=None, deliveries=1, updated_at=updated_at)
        tables.wake_instance(row)
        goes_on = True
    if held and not goes_on:
        row.record = replace(row.record, updated_at=row.record.updated_at + 1)
    for task in held:
        tables.reset_task(task, due=now, repeat=item.repeat is not None)
    return APPLIED


def discard(tables: Tables, now: int, item: TaskDiscard) -> Outcome:
    """End a held task with this outcome."""
    row = tables.instances.get(item.incarnation)
    task = None if row is None else row.tasks.get((item.execution, item.event))
    if row is None or task is None or task.held_because is None or item.held_at not in (None, task.held_at):
        return _NOT_FOUND
    if is_copy(row.record.status, row.record.held_because):
        return _COMING
    tables.remove_task(task)
    tables.add_message(row, item.body, now, execution=item.execution)
    return APPLIED


def count_try(tables: Tables, worker: WorkerRow, item: Try) -> Outcome:
    """Count a delivery of what the worker owns and is about to try."""
    if item.event is not None:
        task = _owned_task(tables, worker, item.incarnation, item.execution, item.event)
        if task is None:
            return _NOT_OWNER
        task.deliveries += 1
        return APPLIED
    if item.incarnation not in worker.instances:
        return _NOT_OWNER
    row = tables.instances[item.incarnation]
    row.record = replace(row.record, deliveries=row.record.deliveries + 1)
    return APPLIED


def hold_task(tables: Tables, now: int, worker: WorkerRow, item: TaskHold) -> Outcome:
    """Set a task aside."""
    task = _owned_task(tables, worker, item.incarnation, item.execution, item.event)
    if task is None:
        return _NOT_OWNER
    _set_aside(tables, now, task, item.reason)
    return APPLIED


def _named(tables: Tables, item: Suspend | Resume) -> InstanceRow | None:
    row = tables.by_id.get(item.id)
    return row if row is not None and item.incarnation in (None, row.record.incarnation) else None


def _owned_task(tables: Tables, worker: WorkerRow, incarnation: int, execution: int, event: int) -> TaskRow | None:
    row = tables.instances.get(incarnation)
    task = None if row is None else row.tasks.get((execution, event))
    return task if task is not None and task.owner == worker.record.worker else None
