"""What a worker may take, in which order, and when there will be more.

Laws kept here: nobody takes what another owns; an instance goes only to a worker that has its code, unless a control
message waits for it, which needs none; a copy goes to nobody.
"""

from bisect import bisect_left
from collections.abc import Iterator
from itertools import islice, takewhile

from perdure._types import Status
from perdure._work import Claim, ClaimedInstance, ClaimedMessage, ClaimedTask, TimerDue, Work, is_copy
from perdure.storage.base import MESSAGES_MAX
from perdure.storage.memory.lanes import admitted, expired, in_force, is_expired, next_laned
from perdure.storage.memory.rows import InstanceRow, Tables, TaskRow, WorkerRow
from perdure.storage.memory.sessions import give_up, open_sessions


def take(tables: Tables, now: int, worker: WorkerRow, claim: Claim) -> Work:
    """Give the worker what it may take, up to the limits."""
    line = tables.line
    line.advance(now)
    number = worker.record.worker
    laned = _laned(tables, now, worker) if line.laned else []
    rows: list[InstanceRow] = []
    if tables.agenda and tables.agenda[0][0] <= now:
        rows += islice(_claimable_instances(tables, now, worker), claim.instances_max + 1)
    tasks = laned
    if line.ready:
        plain = islice(_claimable_tasks(tables, now, worker), claim.tasks_max + 1)
        tasks = sorted([*plain, *laned], key=lambda task: task.rank)
    more = len(rows) > claim.instances_max or len(tasks) > claim.tasks_max
    instances = []
    for row in rows[: claim.instances_max]:
        # Asked before it is owned, which ends a rest.
        runs = _may_run(worker, row, now)
        tables.own_instance(row, number)
        messages = _due_messages(row, now) if runs else _due_control(row, now)
        more = more or len(messages) > MESSAGES_MAX
        brought = tuple(messages[:MESSAGES_MAX])
        instances.append(ClaimedInstance(record=row.record, messages=brought, for_control=not runs))
    for task in tasks[: claim.tasks_max]:
        _own_task(tables, task, now, worker)
    if worker.sessions:
        give_up(tables, now, worker)
    return Work(
        now=now,
        instances=tuple(instances),
        tasks=tuple([_claimed(tables, task) for task in tasks[: claim.tasks_max]]),
        next_due=_next_due(tables, now, worker),
        more=more,
    )


def _laned(tables: Tables, now: int, worker: WorkerRow) -> list[TaskRow]:
    """The laned tasks that the worker may take, in order."""
    tasks = _take_places(tables, now, admitted(tables, now, worker, open_sessions(tables, now, worker)))
    return sorted([*tasks, *expired(tables, now)], key=lambda task: task.rank)


def _take_places(tables: Tables, now: int, tasks: list[TaskRow]) -> list[TaskRow]:
    """Give places to the instances that are to hold them; returns the tasks that are for a worker."""
    for task in sorted(tasks, key=lambda task: task.rank):
        if task.new.permit is not None:
            _count_start(tables, task, now)
            tables.give_place(task, now)
    return [task for task in tasks if task.new.permit is None]


def _own_task(tables: Tables, task: TaskRow, now: int, worker: WorkerRow) -> None:
    """Give a task to a worker; what is too late does not run, so it needs no place and no session."""
    if is_expired(task, now):
        tables.own_task(task, worker.record.worker)
        task.is_late = True
    else:
        _count_start(tables, task, now)
        tables.own_task(task, worker.record.worker)
        if task.new.session is not None:
            worker.sessions[task.new.session] = now


def _count_start(tables: Tables, task: TaskRow, now: int) -> None:
    if task.new.limit is not None:
        limit = in_force(tables, task.new.limit.key)
        if limit.rate is not None:
            tables.begin(limit.key, 1, now, now + limit.per_us)


def _claimable_instances(tables: Tables, now: int, worker: WorkerRow) -> Iterator[InstanceRow]:
    """The instances that the worker may take, in order of their earliest due row, then of incarnation."""
    seen = set()
    for due, incarnation, _, _ in tables.agenda:
        if due > now:
            return
        if incarnation not in seen:
            seen.add(incarnation)
            row = tables.instances[incarnation]
            if _may_own(worker, row) and (_may_run(worker, row, now) or (_due_control(row, now) and not _is_copy(row))):
                yield row


def _may_own(worker: WorkerRow, row: InstanceRow) -> bool:
    return row.record.owner in (None, worker.record.worker)


def _is_copy(row: InstanceRow) -> bool:
    return is_copy(row.record.status, row.record.held_because)


def _may_run(worker: WorkerRow, row: InstanceRow, now: int) -> bool:
    return _suits(worker, row) and row.rests_until(worker.record.worker) <= now


