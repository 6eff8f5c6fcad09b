"""Turns that begin with an activity, go from one to the next, or complete, all of a batch at once and unjudged.

Laws kept here: a row is changed only if it stands as its turn expects, its owner included, and where one does not, the
whole transaction is taken back and made anew by way of a judgement (`UnexpectedError`); so this is only faster, never
different. To look at a row costs a third of what it costs to change it.

A row that is not there must not be made by the statement that changes it: what it inserts would be the last of all, so
that is asked for, too.
"""

from collections.abc import Sequence

import apsw

from perdure._types import Status
from perdure._work import InstanceChange, Item, NewInstance, NewTask, Turn
from perdure.storage.lanes import is_plain
from perdure.storage.sqlite.changes import clear_closed
from perdure.storage.sqlite.own_turns import SMALL_ROW_BYTES
from perdure.storage.sqlite.statements import RowStatement
from perdure.storage.sqlite.transaction import Transaction

_BEGIN = RowStatement("create_running")
_GO_ON = RowStatement("go_on_as_expected")
_COMPLETE = RowStatement("complete_as_expected")
_HISTORY = RowStatement("append_history")


class UnexpectedError(Exception):
    """A row is not as a turn expects it: nothing may be applied, and the batch has to be judged."""


def apply_steps(transaction: Transaction, items: Sequence[Item]) -> bool:
    """Apply a batch of such turns; False if there is anything else in it, or an instance of which that is not expected.

    Raises:
        UnexpectedError: One of the rows is otherwise; the transaction must be taken back.
    """
    odd, connection = transaction.odd, transaction.connection
    if transaction.worker is None or odd is None or connection is None:
        return False
    steps = _Steps(transaction)
    for item in items:
        if type(item) is not Turn or item.incarnation in odd or not steps.take(item):
            return False
    steps.write(transaction, connection)
    return True


class _Steps:
    """The values of rows, one after the other, for each of the statements."""

    __slots__ = ("begun", "closed", "completed", "gone_on", "history", "now")

    def __init__(self, transaction: Transaction) -> None:
        self.now = transaction.now
        self.begun: list[object] = [transaction.now, transaction.worker]
        self.gone_on: list[object] = [transaction.now, transaction.worker]
        self.completed: list[object] = [transaction.now, transaction.worker]
        self.history: list[object] = []
        self.closed: list[int] = []

    def take(self, turn: Turn) -> bool:
        """Take in a turn; whether it is such a one."""
        row, gone, change = turn.history, turn.tasks_gone, turn.change
        if (
            row is None
            or row.first != turn.base + 1
            or row.at > self.now
            or len(row.data) >= SMALL_ROW_BYTES
            or turn.consumed
            or turn.timers
            or turn.timers_gone
            or turn.tasks_stopped
            or turn.starts
            or turn.messages
            or turn.entries
            or turn.next_start is not None
        ):
            return False
        if change is None and len(gone) == 1:
            new = _local_task(turn.tasks)
            if new is None or new.event == gone[0] or turn.create is not None:
                return False
            self.gone_on += (
                turn.incarnation, turn.execution, turn.base, gone[0],
                row.last, new.event, new.name, new.retry, new.input,
            )  # fmt: skip
        elif turn.create is not None:
            if not self._begins(turn, turn.create, row.last):
                return False
        elif change is None or not self._completes(turn, change, row.last):
            return False
        self.history += (
            turn.incarnation, turn.execution, row.first, row.last, row.at, row.format, row.crc, row.encoding, row.data,
        )  # fmt: skip
        return True

    def _begins(self, turn: Turn, new: NewInstance, last: int) -> bool:
        change, task = turn.change, _local_task(turn.tasks)
        if (
            task is None
            or turn.tasks_gone
            or (turn.execution, turn.base, turn.incarnation) != (1, 0, new.incarnation)
            or new.parent is not None
            or not (change is None or (change.status is None and change.output is None and says_no_more(change)))
        ):
            return False
        version = new.version if change is None else change.version or new.version
        self.begun += (
            new.incarnation, new.id, new.name, version, new.root, new.slot, new.attributes,
            last, task.event, task.name, task.retry, task.input,
        )  # fmt: skip
        return True

    def _completes(self, turn: Turn, change: InstanceChange, last: int) -> bool:
        gone = turn.tasks_gone
        if (
            turn.tasks
            or len(gone) != 1
            or change.status is not Status.COMPLETED
            or change.version is not None
            or not says_no_more(change)
        ):
            return False
        self.completed += (turn.incarnation, turn.execution, turn.base, gone[0], last, change.output)
        self.closed.append(turn.incarnation)
        return True

    def write(self, transaction: Transaction, connection: apsw.Connection) -> None:
        """Write everything, or raise `UnexpectedError`."""
        execute = transaction.execute
        before = connection.total_changes()
        turns = len(self.history) // _HISTORY.columns
        try:
            _BEGIN.write(execute, self.begun)
            connection.set_last_insert_rowid(0)
            _GO_ON.write(execute, self.gone_on)
            _COMPLETE.write(execute, self.completed)
            if connection.last_insert_rowid() != 0 or connection.total_changes() - before != turns:
                raise UnexpectedError
            _HISTORY.write(execute, self.history)
        except apsw.ConstraintError as error:
            raise UnexpectedError from error
        if self.closed:
            clear_closed(transaction, self.closed)


def _local_task(tasks: Sequence[NewTask]) -> NewTask | None:
    """The only task, if its worker runs it at once and it asks for nothing special."""
    if len(tasks) != 1:
        return None
    task = tasks[0]
    return task if task.local and is_plain(task) else None


def says_no_more(change: InstanceChange) -> bool:
    """Whether a change is of nothing but the status, the version and the output."""
    return (
        change.execution is None
        and change.error is None
        and change.custom_status is None
        and change.min_reader is None
        and not change.cancel_requested
    )
