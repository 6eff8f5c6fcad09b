"""From an event that answers something to the future, or the callback, that waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure import _events as ev
from perdure._core.asks import LoopTimer, StoppableFuture, resolve
from perdure._core.handlers import begin
from perdure.errors import (
    ActivityError,
    ActivityTimeoutError,
    OrchestrationCancelledError,
    OrchestrationError,
    OrchestrationTerminatedError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure._core.execution import Execution

_CHILD_ERRORS = {
    "cancelled": OrchestrationCancelledError,
    "terminated": OrchestrationTerminatedError,
}


def _activity_completed(execution: Execution, event: ev.ActivityCompleted) -> None:
    opened = execution.open
    future: Any = opened.one
    if future is not None and future.event_id == event.source:
        opened.one = None
    else:
        future = opened.pop(event.source)
    try:
        value = future.decoder.decode(event.result, what=f"result of activity {future.name}")
    except Exception as error:  # noqa: BLE001 - a type's own validation may raise anything
        future.set_exception(error)
    else:
        future.set_result(value)


def _activity_failed(execution: Execution, event: ev.ActivityFailed) -> None:
    future: Any = execution.open.pop(event.source)
    if event.stopped and isinstance(future, StoppableFuture):
        future.has_stopped()
        return
    kind = ActivityTimeoutError if event.timed_out else ActivityError
    future.set_exception(kind(event.error, activity_name=future.name))


def _timer_fired(execution: Execution, event: ev.TimerFired) -> None:
    timer: Any = execution.open.pop(event.source)
    if isinstance(timer, LoopTimer):
        execution.fire(timer)
    else:
        timer.set_result(None)


def _limit_entered(execution: Execution, event: ev.LimitEntered) -> None:
    execution.open.pop(event.source).set_result(None)


def _child_completed(execution: Execution, event: ev.ChildCompleted) -> None:
    future: Any = execution.open.pop(event.source)
    resolve(future, future.decoder, event.result, f"result of orchestration {future.name}")


def _child_failed(execution: Execution, event: ev.ChildFailed) -> None:
    future: Any = execution.open.pop(event.source)
    kind = _CHILD_ERRORS.get(event.ending, OrchestrationError)
    future.set_exception(kind(event.error, instance_id=future.instance_id))


def _event_raised(execution: Execution, event: ev.EventRaised) -> None:
    if event.wait is None:
        execution.mailboxes.put(event.name, event.id, event.data)
    else:
        wait: Any = execution.open.pop(event.wait)
        execution.mailboxes.give(wait, event.id, event.data)


ANSWERS: dict[type, Callable[[Execution, Any], None]] = {
    ev.ActivityCompleted: _activity_completed,
    ev.ActivityFailed: _activity_failed,
    ev.TimerFired: _timer_fired,
    ev.LimitEntered: _limit_entered,
    ev.EventRaised: _event_raised,
    ev.UpdateReceived: begin,
    ev.ChildCompleted: _child_completed,
    ev.ChildFailed: _child_failed,
}
"""What each kind of event does to whoever waits for it."""
