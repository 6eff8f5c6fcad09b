"""Turns that take the outcome of an activity and ask for the next: a busy worker commits hardly anything else.

Law kept here: a turn passes by what `items.py` judges, and one that does not, or whose instance another item of the
segment names too, goes the way of all others; so this is only faster, never different.
"""

from typing import Any

from perdure._types import Status
from perdure._work import Turn
from perdure.storage.lanes import is_plain

_RUNNING = Status.RUNNING.value


def is_step(turn: Turn) -> bool:
    """Whether a turn does no more than that."""
    history = turn.history
    return (
        turn.change is None
        and turn.create is None
        and history is not None
        and history.first == turn.base + 1
        and len(turn.tasks) == len(turn.tasks_gone) == 1
        and turn.tasks[0].event != turn.tasks_gone[0]
        and is_plain(turn.tasks[0])
        and not (
            turn.consumed
            or turn.timers
            or turn.timers_gone
            or turn.starts
            or turn.messages
            or turn.entries
            or turn.tasks_stopped
        )
        and turn.next_start is None
    )


def goes_on(turn: Turn, columns: tuple[Any, ...], worker: int | None) -> bool:
    """Whether such a turn changes nothing of its instance's row, which the statement `lock_instances` has found."""
    status, owner, execution, deliveries = columns[2], columns[3], columns[4], columns[14]
    return bool(status == _RUNNING and owner == worker and execution == turn.execution and deliveries == 1)
