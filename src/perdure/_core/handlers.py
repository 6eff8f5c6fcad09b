"""Queries and updates: what an orchestration answers while it runs.

Laws kept here: a query and a validator only look, so they leave no trace; whatever they change by mistake makes the
execution one that is to be rebuilt. An update that is let in is an event, and its answer another one behind it; each
update has exactly one answer, given by its handler or by the end of the execution.

Handlers, validators and the refusal without an event are as in Temporal's updates.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import Raw

from perdure import _events as ev
from perdure import _work as work
from perdure._core.asks import Note
from perdure._core.unwinding import Unwind
from perdure.codec import codec_for
from perdure.errors import ErrorInfo, ForbiddenCallError, UnansweredError, UsageError, error_info_from_exception

if TYPE_CHECKING:
    from perdure._context import Query, Update
    from perdure._core.execution import Execution

_LOOKING = "a query or a validator only looks"


class Handler(NamedTuple):
    """What answers a query or an update."""

    takes: Any
    gives: Any
    function: Callable[..., Any]
    validator: Callable[..., Any] | None
    asks_nothing: bool

    def arguments(self, name: str, data: Raw) -> tuple[Any, ...]:
        """What the handler is called with.

        Raises:
            PayloadError: The data does not fit its type.
        """
        return () if self.asks_nothing else (self.takes.decode(data, what=f"value of {name!r}"),)

    def encode(self, name: str, value: Any) -> Raw:
        """The stored form of what it returned."""
        return Raw(self.gives.encode(value, what=f"answer of {name!r}"))


def handler_of(
    question: Query[Any, Any] | Update[Any, Any],
    function: Callable[..., Any],
    validator: Callable[..., Any] | None = None,
) -> Handler:
    """A handler, if the functions can be called as such.

    Raises:
        UsageError: They can't.
    """
    for each in (function, validator):
        if each is not None and not callable(each):
            raise UsageError(f"{question!r} takes a function as its handler, not {each!r}")
    takes, gives = question.types
    return Handler(codec_for(takes), codec_for(gives), function, validator, question.asks_nothing)


class Handlers:
    """The handlers of one execution by name, and the answers that nobody has fetched."""

    __slots__ = ("queries", "replies", "tainted", "updates")

    def __init__(self) -> None:
        self.queries: dict[str, Handler] = {}
        self.updates: dict[str, Handler] = {}
        self.replies: dict[str, bytes] = {}
        self.tainted = False
        """Whether what only looks has changed something: the execution is to be rebuilt."""

    def forget(self) -> None:
        """Nothing is answered any more; what has been stays."""
        self.queries, self.updates = {}, {}

    def reply(self, request: str, **answer: Any) -> None:
        """Keep an answer for the one who asked."""
        self.replies[request] = work.encode_answer(work.Answer(**answer))

    def take_replies(self) -> dict[str, bytes]:
        """The answers since the last call, by request."""
        replies, self.replies = self.replies, {}
        return replies


def handled(execution: Execution) -> Handlers:
    """What answers for an execution, to be changed."""
    if execution.handlers is None:
        execution.handlers = Handlers()
    return execution.handlers


def look(execution: Execution, message: work.QueryAsked) -> None:
    """Answer a query, between two events."""
    handlers = handled(execution)
    handler = handlers.queries.get(message.name)
    if handler is None:
        _unknown(handlers, "query", message, handlers.queries)
        return
    name = message.name

    def answer() -> Raw:
        value = handler.function(*handler.arguments(name, message.data))
        if inspect.isawaitable(value):
            _close(value)
            raise UsageError(f"the handler of query {name!r} is asynchronous: a query is answered at once, by a `def`")
        return handler.encode(name, value)

    try:
        handlers.reply(message.request, result=_only_looking(execution, answer))
    except BaseException as error:  # noqa: BLE001 - whatever user code raises is for who asked, SystemExit too
        handlers.reply(message.request, error=error_info_from_exception(error))


def admits(execution: Execution, message: work.UpdateAsked) -> bool:
    """Whether an update is let in; who sent one that is not has the answer, and it leaves no event."""
    handlers = handled(execution)
    handler = handlers.updates.get(message.name)
    if handler is None:
        _unknown(handlers, "update", message, handlers.updates)
        return False

    def validate() -> None:
        arguments = handler.arguments(message.name, message.data)
        if handler.validator is not None:
            handler.validator(*arguments)

    try:
        _only_looking(execution, validate)
    except BaseException as error:  # noqa: BLE001 - whatever user code raises is for who asked, SystemExit too
        handlers.reply(message.request, error=error_info_from_exception(error), refused="rejected")
        return False
    return True


def begin(execution: Execution, event: ev.UpdateReceived) -> None:
    """Let the handler of an update that was let in answer it, as a task of the program."""
    handlers = execution.handlers
    handler = None if handlers is None else handlers.updates.get(event.name)
    # One that is gone is no handler of this code: the answer that history has will be missed.
    if handler is not None and execution.variables is not None:
        context = execution.variables.copy()
        execution.create_task(_answer(execution, handler, event), name=f"update {event.name}", context=context)


async def _answer(execution: Execution, handler: Handler, event: ev.UpdateReceived) -> None:
    outcome: dict[str, Any]
    try:
        value = handler.function(*handler.arguments(event.name, event.data))
        if inspect.isawaitable(value):
            value = await value
        outcome = {"result": handler.encode(event.name, value)}
    except (asyncio.CancelledError, Unwind):
        execution.ask(Note(_answered(event, error=error_info_from_exception(UnansweredError(event.name)))))
        raise
    except BaseException as error:
        if execution.over is not None:
            # Python ends the coroutine of an execution that is dropped, and nobody is to be answered.
            raise
        outcome = {"error": error_info_from_exception(error)}
    execution.ask(Note(_answered(event, **outcome)))


def _answered(event: ev.UpdateReceived, **outcome: Any) -> ev.UpdateAnswered:
    return ev.UpdateAnswered(id=0, source=event.id, request=event.request, **outcome)


def _only_looking(execution: Execution, function: Callable[[], Any]) -> Any:
    """Call what may ask for nothing and wake nobody."""
    before = _footprint(execution)
    execution.over = _LOOKING
    try:
        return function()
    except Unwind:
        raise ForbiddenCallError(
            f"{_LOOKING}: it can't ask for anything. Use an update for what changes something"
        ) from None
    finally:
        execution.over = None
        if _footprint(execution) != before:
            handled(execution).tainted = True


def _footprint(execution: Execution) -> tuple[int, int]:
    """Something that is another once the program has done anything: tasks and futures made, callbacks to run."""
    return execution._sequence, len(execution.ready or ())  # noqa: SLF001 - between the loop and its program


def _unknown(
    handlers: Handlers, kind: str, message: work.QueryAsked | work.UpdateAsked, known: dict[str, Handler]
) -> None:
    there = f"it has {', '.join(map(repr, known))}" if known else "it has none"
    info = ErrorInfo(
        type="perdure.errors.UnknownRequestError", message=f"no handler of {kind} {message.name!r}; {there}"
    )
    handlers.reply(message.request, error=info, refused="unknown")


def _close(awaitable: Any) -> None:
    close = getattr(awaitable, "close", None)
    if close is not None:
        close()
