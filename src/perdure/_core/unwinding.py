"""Ending a suspended coroutine for good, in silence.

Python has no silent way: `close` throws GeneratorExit into the frames, so `except BaseException` and `finally` run.
What they ask of the loop is refused by `Unwind`; what they swallow is thrown again.
"""

import gc
from collections.abc import Coroutine
from types import CoroutineType
from typing import Any

CLOSES_MAX = 8
"""How often a coroutine that swallows GeneratorExit is closed before it is left in the graveyard."""

_VISITED_MAX = 1_000
"""How many objects are looked into for coroutines that a suspended one has made and not awaited yet."""

_CONTAINERS = (dict, list, tuple, set, frozenset)
_LOOKED_INTO = frozenset({CoroutineType, *_CONTAINERS})

graveyard: list[Coroutine[Any, Any, Any]] = []
"""Coroutines that would not end when their execution was dropped; held for the life of the process."""


class Unwind(BaseException):
    """Unwinds the coroutines of an execution that is over; user code can delay it, but not undo it."""


def end(coroutine: Any) -> bool:
    """Close a coroutine that is suspended or was never started; False if it would not, and is kept for ever."""
    _close_unstarted(coroutine)
    for _ in range(CLOSES_MAX):
        try:
            coroutine.close()
        except RuntimeError:
            # "coroutine ignored GeneratorExit": it awaits something in its finally; or it has raised this, and ended.
            continue
        except BaseException:  # noqa: BLE001 - whatever a finally block raises, it is over
            return True
        else:
            return True
    graveyard.append(coroutine)
    return False


def _close_unstarted(coroutine: Any) -> None:
    """Close the coroutines that this one holds for later: Python would complain that they were never awaited."""
    visited: set[int] = set()
    to_visit = [coroutine]
    while to_visit and len(visited) <= _VISITED_MAX:
        for held in gc.get_referents(to_visit.pop()):
            if type(held) in _LOOKED_INTO and id(held) not in visited:
                visited.add(id(held))
                if type(held) is CoroutineType and not held.cr_suspended:
                    held.close()
                else:
                    to_visit.append(held)
