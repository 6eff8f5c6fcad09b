"""From a message to the event that it becomes, or to none when nothing waits for it any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Raw

from perdure import _events as ev
from perdure import _work as work
from perdure._core.asks import ActivityFuture, ChildFuture, LoopTimer, TimerFuture
from perdure._core.handlers import admits
from perdure._core.limits import LimitFuture
from perdure.errors import ErrorInfo

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure._core.execution import Execution

_NULL = Raw(b"null")


def _activity(execution: Execution, message: work.ActivityOutcome, event_id: int, now: int) -> ev.Inbound | None:
    source, error = message.source, message.error
    waits = execution.open.one
    if waits is None or waits.event_id != source:
        waits = execution.open.get(source)
    if message.execution != execution.execution_id or not isinstance(waits, ActivityFuture):
        return None
    if error is not None:
        return ev.ActivityFailed(
            id=event_id,
            at=now,
            source=source,
            error=error,
            timed_out=message.timed_out,
            stopped=message.stopped,
        )
    return ev.ActivityCompleted(
        id=event_id, at=now, source=source, result=message.result or _NULL, attempts=message.attempts
    )


def _timer(execution: Execution, message: work.TimerDue, event_id: int, now: int) -> ev.Inbound | None:
    source = message.source
    if message.execution != execution.execution_id or not isinstance(execution.open.get(source), _TIMERS):
        return None
    # The store's clock said that it is due; a clock that was set back since must not make it fire before its time.
    return ev.TimerFired(id=event_id, at=max(now, message.fire_at), source=source)


def _limit(execution: Execution, message: work.LimitEntered, event_id: int, now: int) -> ev.Inbound | None:
    source = message.source
    if message.execution != execution.execution_id or not isinstance(execution.open.get(source), LimitFuture):
        return None
    return ev.LimitEntered(id=event_id, at=now, source=source)


def _child(execution: Execution, message: work.ChildOutcome, event_id: int, now: int) -> ev.Inbound | None:
    source = message.source
    if message.execution != execution.execution_id or not isinstance(execution.open.get(source), ChildFuture):
        return None
    if message.ending == "completed":
        return ev.ChildCompleted(id=event_id, at=now, source=source, result=message.result or _NULL)
    error = message.error or ErrorInfo(type=f"perdure.{message.ending}", message="")
    return ev.ChildFailed(id=event_id, at=now, source=source, error=error, ending=message.ending)


def _raised(execution: Execution, message: work.Raised, event_id: int, now: int) -> ev.Inbound | None:
    wait = execution.mailboxes.oldest_wait(message.name)
    return ev.EventRaised(id=event_id, at=now, name=message.name, data=message.data, wait=wait)


def _update(execution: Execution, message: work.UpdateAsked, event_id: int, now: int) -> ev.Inbound | None:
    if not admits(execution, message):
        return None
    return ev.UpdateReceived(id=event_id, at=now, request=message.request, name=message.name, data=message.data)


def _cancel(execution: Execution, message: work.Cancel, event_id: int, now: int) -> ev.Inbound | None:
    if execution.cancel_requested is not None:
        return None
    return ev.CancelRequested(id=event_id, at=now, reason=message.reason)


_TIMERS = (LoopTimer, TimerFuture)
ADMISSIONS: dict[type, Callable[[Execution, Any, int, int], ev.Inbound | None]] = {
    work.ActivityOutcome: _activity,
    work.TimerDue: _timer,
    work.LimitEntered: _limit,
    work.ChildOutcome: _child,
    work.Raised: _raised,
    work.UpdateAsked: _update,
    work.Cancel: _cancel,
}
"""By kind of message, the event of an id and a time that it becomes; None for one that is stale or comes again.

A second start of the execution is stale too, and so is a terminate: that one needs no code and is carried out without
an execution.
"""
