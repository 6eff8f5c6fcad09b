"""How an execution ends: the event that says so, and what its author should know."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from msgspec import Raw

from perdure import _events as ev
from perdure._core.asks import ActivityFuture, ChildFuture
from perdure._core.loop import where_waiting
from perdure.errors import ForbiddenCallError, LimitError, StuckError, error_info_from_exception

if TYPE_CHECKING:
    from collections.abc import Iterable

    from perdure._core.tasks import Task
    from perdure._definitions import Orchestration

_FOREIGN = ("attached to a different loop", "await wasn't used with future", "belongs to a different loop")
"""What asyncio says of a future of another event loop."""


def stuck(tasks: Iterable[Task[Any]]) -> StuckError:
    """The error for an orchestration that nothing can wake, with the lines at which it waits."""
    lines = ", ".join(sorted({where_waiting(task) for task in tasks}))
    return StuckError(
        f"the orchestration waits for something that no durable event can bring, at {lines}: "
        "a future of another event loop, an asyncio object that nobody will wake, or a lost future. "
        "Wait for an activity, a timer, an external event or a sub-orchestration instead."
    )


def returned(definition: Orchestration[..., Any], value: Any, event_id: int) -> ev.Ended:
    """The end, probably under this id, of an orchestration that returned: failed, if its value does not fit."""
    try:
        output = definition.result_codec.encode(value, what=f"result of orchestration {definition.name}")
    except Exception as error:  # noqa: BLE001 - whatever user code in the value raises, it is the result that fails
        return failed(error)
    return ev.Completed(id=event_id, output=Raw(output))


def raised(error: BaseException, cancel_reason: str | None) -> ev.Ended:
    """The end of an orchestration that raised: cancelled only if somebody asked for that.

    Raises:
        ForbiddenCallError: It failed by awaiting a future of another event loop, which holds the instance.
    """
    if isinstance(error, asyncio.CancelledError) and cancel_reason is not None:
        return ev.Cancelled(id=0, reason=cancel_reason)
    if isinstance(error, RuntimeError | ValueError) and any(words in str(error) for words in _FOREIGN):
        raise ForbiddenCallError(
            f"the orchestration awaited a future of another event loop ({error}). "
            "Do that work in an activity and await ctx.schedule_activity(...)."
        )
    return failed(error)


def failed(error: BaseException) -> ev.Failed:
    """The end by an exception."""
    return ev.Failed(id=0, error=error_info_from_exception(error))


def overflowed(instance_id: str, events_max: int) -> ev.Failed:
    """The end of an execution whose history is full."""
    return failed(
        LimitError(
            f"the history of {instance_id} would get more than {events_max:,} events: "
            "let the orchestration continue as new in time (see ctx.should_continue_as_new)"
        )
    )


def left_over(asked: Iterable[Any]) -> list[str]:
    """One warning for each activity and child that nobody waited for, of all that is still open at the end."""
    return [
        f"{ask.name}, asked for at {ask.where}, had not ended when the orchestration did: it is given up. "
        "Await it, or cancel it"
        for ask in asked
        if isinstance(ask, ActivityFuture | ChildFuture) and not ask.done() and not ask.survives
    ]


def unretrieved(tasks: Iterable[Task[Any]], callback_errors: Iterable[BaseException]) -> list[str]:
    """One warning for each exception that nobody looked at."""
    failures = [(f"task {task.get_name()} failed and nobody looked", task.exception()) for task in tasks]
    failures += [("a callback failed", error) for error in callback_errors]
    # Other than exceptions of user code there is only what unwinds an execution that continues as new.
    told = [(what, error_info_from_exception(error)) for what, error in failures if isinstance(error, Exception)]
    return [f"{what}: {error.summary}" for what, error in told]
