"""Turns of a small batch, one by one: what a lone turn costs is its latency, and JSON for one row costs most of it.

Laws kept here: a turn is judged completely before anything of it is written, and everything that is not a plain turn in
good standing is left to `batches.py`, which knows all the rules; so this is only faster, never different.
"""

from collections.abc import Sequence
from typing import Any

from perdure._types import Status
from perdure._work import APPLIED, InstanceChange, Item, NewInstance, Outcome, Turn
from perdure.storage.sqlite.changes import CLOSED
from perdure.storage.sqlite.local_tasks import is_plain, new_local_task
from perdure.storage.sqlite.statements import STATEMENTS
from perdure.storage.sqlite.transaction import Transaction

ITEMS_MAX = 4
"""Batches of more items go through `batches.py`: it takes one step of SQLite per kind of row, not per row."""

ROWS_MAX = 8
"""Turns with more rows of a kind too."""

_JUDGE = STATEMENTS["single_judge"]
_JUDGE_END = STATEMENTS["single_judge_end"]
_TAKEN = STATEMENTS["single_taken"]
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
_CLEAR = tuple(STATEMENTS[name] for name in ("single_clear_tasks", "single_clear_timers", "single_clear_messages"))
_NO_CHANGE = InstanceChange()


def apply_singly(transaction: Transaction, items: Sequence[Item]) -> list[Outcome]:
    """Apply items from the first on, while they are plain turns in good standing; one outcome for each applied."""
    outcomes: list[Outcome] = []
    if transaction.worker is None or len(items) > ITEMS_MAX:
        return outcomes
    for item in items:
        if not isinstance(item, Turn) or not _is_plain(item):
            break
        found = _judge(transaction, item)
        if found is None:
            break
        _write(transaction, item, *found)
        outcomes.append(APPLIED)
    return outcomes


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
        and all(is_plain(task) for task in turn.tasks)
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
        return None if transaction.execute(_TAKEN, (turn.create.id, turn.incarnation)).get else (None, False)
    good = (transaction.worker, turn.execution, Status.RUNNING, turn.base)
    if turn.change is None:
        *found, local = transaction.execute(_JUDGE, (turn.incarnation,)).get or (None,)
        return (local, False) if tuple(found) == good else None
    *found, local, waits = transaction.execute(_JUDGE_END, (turn.incarnation,)).get or (None, None)
    return (local, bool(waits)) if tuple(found) == good else None


def _write(transaction: Transaction, turn: Turn, local: int | None, waits: bool) -> None:  # noqa: FBT001 - private
    execute: Any = transaction.execute
    key, history, change = (turn.incarnation, turn.execution), turn.history, turn.change or _NO_CHANGE
    last = turn.base
    if history is not None:
        last = history.last
        execute(
            _HISTORY,
            (*key, history.first, last, history.at, history.format, history.crc, history.encoding, history.data),
        )
    for seq in turn.consumed:
        execute(_CONSUME, (seq, turn.incarnation))
    if change.status in CLOSED:
        _close(transaction, turn.incarnation, change, last, waits=waits)
        return
    _go_on(transaction, turn, change, last, local)
    for event, fire_at in turn.timers:
        execute(_TIMER, (*key, event, fire_at))
    for event in turn.timers_gone:
        execute(_TIMER_GONE, (*key, event))


def _go_on(transaction: Transaction, turn: Turn, change: InstanceChange, last: int, local: int | None) -> None:
    """How far the turn brings its instance, and its tasks."""
    execute: Any = transaction.execute
    key = (turn.incarnation, turn.execution)
    new = new_local_task(turn, local)
    task = (None, None, None, None) if new is None else (new.event, new.name, new.retry, new.input)
    if turn.create is not None:
        _create(transaction, turn.create, change, (last, *task))
    elif local is None or local in turn.tasks_gone:
        execute(_GO_ON, (turn.incarnation, transaction.now, last, *task))
    else:
        execute(_GO_ON_BESIDE, (turn.incarnation, transaction.now, last))
    if new is None:
        for each in turn.tasks:
            owner = transaction.worker if each.local else None
            execute(_TASK, (*key, each.event, owner, each.name, transaction.now, each.input, each.retry))
    for event in turn.tasks_gone:
        if event != local:
            execute(_TASK_GONE, (*key, event))


def _create(transaction: Transaction, new: NewInstance, change: InstanceChange, progress: tuple[object, ...]) -> None:
    transaction.execute(
        _CREATE,
        (
            new.incarnation, new.id, new.name, change.version or new.version, transaction.worker, transaction.now,
            new.root, new.slot, change.cancel_requested, change.custom_status_steps, new.attributes,
            change.custom_status, *progress,
        ),
    )  # fmt: skip


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
