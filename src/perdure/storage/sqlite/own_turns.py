"""Turns that touch nothing but their own instances, all of a batch at once: a busy worker commits hardly anything else.

Laws kept here: all turns are judged before anything of them is written, and a batch in which one is refused, or in
which an item is anything else, is left to `batches.py`, which knows all the rules; so this is only faster, never
different.
"""

from collections.abc import Iterable, Sequence

from perdure._work import Item, Turn
from perdure.storage.sqlite.changes import Changes
from perdure.storage.sqlite.local_tasks import expected
from perdure.storage.sqlite.statements import RowStatement
from perdure.storage.sqlite.transaction import Transaction

SMALL_ROW_BYTES = 65_536
"""A turn with more events goes through `batches.py`, which writes a batch in pieces if need be."""

_TURNS = RowStatement("judge_turns")
_CREATIONS = RowStatement("judge_creations")
_REFUSALS = frozenset({"not_owner", "stale", "suspended"})
_SLEEPERS = frozenset({"pending", "held"})
_NONE_TAKEN: frozenset[str] = frozenset()


def apply_own_turns(transaction: Transaction, items: Sequence[Item]) -> bool:
    """Apply a batch of such turns if nothing refuses any of them; False if it has to go another way."""
    turns = [
        item
        for item in items
        if isinstance(item, Turn)
        and item.history is not None
        and item.history.first == item.base + 1
        and len(item.history.data) < SMALL_ROW_BYTES
        and not (item.starts or item.messages or item.tasks_stopped)
        and item.next_start is None
        and (item.change is None or item.change.execution is None)
    ]
    if len(turns) < len(items) or transaction.worker is None:
        return False
    if not _all_are_born(transaction, turns):
        return False
    odd = _odd_ones(transaction, turns)
    if odd is None:
        return False
    changes = Changes(transaction)
    changes.go_on(turns, {incarnation: local for incarnation, (_, local) in odd.items()})
    for place, turn in enumerate(turns):
        wakes = turn.incarnation in odd and odd[turn.incarnation][0] in _SLEEPERS
        if turn.create is not None or turn.change is not None or wakes:
            changes.turn(place, turn, _NONE_TAKEN, wakes=wakes)
    changes.write()
    return True


def _all_are_born(transaction: Transaction, turns: Iterable[Turn]) -> bool:
    """Whether the instances that the turns create, if any, can be created."""
    created = [(turn, turn.create) for turn in turns if turn.create is not None]
    if not created:
        return True
    values: list[object] = []
    for number, (turn, new) in enumerate(created):
        if (turn.execution, turn.base, turn.incarnation) != (1, 0, new.incarnation):
            return False
        values += (number, new.id, new.incarnation)
    ids = {new.id for _, new in created}
    return len(ids) == len(created) and not _CREATIONS.ask(transaction.execute, values)


def _odd_ones(transaction: Transaction, turns: Sequence[Turn]) -> dict[int, tuple[str, int | None]] | None:
    """The status and the local task of instances that don't run or whose task is none that their turn expects.

    None if one of the turns is refused, or may be, or depends on another.
    """
    if len({turn.incarnation for turn in turns}) < len(turns):
        return None
    values: list[object] = [transaction.worker]
    for turn in turns:
        if turn.create is None:
            values += (turn.incarnation, turn.execution, turn.base, expected(turn))
    verdicts = _TURNS.ask(transaction.execute, values)
    if any(verdict in _REFUSALS for _, verdict, _ in verdicts):
        return None
    return {incarnation: (status, local) for incarnation, status, local in verdicts}
