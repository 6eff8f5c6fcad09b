"""A section of an orchestration that holds a place of a limit by key.

Law kept here: a place is asked for, given and left by events, so replay holds what the live program held.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from perdure._context import Limit
from perdure._core.asks import DurableFuture, Note
from perdure._core.callsite import where_asked
from perdure._events import KeyLimit, LimitAsked, LimitLeft
from perdure.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perdure._core.execution import Execution


class LimitFuture(DurableFuture[None]):
    """A place of a limit."""

    __slots__ = ("limit",)
    _kind = "place of a limit"
    limit: KeyLimit

    def event(self, event_id: int) -> LimitAsked:
        """The event that records that it was asked for."""
        return LimitAsked(id=event_id, where=self.where, limit=self.limit)

    def given_up(self) -> LimitLeft:
        """The event that records that it is no longer waited for."""
        return LimitLeft(id=0, where=self.lost_at, source=self.event_id)


LimitFuture.__name__ = LimitFuture.__qualname__ = f"un-awaited {LimitFuture._kind}"  # noqa: SLF001 - of this very module


class Section(AbstractAsyncContextManager[None]):
    """What `ctx.limit` returns: a place is waited for on the way in, and left on the way out."""

    __slots__ = ("_execution", "_limit", "_place", "_where")

    def __init__(self, execution: Execution, limit: KeyLimit) -> None:
        self._execution = execution
        self._limit = limit
        self._place: LimitFuture | None = None
        self._where = where_asked()

    async def __aenter__(self) -> None:
        if self._place is not None:
            raise UsageError("a section of a limit is entered once: call ctx.limit again for the next")
        execution = self._execution
        execution.gate("ctx.limit")
        place = self._place = LimitFuture(loop=execution)
        place._number = execution.next_number()  # noqa: SLF001 - between the loop and its futures
        place.event_id, place.lost_at, place.where, place.limit = 0, None, self._where, self._limit
        execution.ask(place)
        # Nothing can come between the event that gives it and the next line of the program.
        await place

    async def __aexit__(self, *_: object) -> None:
        execution, place = self._execution, self._place
        # What is over holds nothing, and an execution that was only dropped from memory is still in its section.
        if execution.over is None and place is not None:
            execution.gate("ctx.limit")
            execution.ask(Note(LimitLeft(id=0, where=where_asked(), source=place.event_id)))


def section(execution: Execution, key: Any, concurrency: int | None, rate: int | None, per: Any) -> Section:
    """A section that holds a place of this limit.

    Raises:
        UsageError: It is no limit, or its key depends on inputs.
        LimitError: A number is too large.
    """
    limit = key if isinstance(key, Limit) else Limit(key, concurrency, rate=rate, per=per)
    if callable(limit.key):
        raise UsageError(f"the key of {limit!r} is a function of an activity's inputs: give ctx.limit a name")
    return Section(execution, recorded(limit, ()))


def recorded(limit: Limit, inputs: Sequence[Any]) -> KeyLimit:
    """A limit as history keeps it, for an activity with these inputs.

    Raises:
        UsageError: The key is a function that gave no name for them.
    """
    return KeyLimit(limit.key_of(inputs), limit.concurrency, limit.rate, limit.per_us)
