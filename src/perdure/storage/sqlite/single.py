"""Turns of a small batch, one by one: what a lone turn costs is its latency, and JSON for one row costs most of it.

Laws kept here: a turn is judged completely before anything of it is written, or by the statement that writes its row,
and everything that is not a plain turn in good standing is left to `batches.py`, which knows all the rules; so this is
only faster, never different.
"""

from collections.abc import Sequence
from typing import Any

import apsw

from perdure._types import Status
from perdure._work import APPLIED, Batch, HistoryRow, InstanceChange, Item, NewInstance, NewTask, Outcome, Turn
from perdure.storage.lanes import is_plain
from perdure.storage.sqlite.changes import CLOSED
from perdure.storage.sqlite.local_tasks import new_local_task
from perdure.storage.sqlite.statements import STATEMENTS
from perdure.storage.sqlite.steps import says_no_more
from perdure.storage.sqlite.transaction import Transaction

ITEMS_MAX = 4
"""Batches of more items go through `batches.py`: it takes one step of SQLite per kind of row, not per row."""

ROWS_MAX = 8
"""Turns with more rows of a kind too."""

_JUDGE = STATEMENTS["single_judge"]
_JUDGE_END = STATEMENTS["single_judge_end"]
_CREATE = STATEMENTS["single_create"]
_GO_ON = STATEMENTS["single_go_on"]
_GO_ON_BESIDE = STATEMENTS["single_go_on_beside"]
_HISTORY = STATEMENTS["single_history"]
_TASK = STATEMENTS["single_task"]
_TASK_GONE = STATEMENTS["single_task_gone"]
_TIMER = STATEMENTS["single_timer"]
_TIMER_GONE = STATEMENTS["single_timer_gone"]
_CONSUME = STATEMENTS["single_consume"]
_CLOSE = STATEMENTS["single_close"]
_COMPLETE = STATEMENTS["single_complete"]
_CLEAR = tuple(STATEMENTS[name] for name in ("single_clear_tasks", "single_clear_timers", "single_clear_messages"))
_NO_CHANGE = InstanceChange()


def apply_singly(transaction: Transaction, items: Sequence[Item]) -> list[Outcome]:
    """Apply items from the first on, while they are plain turns in good standing; one outcome for each applied."""
    outcomes: list[Outcome] = []
    if transaction.worker is None or len(items) > ITEMS_MAX:
        return outcomes
    for item in items:
        if not isinstance(item, Turn) or not _apply(transaction, item):
            break
        outcomes.append(APPLIED)
    return outcomes


def apply_alone(transaction: Transaction, batch: Batch) -> Turn | None:
    """Apply the turn that is all there is in a batch, if it is a plain one in good standing; that turn, or None.

    Nobody need have looked whether the worker is there: who was buried owns no instance, and begins none.
    """
    if transaction.worker is None or batch.claim is not None or len(batch.items) != 1:
        return None
    [turn] = batch.items
    return turn if isinstance(turn, Turn) and _apply(transaction, turn) else None


def _apply(transaction: Transaction, turn: Turn) -> bool:
    if turn.history is not None and turn.history.at > transaction.now:
        return False
    return _complete(transaction, turn) or (_is_plain(turn) and _judge_and_write(transaction, turn))


def _complete(transaction: Transaction, turn: Turn) -> bool:
    """Apply the end of an instance of one activity at a time, if that is as expected: nothing has to be looked at."""
    row, change, gone = turn.history, turn.change, turn.tasks_gone
    connection = transaction.connection
    if (
        connection is None
        or row is None
        or row.first != turn.base + 1
        or change is None
        or change.status is not Status.COMPLETED
        or change.version is not None
        or not says_no_more(change)
        or len(gone) != 1
        or turn.create is not None
        or turn.tasks
        or turn.timers
        or turn.timers_gone
        or turn.tasks_stopped
        or turn.consumed
        or turn.starts
        or turn.messages
        or turn.entries
        or turn.next_start is not None
    ):
        return False
    expected = (transaction.worker, turn.execution, turn.base, gone[0])
    transaction.execute(_COMPLETE, (turn.incarnation, transaction.now, row.last, change.output, *expected))
    if connection.changes() == 0:
        return False
    _append(transaction, turn, row)
    return True


def _judge_and_write(transaction: Transaction, turn: Turn) -> bool:
    found = _judge(transaction, turn)
    return found is not None and _write(transaction, turn, *found)


