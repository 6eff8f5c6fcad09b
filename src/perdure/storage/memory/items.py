"""What each item of a batch does, and when it is refused.

Laws kept here: an item is judged completely before anything of it is done; what it does can't fail.
"""

from collections.abc import Iterable
from typing import assert_never

from msgspec.structs import replace

from perdure._types import Status
from perdure._work import (
    APPLIED,
    Applied,
    ClientItem,
    Delete,
    Deliver,
    Forget,
    Hold,
    InstanceChange,
    InstanceRelease,
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
    TaskBeat,
    TaskDiscard,
    TaskDone,
    TaskHold,
    TaskItem,
    TaskRelease,
    TaskRetry,
    Try,
    Turn,
    is_copy,
)
from perdure.storage.base import SUSPECT_DELIVERIES
from perdure.storage.memory import parcels
from perdure.storage.memory.aside import count_try, discard, hold_task, resume, suspend
from perdure.storage.memory.images import move_out, put
from perdure.storage.memory.parcels import send
from perdure.storage.memory.rows import InstanceRow, Tables, TaskRow, WorkerRow


def apply(tables: Tables, now: int, worker: WorkerRow | None, item: Item) -> Outcome:
    """Apply one item, or refuse it and leave everything as it was."""
    if isinstance(item, ClientItem):
        return _of_client(tables, now, item)
    if worker is None:
        return Refused(reason=Refusal.FENCED)
    match item:
        case Turn():
            return _turn(tables, now, worker, item)
        case Hold():
            return _hold(tables, now, worker, item)
        case InstanceRelease():
            return _release_instance(tables, now, worker, item)
        case Try():
            return count_try(tables, worker, item)
        case TaskHold():
            return hold_task(tables, now, worker, item)
        case TaskDone() | TaskBeat() | TaskRetry() | TaskRelease():
            return _of_task(tables, now, worker, item)
        case _:
            assert_never(item)


def _of_client(tables: Tables, now: int, item: ClientItem) -> Outcome:
    match item:
        case StartInstance():
            return _start(tables, now, item)
        case Deliver():
            return _deliver(tables, now, item)
        case Delete():
            return _delete(tables, item)
        case Prune():
            return _prune(tables, item)
        case Suspend():
            return suspend(tables, now, item)
        case Resume():
            return resume(tables, now, item)
        case TaskDiscard():
            return discard(tables, now, item)
        case Put() | MoveOut():
            return put(tables, now, item) if isinstance(item, Put) else move_out(tables, now, item)
        case Receive() | Settle() | Forget():
            return parcels.apply(tables, now, item)
        case _:
            assert_never(item)


def _start(tables: Tables, now: int, item: StartInstance) -> Outcome:
    new = item.new
    present = tables.by_id.get(new.id)
    if present is not None:
        settled = _meet(tables, present, item)
        if settled is not None:
            return settled
    if new.incarnation in tables.instances:
        return Refused(reason=Refusal.INCARNATION)
    if item.again and new.incarnation <= tables.highest_gone:
        return Refused(reason=Refusal.GONE)
    if present is not None:
        if item.cancel is not None and not present.closed:
            for child in tables.open_children(present.record.incarnation):
                tables.add_message(child, item.cancel, now)
        tables.remove_instance(present)
    row = tables.add_instance(new, now)
    tables.add_message(row, new.start, row.ready_at)
    return APPLIED


def _meet(tables: Tables, present: InstanceRow, item: StartInstance) -> Outcome | None:
    """What a start says to the instance that has its id; None: it replaces it."""
    if present.record.incarnation == item.new.incarnation:
        return APPLIED
    match item.on_conflict:
        case "use_existing":
            return Applied(existing=present.record)
        case "restart_if_closed" if present.closed:
            return None
        case "terminate_and_restart":
            if is_copy(present.record.status, present.record.held_because):
                return Refused(reason=Refusal.COMING)
            parent = _parent(tables, present)
            if present.closed or parent is None or parent.closed:
                return None
            return Refused(reason=Refusal.NOT_ROOT)
        case _:
            return Refused(reason=Refusal.EXISTS, existing=present.record)


def _parent(tables: Tables, row: InstanceRow) -> InstanceRow | None:
    """The parent, if there is one still."""
    parent = row.record.parent
    return None if parent is None else tables.instances.get(parent.incarnation)


def _deliver(tables: Tables, now: int, item: Deliver) -> Outcome:
    row = tables.by_id.get(item.to_id)
    if row is None or item.incarnation not in (None, row.record.incarnation):
        return Refused(reason=Refusal.NOT_FOUND)
    if item.dedup_key in row.dedup_keys:
        return APPLIED
    if row.closed:
        return Refused(reason=Refusal.CLOSED)
    if is_copy(row.record.status, row.record.held_because):
        return Refused(reason=Refusal.COMING)
    if item.if_held and row.record.status is not Status.HELD:
        return Refused(reason=Refusal.NOT_HELD)
    if item.dedup_key is not None:
        row.dedup_keys.add(item.dedup_key)
    tables.add_message(row, item.body, now, control=item.control)
    return APPLIED


