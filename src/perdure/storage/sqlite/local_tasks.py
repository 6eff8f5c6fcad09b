"""The local task of an instance, which needs no row of its own: see `tasks` in the schema.

Laws kept here: its owner is the instance's, and nobody looks for it among the tasks; so it gets a row there before
anything befalls it but the end that its owner's next turn takes in, or the end of its execution.
"""

from collections.abc import Iterable

from perdure._work import Item, NewTask, TaskBeat, TaskDone, TaskRelease, TaskRetry, Turn
from perdure.storage.lanes import is_plain
from perdure.storage.sqlite.rows import encode_rows
from perdure.storage.sqlite.statements import STATEMENTS
from perdure.storage.sqlite.transaction import Transaction

_MOVE = STATEMENTS["move_local_tasks"]


def expected(turn: Turn) -> int | None:
    """The local task that a turn finds most of the time: the one whose outcome it takes in, if it is one."""
    gone = turn.tasks_gone
    return gone[0] if len(gone) == 1 and turn.create is None else None


def new_local_task(turn: Turn, local: int | None) -> NewTask | None:
    """The task of a turn that becomes the local one of its instance, in which there is `local` until now."""
    tasks, gone = turn.tasks, turn.tasks_gone
    if len(tasks) != 1 or not (local is None or local in gone):
        return None
    task = tasks[0]
    return task if task.local and task.event not in gone and not turn.tasks_stopped and is_plain(task) else None


def move(transaction: Transaction, incarnations: set[int]) -> None:
    """Give the local tasks of these instances rows of their own."""
    transaction.execute(_MOVE, (encode_rows(sorted(incarnations)),))


def concerned(items: Iterable[Item]) -> set[int]:
    """The instances whose tasks are the subject of items, other than by an outcome that a turn takes in."""
    return {
        item.incarnation
        for item in items
        if isinstance(item, TaskDone | TaskBeat | TaskRetry | TaskRelease)
        or (isinstance(item, Turn) and item.tasks_stopped)
    }