def _suits(worker: WorkerRow, row: InstanceRow) -> bool:
    """Whether the worker can run the instance; what was held while it was there already, it has failed at."""
    match row.record.status:
        case Status.PENDING | Status.RUNNING:
            return worker.knows(row.record)
        case Status.HELD:
            return row.held_after < worker.joined and worker.knows(row.record)
        case _:
            return False


def _due_control(row: InstanceRow, now: int) -> list[ClaimedMessage]:
    """The control messages that are due, in order, and one more than a claim may bring if there is."""
    due = takewhile(lambda entry: entry[0] <= now, row.waiting)
    control = (entry for entry in due if entry[1] in row.messages and row.messages[entry[1]].control)
    return [_claimed_message(row, *entry) for entry in islice(control, MESSAGES_MAX + 1)]


def _due_messages(row: InstanceRow, now: int) -> list[ClaimedMessage]:
    """What is due, in order, and one more than a claim may bring if there is."""
    due = takewhile(lambda entry: entry[0] <= now, row.waiting)
    return [_claimed_message(row, *entry) for entry in islice(due, MESSAGES_MAX + 1)]


def _claimed_message(row: InstanceRow, due: int, seq: int, event: int) -> ClaimedMessage:
    if seq:
        return ClaimedMessage(seq=seq, body=row.messages[seq].body)
    return ClaimedMessage(seq=0, timer=TimerDue(execution=row.record.execution, source=event, fire_at=due))


def _claimable_tasks(tables: Tables, now: int, worker: WorkerRow) -> Iterator[TaskRow]:
    """The tasks of the line that the worker may take."""
    if not worker.record.serves.untagged:
        yield from (task for rank in tables.line.ready if is_expired(task := tables.line.tasks[rank], now))
        return
    for rank in tables.line.ready:
        task = tables.line.tasks[rank]
        moment = task.claimable_from(worker.activities)
        if moment is not None and moment <= now:
            yield task


def _claimed(tables: Tables, task: TaskRow) -> ClaimedTask:
    record = tables.instances[task.incarnation].record
    return ClaimedTask(
        incarnation=task.incarnation,
        instance_id=record.id,
        orchestration_name=record.name,
        orchestration_version=record.version or "",
        execution=task.execution,
        event=task.new.event,
        name=task.new.name,
        input=task.new.input,
        scheduled_at=task.scheduled_at,
        attempt=task.attempt,
        deliveries=task.deliveries,
        retry=task.new.retry,
        tag=task.new.tag,
        session=task.new.session,
        priority=task.new.priority,
        deadline=task.deadline,
        start_by=task.start_by,
        last_error=task.last_error,
        details=task.details,
        is_limited=task.new.limit is not None and not task.is_late,
        stopped=task.stopped,
        began=task.began_at is not None,
    )


def _next_due(tables: Tables, now: int, worker: WorkerRow) -> int | None:
    """The earliest moment at which there will be more."""
    moments: list[int] = []
    if tables.agenda:
        moments += _next_row(tables, now, worker)
    if tables.line.moments:
        moments += _next_task(tables, worker)
    if tables.line.laned:
        moments += next_laned(tables, now)
    return min(moments, default=None)


def _next_row(tables: Tables, now: int, worker: WorkerRow) -> Iterator[int]:
    """The moments at which messages and timers become claimable, of which the earliest is among the yielded."""
    earliest = None
    for due, incarnation, seq, _ in _later(tables, now):
        if earliest is not None and due >= earliest:
            return
        row = tables.instances[incarnation]
        if not _may_own(worker, row):
            continue
        if seq and row.messages[seq].control and not _is_copy(row):
            moment = due
        elif _suits(worker, row):
            moment = max(due, row.rests_until(worker.record.worker))
        else:
            continue
        if moment > now:
            earliest = moment if earliest is None else min(earliest, moment)
            yield earliest


def _later(tables: Tables, now: int) -> Iterator[tuple[int, int, int, int]]:
    """What on the agenda may be for later: what rests with its instance, then what is not yet due."""
    for incarnation, row in tables.resting.items():
        for due, seq, event in takewhile(lambda entry: entry[0] <= now, row.waiting):
            yield due, incarnation, seq, event
    for place in range(bisect_left(tables.agenda, (now + 1,)), len(tables.agenda)):
        yield tables.agenda[place]


def _next_task(tables: Tables, worker: WorkerRow) -> Iterator[int]:
    """The earliest moment at which a task becomes claimable, if one will."""
    activities = worker.activities if worker.record.serves.untagged else frozenset[str]()
    for moment, rank in tables.line.moments:
        claimable = tables.line.tasks[rank].claimable_from(activities)
        if claimable == moment:
            yield moment
            return
