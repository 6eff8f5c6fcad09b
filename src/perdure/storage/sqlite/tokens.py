"""Which commit of a worker was its last: what is asked when the answer of one was lost.

The worker's row has its token, but for commits that have left it alone: those that changed nothing, and those of one
turn, which is a page less to write. This handle remembers the tokens of such as came back. One turn whose commit broke
off is known by its row of history, which nobody but its worker could have written. If the instance was deleted since,
that is gone: a turn that goes on is sent again then, and refused; one that begins an instance counts as landed, so that
it begins none a second time.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from perdure._work import Turn
from perdure.storage.sqlite.statements import STATEMENTS

_IS_LAST = STATEMENTS["is_last_token"]
_HAS_TURN = STATEMENTS["has_turn"]


class _Doubt(NamedTuple):
    """A commit that broke off, and the turn by which it is known if it has left the worker's row alone."""

    token: bytes
    turn: tuple[int, int, int, bool] | None


class LastCommits:
    """The last commits of the workers of one handle."""

    __slots__ = ("_doubts", "_unmarked")

    def __init__(self) -> None:
        self._unmarked: dict[int, bytes] = {}
        self._doubts: dict[int, _Doubt] = {}

    def came_back(self, worker: int, token: bytes, *, marked: bool) -> None:
        """A commit has landed; `marked` says that the worker's row has its token."""
        self._doubts.pop(worker, None)
        if marked:
            self._unmarked.pop(worker, None)
        else:
            self._unmarked[worker] = token

    def broke_off(self, worker: int, token: bytes, alone: Turn | None) -> None:
        """A commit has landed or not; `alone` is its turn if that is all that it was to write."""
        turn = None
        if alone is not None and alone.history is not None:
            turn = (alone.incarnation, alone.execution, alone.history.last, alone.create is not None)
        self._doubts[worker] = _Doubt(token, turn)

    def is_last(self, execute: Callable[..., Any], worker: int, token: bytes) -> bool | None:
        """Whether the worker's last commit was the one with this token; None when its row is gone."""
        is_marked = execute(_IS_LAST, (worker, token)).get
        if is_marked is None:
            return None
        last, doubt = self._unmarked.get(worker), self._doubts.get(worker)
        if doubt is not None:
            seen = (_IS_LAST, (worker, doubt.token)) if doubt.turn is None else (_HAS_TURN, doubt.turn)
            if execute(*seen).get:
                last = doubt.token
        return bool(is_marked) if last is None else last == token
