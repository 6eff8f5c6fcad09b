"""What an orchestration awaits: durable futures, and external events by name and type."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, TypeVar, final

from perdure._context.named import TypedName
from perdure._types import check_name
from perdure.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")

if TYPE_CHECKING:

    class _Future(asyncio.Future[T], Coroutine[Any, Any, T]):
        """Declared a coroutine too, as an orchestration's `create_task`, and so its `TaskGroup`, takes durable futures.

        At run time these three are missing: `asyncio.wait` refuses whatever has them.
        """

        def send(self, value: object, /) -> object: ...
        def throw(self, typ: object, val: object = None, tb: object = None, /) -> object: ...
        def close(self) -> None: ...
else:
    _Future = asyncio.Future


class DurableFuture(_Future[T]):
    """The outcome of something that an orchestration asked for; await it, or hand it to asyncio's own functions.

    It keeps its place through crashes: the outcome is read from history when there is one. `cancel()` says that the
    activity, timer, wait or child is no longer wanted.

    It is not its outcome: asked for its truth, iterated over or put into a string it raises `UsageError`, which says
    where an `await` is missing. Whether there is a future at all, `is not None` says.
    """

    __slots__ = ()
    _kind: ClassVar[str] = "durable future"

    def __repr__(self) -> str:
        return f"<{self._described()}, to be awaited>"

    def _described(self) -> str:
        name = getattr(self, "name", None)
        where = getattr(self, "where", None)
        return self._kind + (f" {name}" if name else "") + (f", asked for at {where}" if where else "")

    def _misused(self, how: str, otherwise: str = "") -> NoReturn:
        raise UsageError(f"{self._described()}, was {how} and not awaited: write `await` before it{otherwise}")

    def __bool__(self) -> NoReturn:  # noqa: PLE0304 - nor does it return anything else
        self._misused("used as a truth value", "; whether there is one, `is not None` says")

    # Type checkers take these for good whatever they return, or would take what follows for unreachable.
    if not TYPE_CHECKING:

        def __iter__(self) -> NoReturn:
            self._misused("iterated over or unpacked")

        def __format__(self, _spec: str) -> NoReturn:
            self._misused("put into a string", "; `!r` shows what it stands for")


class ChildFuture(DurableFuture[T]):
    """The outcome of a sub-orchestration."""

    __slots__ = ()

    @property
    def instance_id(self) -> str:
        """The child's instance id, known at once."""
        raise NotImplementedError


@final
class ExternalEvent(TypedName, Generic[T]):
    """The name of an external event with the type of its data, for the sender and the receiver alike.

    Raises:
        UsageError: The name is empty, too long, or has control characters.

    Example:
        APPROVED = ExternalEvent[bool | None]("approved")
        verdict = await ctx.schedule_wait(APPROVED)
    """

    __slots__ = ()

    _kind = "event"

    @property
    def type_(self) -> Any:
        """The type of the event's data; Any where none was given, as in `ExternalEvent("approved")`."""
        return self._given(1)[0]


def event_name(event: object) -> str:
    """The name of an external event that was given by its name.

    Raises:
        UsageError: It is no name, or none that is allowed.
    """
    if not isinstance(event, str):
        raise UsageError(f"event must be an ExternalEvent or its name, not {event!r}")
    return check_name("event", event)
