"""What becomes of an attempt of an activity: the entries that its end makes, as plain functions."""

import msgspec
from msgspec.structs import replace

from perdure._retry import WirePolicy, from_wire
from perdure._runtime.inbox import Ended, Entry, GoesBack
from perdure._work import ActivityOutcome, ClaimedTask, TaskHold, TaskRelease, TaskRetry, unsealed
from perdure.errors import ErrorInfo, error_info_from_exception

ROW = "the stored %s of activity %r of instance %r (event %d)"
_ONE_ATTEMPT = WirePolicy()


def release(task: ClaimedTask, delay_us: int = 0) -> TaskRelease:
    """What hands a task back as it is."""
    return TaskRelease(incarnation=task.incarnation, execution=task.execution, event=task.event, delay_us=delay_us)


def stopped(task: ClaimedTask, error: BaseException) -> Entry:
    """An activity that ended because it was asked to, and whose orchestration waits for that."""
    info = error_info_from_exception(error, attempts=task.attempt)
    outcome = ActivityOutcome(
        execution=task.execution, source=task.event, error=info, attempts=task.attempt, stopped=True
    )
    return Ended(task, outcome)


def polled(entry: Entry, policy: WirePolicy) -> Entry:
    """The same, but an activity that is asked until it has an answer and has none goes back for the next time."""
    if policy.poll_us is None or not isinstance(entry, Ended) or bytes(entry.outcome.result) != b"null":
        return entry
    task = entry.task
    # What failed before it came through counts no more.
    again = TaskRetry(
        incarnation=task.incarnation, execution=task.execution, event=task.event, attempt=1, delay_us=policy.poll_us
    )
    return GoesBack(task, again)


def with_last_words(entry: Entry, details: bytes | None) -> Entry:
    """The same, with what the activity said last, which whoever runs it next shall know."""
    if details is None or not isinstance(entry, GoesBack) or isinstance(entry.item, TaskHold | None):
        return entry
    return GoesBack(entry.task, replace(entry.item, details=details))


def policy_of(task: ClaimedTask) -> WirePolicy:
    """Its retry policy."""
    if task.retry is None:
        return _ONE_ATTEMPT
    return from_wire(unsealed(task.retry, ROW, "retry policy", task.name, task.instance_id, task.event))


def overlong(limit_us: int) -> str:
    """That an attempt took too long."""
    return f"it did not end within {limit_us / 1e6:g} s"


def too_late(task: ClaimedTask, policy: WirePolicy) -> str:
    """That an activity took too long, all attempts together."""
    limit = f"{(policy.total_timeout_us or 0) / 1e6:g} s"
    late = f"it did not end within its total timeout of {limit}"
    if policy.poll_us is not None:
        late = f"it had no answer within {limit}"
    if task.last_error is None:
        return late
    stored = unsealed(task.last_error, ROW, "last error", task.name, task.instance_id, task.event)
    return f"{late}; the last attempt failed with {msgspec.json.decode(stored, type=ErrorInfo).summary}"