def _is_plain(turn: Turn) -> bool:
    change = turn.change or _NO_CHANGE
    return (
        turn.history is not None
        and turn.history.first == turn.base + 1
        and not (turn.starts or turn.messages or turn.tasks_stopped or turn.entries or turn.next_start is not None)
        and len(turn.tasks) <= ROWS_MAX
        and len(turn.tasks_gone) <= ROWS_MAX
        and len(turn.timers) <= ROWS_MAX
        and len(turn.timers_gone) <= ROWS_MAX
        and len(turn.consumed) <= ROWS_MAX
        and all(map(is_plain, turn.tasks))
        and change.execution is None
        and change.min_reader is None
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


def _judge(transaction: Transaction, turn: Turn) -> tuple[int | None, bool] | None:
    """The local task, and whether something waits for what ends; None when the turn is not for here."""
    if turn.create is not None:
        # Whether its id is taken, the row itself shows.
        return None, False
    good = (transaction.worker, turn.execution, Status.RUNNING, turn.base)
    if turn.change is None:
        *found, local = transaction.execute(_JUDGE, (turn.incarnation,)).get or (None,)
        return (local, False) if tuple(found) == good else None
    *found, local, waits = transaction.execute(_JUDGE_END, (turn.incarnation,)).get or (None, None)
    return (local, bool(waits)) if tuple(found) == good else None


def _write(transaction: Transaction, turn: Turn, local: int | None, waits: bool) -> bool:  # noqa: FBT001 - private
    """Write the turn; False, and nothing is written, if its instance can't be created."""
    execute: Any = transaction.execute
    key, history, change = (turn.incarnation, turn.execution), turn.history, turn.change or _NO_CHANGE
    last = turn.base if history is None else history.last
    closes = change.status in CLOSED
    new = None if closes else new_local_task(turn, local)
    if turn.create is not None and not _create(transaction, turn.create, change, (last, *_columns(new))):
        return False
    if history is not None:
        _append(transaction, turn, history)
    for seq in turn.consumed:
        execute(_CONSUME, (seq, turn.incarnation))
    if closes:
        _close(transaction, turn.incarnation, change, last, waits=waits)
        return True
    _go_on(transaction, turn, last, local, new)
    for event, fire_at in turn.timers:
        execute(_TIMER, (*key, event, fire_at))
    for event in turn.timers_gone:
        execute(_TIMER_GONE, (*key, event))
    return True


def _append(transaction: Transaction, turn: Turn, row: HistoryRow) -> None:
    transaction.execute(
        _HISTORY,
        (
            turn.incarnation, turn.execution, row.first, row.last, row.at, row.format, row.crc, row.encoding, row.data,
        ),
    )  # fmt: skip


def _columns(task: NewTask | None) -> tuple[object, ...]:
    """What a local task has in the row of its instance."""
    return (None, None, None, None) if task is None else (task.event, task.name, task.retry, task.input)


def _go_on(transaction: Transaction, turn: Turn, last: int, local: int | None, new: NewTask | None) -> None:
    """How far the turn brings an instance that is there, and its tasks."""
    execute: Any = transaction.execute
    key = (turn.incarnation, turn.execution)
    if turn.create is not None:
        pass  # the row was made so
    elif local is None or local in turn.tasks_gone:
        execute(_GO_ON, (turn.incarnation, transaction.now, last, *_columns(new)))
    else:
        execute(_GO_ON_BESIDE, (turn.incarnation, transaction.now, last))
    if new is None:
        for each in turn.tasks:
            owner = transaction.worker if each.local else None
            execute(_TASK, (*key, each.event, owner, each.name, transaction.now, each.input, each.retry))
    for event in turn.tasks_gone:
        if event != local:
            execute(_TASK_GONE, (*key, event))


def _create(transaction: Transaction, new: NewInstance, change: InstanceChange, progress: tuple[object, ...]) -> bool:
    """Make the row of an instance; False if another has its id or incarnation, or its worker was buried."""
    try:
        transaction.execute(
            _CREATE,
            (
                new.incarnation, new.id, new.name, change.version or new.version, transaction.worker, transaction.now,
                new.root, new.slot, change.cancel_requested, change.custom_status_steps, new.attributes,
                change.custom_status, *progress,
            ),
        )  # fmt: skip
    except apsw.ConstraintError:
        return False
    return True


def _close(transaction: Transaction, incarnation: int, change: InstanceChange, last_event: int, *, waits: bool) -> None:
    transaction.execute(
        _CLOSE,
        (
            incarnation, transaction.now, change.status, change.version, change.cancel_requested, change.output,
            change.error, change.custom_status, change.custom_status_steps, last_event,
        ),
    )  # fmt: skip
    if waits:
        for statement in _CLEAR:
            transaction.execute(statement, (incarnation,))
