"""Turns that only go on, all of a batch at once: a busy worker commits hardly anything else.

Laws kept here: all turns are judged before anything of them is written, and a batch in which one item is anything else
is left to `batches.py`, which knows all the rules; so this is only faster, never different.
"""

from collections.abc import Sequence

from perdure._work import Item, Turn
from perdure.storage.sqlite.changes import Changes
from perdure.storage.sqlite.statements import RowStatement
from perdure.storage.sqlite.transaction import Transaction

PAYLOAD_BYTES_MAX = 65_536
"""A turn with more events goes through `batches.py`, which writes a batch in pieces if need be."""

_JUDGE = RowStatement("judge_turns")


def apply_going(transaction: Transaction, items: Sequence[Item]) -> bool:
    """Apply a batch of turns that go on and that nothing refuses; False if it has to go another way."""
    turns = [
        item
        for item in items
        if isinstance(item, Turn)
        and item.create is None
        and item.change is None
        and item.history is not None
        and item.history.first == item.base + 1
        and len(item.history.data) < PAYLOAD_BYTES_MAX
        and not (item.starts or item.messages)
        and item.next_start is None
    ]
    if len(turns) < len(items) or transaction.worker is None:
        return False
    values: list[object] = [transaction.worker]
    for turn in turns:
        values += (turn.incarnation, turn.execution, turn.base)
    # Two turns of one instance depend on each other.
    if len({turn.incarnation for turn in turns}) < len(turns) or _JUDGE.ask(transaction.execute, values):
        return False
    changes = Changes(transaction)
    changes.go_on(turns)
    changes.write()
    return True
