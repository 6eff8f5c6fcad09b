"""What waits for a place of a limit, or for a worker with a tag or a session, and who may take it.

Laws kept here: no key has more tasks with an owner than its concurrency, and no more begin within its span of time than
its rate, by the numbers that were declared last; who came first is first.
"""

from collections.abc import Iterator
from itertools import islice

from perdure._events import KeyLimit
from perdure._types import Status
from perdure.storage.memory.rows import Rank, Tables, TaskRow, WorkerRow


def admitted(tables: Tables, now: int, worker: WorkerRow, sessions: frozenset[str]) -> list[TaskRow]:
    """The laned tasks that the worker may take now, also of these sessions: of each key as many as have a place."""
    found: list[TaskRow] = []
    by_key: dict[str | None, list[tuple[Rank, TaskRow]]] = {}
    for rank, task in tables.line.laned.items():
        is_open = task.new.session is None or task.new.session in sessions
        if is_open and task.due <= now and not is_expired(task, now) and may_take(tables, worker, task):
            by_key.setdefault(None if task.new.limit is None else task.new.limit.key, []).append((rank, task))
    for key, waiting in by_key.items():
        waiting.sort()
        found += [task for _, task in islice(waiting, None if key is None else free_places(tables, key, now))]
    return found


def expired(tables: Tables, now: int) -> list[TaskRow]:
    """The laned tasks that are too late, which anybody may take."""
    return [task for task in tables.line.laned.values() if is_expired(task, now)]


def is_expired(task: TaskRow, now: int) -> bool:
    """Whether it is too late."""
    start_by, deadline = task.start_by, task.deadline
    return (deadline is not None and deadline <= now) or (start_by is not None and start_by <= now)


def may_take(tables: Tables, worker: WorkerRow, task: TaskRow) -> bool:
    """Whether the task is for this worker; a place that an instance is to hold is given by any, while that can run."""
    if task.new.permit is not None:
        return tables.instances[task.incarnation].record.status is Status.RUNNING
    return task.new.name in worker.activities and worker.record.serves.takes(task.new.tag)


def in_force(tables: Tables, key: str) -> KeyLimit:
    """The limit as it was declared last, by what there is still of it."""
    last = max(tables.limited[key].values(), key=_declared)
    assert last.new.limit is not None  # noqa: S101 - it is among those that have one
    return last.new.limit


def _declared(task: TaskRow) -> tuple[int, int, int, int]:
    return task.scheduled_at, task.incarnation, task.execution, task.new.event


def free_places(tables: Tables, key: str, now: int) -> int:
    """How many of a key may begin now."""
    limit = in_force(tables, key)
    free = len(tables.limited[key])
    if limit.concurrency is not None:
        free = min(free, limit.concurrency - running(tables, key))
    if limit.rate is not None:
        begun = sum(many for at, (many, _) in tables.starts.get(key, {}).items() if at > now - limit.per_us)
        free = min(free, limit.rate - begun)
    return max(free, 0)


def running(tables: Tables, key: str) -> int:
    """How many of a key have a place."""
    return sum(task.owner is not None and not task.is_late for task in tables.limited[key].values())


def opens_at(tables: Tables, key: str) -> int | None:
    """From when on a key has a place for whoever waits, if nothing else changes; None: time alone brings none."""
    limit = in_force(tables, key)
    if limit.concurrency is not None and running(tables, key) >= limit.concurrency:
        return None
    if limit.rate is None:
        return 0
    begun = 0
    for at, (many, _) in sorted(tables.starts.get(key, {}).items(), reverse=True):
        begun += many
        if begun >= limit.rate:
            return at + limit.per_us
    return 0


def next_laned(tables: Tables, now: int) -> Iterator[int]:
    """The later moments at which laned tasks may become claimable, whoever for: they are looked at again then."""
    for task in tables.line.laned.values():
        yield from (moment for moment in (task.due, min(task.deadlines, default=now)) if moment > now)
        opens = None if task.new.limit is None else opens_at(tables, task.new.limit.key)
        if opens is not None and opens > now:
            yield opens
