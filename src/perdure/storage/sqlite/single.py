"""Turns of a small batch, one by one: what a lone turn costs is its latency, and JSON for one row costs most of it.

Laws kept here: a turn is judged completely before anything of it is written, and everything that is not a plain turn in
good standing is left to `batches.py`, which knows all the rules; so this is only faster, never different.
"""

from collections.abc import Sequence
from typing import Any

from perdure._types import Status
from perdure._work import APPLIED, InstanceChange, Item, NewInstance, NewTask, Outcome, Turn
from perdure.storage.sqlite.changes import CLOSED
from perdure.storage.sqlite.statements import STATEMENTS
from perdure.storage.sqlite.transaction import Transaction

ITEMS_MAX = 4
"""Batches of more items go through `batches.py`: it takes one step of SQLite per kind of row, not per row."""

ROWS_MAX = 8
"""Turns with more rows of a kind too."""

_JUDGE = STATEMENTS["single_judge"]
_TAKEN = STATEMENTS["single_taken"]
_CREATE = STATEMENTS["single_create"]
_HISTORY = STATEMENTS["single_history"]
_TASK = STATEMENTS["single_task"]
_TASK_GONE = STATEMENTS["single_task_gone"]
_TIMER = STATEMENTS["single_timer"]
_TIMER_GONE = STATEMENTS["single_timer_gone"]
_CONSUME = STATEMENTS["single_consume"]
_CLOSE = STATEMENTS["single_close"]
_CLEAR = (
    STATEMENTS["single_clear_tasks"],
    STATEMENTS["single_clear_timers"],
    STATEMENTS["single_clear_messages"],
)
_NO_CHANGE = InstanceChange()


def apply_singly(transaction: Transaction, items: Sequence[Item]) -> list[Outcome]:
    """Apply items from the first on, while they are plain turns in good standing; one outcome for each applied."""
    outcomes: list[Outcome] = []
    if transaction.worker is None or len(items) > ITEMS_MAX:
        return outcomes
    for item in items:
        if not isinstance(item, Turn) or not _is_plain(item) or not _is_good(transaction, item):
            break
        _write(transaction, item)
        outcomes.append(APPLIED)
    return outcomes


def _is_plain(turn: Turn) -> bool:
    change = turn.change or _NO_CHANGE
    return (
        turn.history is not None
        and turn.history.first == turn.base + 1
        and not (turn.starts or turn.messages or turn.next_start is not None)
        and len(turn.tasks) <= ROWS_MAX
        and len(turn.tasks_gone) <= ROWS_MAX
        and len(turn.timers) <= ROWS_MAX
        and len(turn.timers_gone) <= ROWS_MAX
        and len(turn.consumed) <= ROWS_MAX
        and all(_is_plain_task(task) for task in turn.tasks)
        and change.execution is None
        and _is_plain_change(turn, change)
    )


def _is_plain_change(turn: Turn, change: InstanceChange) -> bool:
    """Creations that change nothing of note, ends of instances that are there, and turns that change nothing."""
    if turn.create is not None:
        return (
            change.status in (None, Status.RUNNING)
            and change.output is None
            and change.error is None
            and turn.create.parent is None
            and (turn.execution, turn.base) == (1, 0)
        )
    return turn.change is None or change.status in CLOSED


def _is_plain_task(task: NewTask) -> bool:
    return (
        task.priority == 0
        and task.tag is None
        and task.session is None
        and task.concurrency_key is None
        and task.schedule_to_start_us is None
        and task.total_timeout_us is None
        and task.on_unknown == "repeat"
    )


def _is_good(transaction: Transaction, turn: Turn) -> bool:
    """Whether no rule of the contract refuses the turn or does more than it says."""
    if turn.create is not None:
        return not transaction.execute(_TAKEN, (turn.create.id, turn.incarnation)).get
    found = transaction.execute(_JUDGE, (turn.incarnation,)).get
    return bool(found == (transaction.worker, turn.execution, Status.RUNNING, turn.base or None))


def _write(transaction: Transaction, turn: Turn) -> None:
    execute: Any = transaction.execute
    now, key = transaction.now, (turn.incarnation, turn.execution)
    change = turn.change or _NO_CHANGE
    if turn.create is not None:
        _create(transaction, turn.create, change)
    history = turn.history
    if history is not None:
        execute(
            _HISTORY,
            (*key, history.first, history.last, history.at, now, history.format, history.crc, history.encoding,
             history.data),
        )  # fmt: skip
    for seq in turn.consumed:
        execute(_CONSUME, (seq, turn.incarnation))
    if change.status in CLOSED:
        _close(transaction, turn.incarnation, change)
        return
    for task in turn.tasks:
        owner = transaction.worker if task.local else None
        execute(_TASK, (*key, task.event, owner, task.name, now, task.input, task.retry))
    for event in turn.tasks_gone:
        execute(_TASK_GONE, (*key, event))
    for event, fire_at in turn.timers:
        execute(_TIMER, (*key, event, fire_at))
    for event in turn.timers_gone:
        execute(_TIMER_GONE, (*key, event))


def _create(transaction: Transaction, new: NewInstance, change: InstanceChange) -> None:
    transaction.execute(
        _CREATE,
        (
            new.incarnation, new.id, new.name, change.version or new.version, transaction.worker, transaction.now,
            new.root, new.slot, change.cancel_requested, int(change.custom_status is not None), new.attributes,
            change.custom_status,
        ),
    )  # fmt: skip


def _close(transaction: Transaction, incarnation: int, change: InstanceChange) -> None:
    transaction.execute(
        _CLOSE,
        (
            incarnation, transaction.now, change.status, change.version, change.cancel_requested, change.output,
            change.error, change.custom_status,
        ),
    )  # fmt: skip
    for statement in _CLEAR:
        transaction.execute(statement, (incarnation,))
