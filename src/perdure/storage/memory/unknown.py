"""What waits for code that no live worker has is held, in sight, instead of waiting for ever.

Laws kept here: whoever has a row lives, because the dead were buried just before; a task is left where it is, for a
worker that can run it.
"""

from itertools import takewhile

from perdure._types import Status
from perdure.storage.base import UNKNOWN_GRACE_US, unknown_activity_reason, unknown_reason
from perdure.storage.memory.items import set_held
from perdure.storage.memory.rows import Tables, TaskRow


def hold_unknown(tables: Tables, now: int) -> tuple[tuple[str, str], ...]:
    """Hold what has waited too long for a worker that has its code: ids and reasons, in order of the ids."""
    reasons = _unknown_activities(tables, now) | _unknown_orchestrations(tables, now)
    if not reasons:
        return ()
    for incarnation, reason in reasons.items():
        set_held(tables, now, tables.instances[incarnation], reason, tables.joined)
    return tuple(sorted((tables.instances[incarnation].record.id, reason) for incarnation, reason in reasons.items()))


def _unknown_orchestrations(tables: Tables, now: int) -> dict[int, str]:
    """Why to hold instances that nobody can run, by incarnation."""
    if not tables.agenda or tables.agenda[0][0] > now - UNKNOWN_GRACE_US:
        return {}
    workers = tables.workers.values()
    overdue = takewhile(lambda entry: entry[0] <= now - UNKNOWN_GRACE_US, tables.agenda)
    waiting = {incarnation for _, incarnation, _, _ in overdue}
    unknown = {
        incarnation: (record.name, record.version)
        for incarnation in waiting
        if (record := tables.instances[incarnation].record).owner is None
        and _may_be_held(tables, incarnation)
        and not any(worker.knows(record) for worker in workers)
    }
    if not unknown:
        return {}
    known = [each for worker in workers for each in worker.record.orchestrations]
    reasons = {wanted: unknown_reason(*wanted, known) for wanted in set(unknown.values())}
    return {incarnation: reasons[wanted] for incarnation, wanted in unknown.items()}


def _unknown_activities(tables: Tables, now: int) -> dict[int, str]:
    """Why to hold instances that wait for an activity that nobody can run, by incarnation."""
    if not tables.line.tasks and not tables.line.laned:
        return {}
    line = tables.line
    overdue = [
        task for task in [*line.tasks.values(), *line.laned.values()] if task.new.permit is None and _waits(task, now)
    ]
    if not overdue:
        return {}
    known = frozenset[str]().union(*(worker.activities for worker in tables.workers.values()))
    waiting = [task for task in overdue if task.new.name not in known]
    unknown: dict[int, str] = {}
    for task in sorted(waiting, key=lambda task: (task.due, task.new.event)):
        if _may_be_held(tables, task.incarnation):
            unknown.setdefault(task.incarnation, task.new.name)
    reasons = {name: unknown_activity_reason(name, known) for name in set(unknown.values())}
    return {incarnation: reasons[name] for incarnation, name in unknown.items()}


def _waits(task: TaskRow, now: int) -> bool:
    """Whether the task is overdue, and neither has a time to start in nor is so late that any worker may take it."""
    if task.due > now - UNKNOWN_GRACE_US or task.start_by is not None:
        return False
    return task.deadline is None or task.deadline > now


def _may_be_held(tables: Tables, incarnation: int) -> bool:
    return tables.instances[incarnation].record.status in (Status.PENDING, Status.RUNNING)
