"""What becomes of an attempt of an activity: the entries that its end makes, as plain functions."""

import msgspec
from msgspec.structs import replace

from perdure._retry import WirePolicy, from_wire
from perdure._runtime.inbox import Ended, Entry, GoesBack
from perdure._types import duration_us
from perdure._work import ActivityOutcome, ClaimedTask, TaskHold, TaskRelease, TaskRetry, sealed, unsealed
from perdure.errors import ErrorInfo, RetryAfter, error_info_from_exception

ROW = "the stored %s of activity %r of instance %r (event %d)"
_ONE_ATTEMPT = WirePolicy()
_encode = msgspec.json.Encoder().encode


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


def tried_again(task: ClaimedTask, delay_us: int, info: ErrorInfo) -> Entry:
    """One that has failed and has attempts left."""
    again = TaskRetry(
        incarnation=task.incarnation,
        execution=task.execution,
        event=task.event,
        attempt=task.attempt + 1,
        delay_us=delay_us,
        last_error=sealed(_encode(info)),
    )
    return GoesBack(task, again)


def retry_delay(task: ClaimedTask, error: BaseException, info: ErrorInfo, now: int, fraction: float) -> int | None:
    """After how many microseconds the next attempt may begin; None if there is none."""
    after = duration_us(error.delay, "RetryAfter") if isinstance(error, RetryAfter) else None
    return policy_of(task).decide(
        info.types or (info.type,),
        attempt=task.attempt,
        elapsed_us=now - task.scheduled_at,
        random_fraction=fraction,
        retry_after_us=after,
        retryable=info.retryable,
    )


def limit_of(task: ClaimedTask, policy: WirePolicy, now: int) -> tuple[int | None, str | None]:
    """How long an attempt may take that begins now, and why it may not even begin."""
    if task.start_by is not None and now >= task.start_by:
        return None, "it did not start within schedule_to_start: no worker with it was free in time"
    if task.deadline is not None and now >= task.deadline:
        return None, too_late(task, policy)
    limits = [limit for limit in (policy.attempt_timeout_us, task.deadline and task.deadline - now) if limit]
    return min(limits, default=None), None


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