def _delete(tables: Tables, item: Delete) -> Outcome:
    root = _named(tables, item)
    if root is None:
        return Refused(reason=Refusal.NOT_FOUND)
    if _parent(tables, root) is not None:
        return Refused(reason=Refusal.NOT_ROOT)
    tree = [root]
    for row in tree:
        tree += [tables.instances[child] for child in tables.children.get(row.record.incarnation, ())]
    if not item.force and not all(row.closed for row in tree):
        return Refused(reason=Refusal.NOT_CLOSED)
    for row in tree:
        tables.remove_instance(row)
    return Applied(count=len(tree))


def _named(tables: Tables, item: Delete | Prune) -> InstanceRow | None:
    """The instance that an item names, unless it means an earlier one of that id."""
    row = tables.by_id.get(item.id)
    return row if row is not None and item.incarnation in (None, row.record.incarnation) else None


def _prune(tables: Tables, item: Prune) -> Outcome:
    row = _named(tables, item)
    if row is None:
        return Refused(reason=Refusal.NOT_FOUND)
    past = [
        execution
        for execution, rows in row.history.items()
        if execution <= row.record.execution - max(item.keep, 1)
        and (item.before is None or max(each.at for each in rows) < item.before)
    ]
    for execution in past:
        del row.history[execution]
    return Applied(count=len(past))


def _turn(tables: Tables, now: int, worker: WorkerRow, turn: Turn) -> Outcome:
    refused = _not_ours(tables, worker, turn)
    if refused is not None:
        return refused
    if _incarnation_taken(tables, [*([turn.create] if turn.create else []), *(child.new for child in turn.starts)]):
        return Refused(reason=Refusal.INCARNATION)
    if not _continues(tables, turn):
        return Refused(reason=Refusal.STALE)
    number = worker.record.worker
    row = tables.add_instance(turn.create, now, owner=number) if turn.create else tables.instances[turn.incarnation]
    if turn.history is not None:
        row.history.setdefault(turn.execution, []).append(turn.history)
        row.record = replace(row.record, last_event=turn.history.last)
    for seq in turn.consumed:
        tables.remove_message(row, seq)
    for task in turn.tasks:
        tables.add_task(row, task, now, number)
    _drop_tasks(tables, row, turn.execution, turn.tasks_gone)
    for event in turn.tasks_stopped:
        tables.stop_task(row, turn.execution, event, now)
    for event, fire_at in turn.timers:
        tables.add_timer(row, event, fire_at)
    for event in turn.timers_gone:
        tables.remove_timer(row, event)
    row.keep(turn.entries, now)
    skipped = [*_start_children(tables, now, row, turn), *send(tables, now, turn.incarnation, turn.messages)]
    _change(tables, now, row, turn)
    return Applied(skipped=tuple(skipped)) if skipped else APPLIED


def _not_ours(tables: Tables, worker: WorkerRow, item: Turn | Hold | InstanceRelease) -> Refused | None:
    """Why the worker may not touch the instance (or not create it), if so."""
    create = None if isinstance(item, InstanceRelease) else item.create
    if create is not None:
        present = tables.by_id.get(create.id)
        return None if present is None else Refused(reason=Refusal.EXISTS, existing=present.record)
    if item.incarnation in worker.instances:
        return None
    return Refused(reason=Refusal.NOT_OWNER)


def _incarnation_taken(tables: Tables, news: Iterable[NewInstance]) -> bool:
    """Whether one of these, in order, would be created under another's incarnation; a taken id creates nothing."""
    ids: set[str] = set()
    incarnations: set[int] = set()
    for new in news:
        if new.id in tables.by_id or new.id in ids:
            continue
        if new.incarnation in tables.instances or new.incarnation in incarnations:
            return True
        ids.add(new.id)
        incarnations.add(new.incarnation)
    return False


def _continues(tables: Tables, turn: Turn) -> bool:
    """Whether the turn goes on where the stored history ends."""
    execution, last_event = 1, 0
    if turn.create is None:
        record = tables.instances[turn.incarnation].record
        if record.status is Status.SUSPENDED and turn.runs:
            return False
        execution, last_event = record.execution, record.last_event
    follows = turn.history is None or turn.history.first == turn.base + 1
    return follows and (turn.execution, turn.base) == (execution, last_event)


def _drop_tasks(tables: Tables, row: InstanceRow, execution: int, events: Iterable[int]) -> None:
    for event in events:
        task = row.tasks.get((execution, event))
        if task is not None:
            tables.remove_task(task)


