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
    close_unstarted(coroutine)
    closes_left = CLOSES_MAX
    # From the innermost outwards: Python throws away what a coroutine awaits once that has ignored the first close.
    suspended = [coroutine]
    while suspended:
        innermost = suspended[-1]
        awaited = getattr(innermost, "cr_await", None)
        if type(awaited) is CoroutineType and awaited.cr_frame is not None:
            suspended.append(awaited)
            continue
        if _closed(innermost):
            suspended.pop()
            continue
        closes_left -= 1
        if closes_left == 0:
            graveyard.append(coroutine)
            return False
    return True


def _closed(coroutine: Any) -> bool:
    """Close once; False if it is suspended again, at something that it awaits in its `finally`."""
    try:
        coroutine.close()
    except BaseException as error:  # noqa: BLE001 - whatever a finally block raises, it is over; or not yet
        traceback = error.__traceback__
        while traceback is not None:
            close_unstarted(list(traceback.tb_frame.f_locals.values()))
            traceback = traceback.tb_next
        return getattr(coroutine, "cr_frame", None) is None
    return True


def end_within(generator: Any) -> bool:
    """End what an async generator awaits; the generator itself may be let go of, and never runs again.

    Python closes with a coroutine what it awaits, but before 3.13 not through an async generator in between: that is
    let go of, and what it awaits is left to the collector.
    """
    close_unstarted(generator)
    awaited = generator.ag_await
    return type(awaited) is not CoroutineType or end(awaited)


def close_unstarted(holder: object) -> None:
    """Close the coroutines that something holds for later: Python would complain that they were never awaited."""
    visited: set[int] = set()
    to_visit = [holder]
    while to_visit and len(visited) <= _VISITED_MAX:
        for held in gc.get_referents(to_visit.pop()):
            if type(held) not in _LOOKED_INTO:
                continue
            number = id(held)
            if number not in visited:
                visited.add(number)
                if type(held) is CoroutineType and not held.cr_suspended:
                    held.close()
                else:
                    to_visit.append(held)
