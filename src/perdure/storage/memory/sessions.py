"""Which sessions a worker has, which it can have, and when it has them no more.

Laws kept here: a session is one worker's, from its first task on until that worker is gone, has not used it for a
while, or needs the room for another; and no worker has more than it wants.
"""

from collections.abc import Iterable, Iterator

from perdure.storage.base import SESSIONS_SEEN_MAX, USE_SHARE
from perdure.storage.memory.lanes import free_places, is_expired, may_take
from perdure.storage.memory.rows import Tables, TaskRow, WorkerRow


def open_sessions(tables: Tables, now: int, worker: WorkerRow) -> frozenset[str]:
    """The sessions of which the worker may take tasks: those that it has, and those that it can have."""
    waiting = list(_waiting(tables, now, worker))
    room = worker.record.serves.sessions - len(_needed(worker, waiting))
    found: dict[str, None] = {}
    for task in sorted(_first_of_nobody(tables, waiting), key=lambda task: task.rank):
        if len(found) < room:
            found[str(task.new.session)] = None
    return frozenset(worker.sessions) | found.keys()


def give_up(tables: Tables, now: int, worker: WorkerRow) -> None:
    """Free what the worker has beyond its number and does not need."""
    beyond = len(worker.sessions) - worker.record.serves.sessions
    if beyond <= 0:
        return
    needed = _needed(worker, _waiting(tables, now, worker))
    rest = sorted((used_at, session) for session, used_at in worker.sessions.items() if session not in needed)
    for _, session in rest[:beyond]:
        del worker.sessions[session]


def look_after(tables: Tables, now: int, caller: WorkerRow) -> int:
    """Say which sessions of the caller are in use, and free those that nobody used any more; how many they were."""
    freed = 0
    for worker in tables.workers.values():
        if not worker.sessions:
            continue
        idle_us, running = worker.record.serves.session_idle_us, _running(worker)
        for session, used_at in list(worker.sessions.items()):
            if session not in running and used_at + idle_us <= now:
                del worker.sessions[session]
                freed += 1
            elif session in running and worker is caller and used_at + idle_us // USE_SHARE <= now:
                worker.sessions[session] = now
    return freed


def _needed(worker: WorkerRow, waiting: Iterable[TaskRow]) -> set[str]:
    """The sessions of the worker of which it runs a task, or of which one waits that it may take."""
    if not worker.sessions:
        return set()
    return worker.sessions.keys() & (_running(worker) | {task.new.session for task in waiting})


def _running(worker: WorkerRow) -> set[str | None]:
    return {task.new.session for task in worker.tasks.values()}


def _waiting(tables: Tables, now: int, worker: WorkerRow) -> Iterator[TaskRow]:
    """The tasks with a session that wait for this worker's activities and tags, and for no place of a full limit."""
    for task in tables.line.laned.values():
        if task.new.session is None or task.due > now or is_expired(task, now) or not may_take(tables, worker, task):
            continue
        if task.new.limit is None or free_places(tables, task.new.limit.key, now):
            yield task


def _first_of_nobody(tables: Tables, waiting: Iterable[TaskRow]) -> Iterator[TaskRow]:
    """The first tasks that wait of sessions which nobody has, tag by tag and limit by limit."""
    taken = {session for each in tables.workers.values() for session in each.sessions}
    by_lane: dict[tuple[str | None, str | None], list[TaskRow]] = {}
    for task in waiting:
        key = None if task.new.limit is None else task.new.limit.key
        if task.new.session not in taken:
            by_lane.setdefault((task.new.tag, key), []).append(task)
    for tasks in by_lane.values():
        yield from sorted(tasks, key=lambda task: task.rank)[:SESSIONS_SEEN_MAX]