def _start_children(tables: Tables, now: int, row: InstanceRow, turn: Turn) -> list[str]:
    """Create the children, in order; returns the detached ones whose id was taken."""
    skipped = []
    for child in turn.starts:
        if child.new.id not in tables.by_id:
            born = tables.add_instance(child.new, now)
            tables.add_message(born, child.new.start, born.ready_at)
        elif child.refused is not None:
            tables.add_message(row, child.refused, now)
        else:
            skipped.append(child.new.id)
    return skipped


def _change(tables: Tables, now: int, row: InstanceRow, turn: Turn) -> None:
    """The instance's own columns, then what its new status or execution brings with it."""
    change = turn.change or InstanceChange()
    if change.execution not in (None, turn.execution):
        tables.clear_execution(row)
    if turn.next_start is not None:
        # Whatever is sent from now on, by whatever clock, falls due behind the start.
        row.ready_at = max(now, row.ready_at)
        tables.add_first_message(row, turn.next_start, now)
    record = row.record
    status = change.status or (Status.RUNNING if record.status in (Status.PENDING, Status.HELD) else record.status)
    if change.execution not in (None, turn.execution):
        record = replace(record, execution=change.execution, last_event=0)
    row.record = replace(
        record,
        status=status,
        held_because=record.held_because if status is Status.SUSPENDED else None,
        deliveries=1,
        updated_at=max(now, record.updated_at, 0 if turn.history is None else turn.history.at),
        version=record.version if change.version is None and turn.next_start is None else change.version,
        min_reader=record.min_reader if change.min_reader is None else change.min_reader,
        output=record.output if change.output is None else change.output,
        error=record.error if change.error is None else change.error,
        custom_status=record.custom_status if change.custom_status is None else change.custom_status,
        custom_status_version=record.custom_status_version + change.custom_status_steps,
        cancel_requested=record.cancel_requested or change.cancel_requested,
    )
    if status.is_closed:
        tables.clear_instance(row)


def _hold(tables: Tables, now: int, worker: WorkerRow, hold: Hold) -> Outcome:
    refused = _not_ours(tables, worker, hold)
    if refused is not None:
        return refused
    if hold.create is None:
        row = tables.instances[hold.incarnation]
    elif _incarnation_taken(tables, [hold.create]):
        return Refused(reason=Refusal.INCARNATION)
    else:
        row = tables.add_instance(hold.create, now)
        tables.add_message(row, hold.create.start, row.ready_at)
    for seq in hold.consumed:
        tables.remove_message(row, seq)
    _drop_tasks(tables, row, hold.execution, hold.tasks_gone)
    for body in hold.messages:
        tables.add_message(row, body, now, execution=hold.execution)
    set_held(tables, now, row, hold.reason, worker.joined)
    return APPLIED


def set_held(tables: Tables, now: int, row: InstanceRow, reason: str, held_after: int) -> None:
    """Set an instance aside, without owner, for those that registered behind `held_after`."""
    tables.own_instance(row, None)
    updated_at = max(now, row.record.updated_at)
    row.record = replace(row.record, status=Status.HELD, held_because=reason, updated_at=updated_at)
    row.held_after = held_after


def _release_instance(tables: Tables, now: int, worker: WorkerRow, item: InstanceRelease) -> Outcome:
    refused = _not_ours(tables, worker, item)
    if refused is not None:
        return refused
    row = tables.instances[item.incarnation]
    tables.rest_instance(row, now + item.delay_us)
    return APPLIED


def _of_task(tables: Tables, now: int, worker: WorkerRow, item: TaskItem) -> Outcome:
    task = _owned_task(tables, worker, item)
    if task is None:
        return Refused(reason=Refusal.NOT_OWNER)
    number = worker.record.worker
    if not isinstance(item, TaskDone) and item.details is not None:
        task.details = item.details
    match item:
        case TaskDone():
            tables.remove_task(task)
            row = tables.instances[item.incarnation]
            tables.add_message(row, item.body, now, execution=item.execution)
        case TaskBeat():
            if item.began:
                task.began_at, task.start_by = now, None
        case TaskRetry():
            task.attempt = item.attempt
            task.began_at = None if item.began_at == task.began_at else task.began_at
            task.last_error = item.last_error
            tables.disown_task(task, number, due=now + item.delay_us, started=True)
            task.deliveries = min(task.deliveries, SUSPECT_DELIVERIES)
        case TaskRelease():
            tables.disown_task(task, number, due=now + item.delay_us, started=False)
            task.deliveries = min(task.deliveries, SUSPECT_DELIVERIES)
        case _:
            assert_never(item)
    return APPLIED


def _owned_task(tables: Tables, worker: WorkerRow, item: TaskItem) -> TaskRow | None:
    row = tables.instances.get(item.incarnation)
    task = None if row is None else row.tasks.get((item.execution, item.event))
    return task if task is not None and task.owner == worker.record.worker else None
