"""Every error that Perdure raises or records, in one tree, grouped by who must act.

::

    PerdureError
      OutcomeError                      1. orchestration code catches it
        ActivityError
          ActivityTimeoutError          (also TimeoutError)
        MapError
        OrchestrationError
          OrchestrationCancelledError
          OrchestrationTerminatedError
        RequestError
          RequestRejectedError
      UnansweredError
      NonRetryableError                 2. activity code raises it
      RetryAfter
      UsageError                        3. the author must act, at the line that is wrong
        RegistrationError
        ForbiddenCallError
        PayloadError                    (also ValueError)
        LimitError
          PayloadTooLargeError          (also PayloadError)
      HeldError                         4. shown on held instances, never raised in an orchestration
        ReplayMismatchError
        HistoryCorruptError
        UnknownDefinitionError
        UnknownFormatError
        TurnLimitError
        StuckError
        PoisonedError
      ClientError                       5. the caller of a client hears it
        InstanceNotFoundError           (also LookupError)
          InstanceReplacedError
        UnknownRequestError             (also LookupError)
        InstanceHeldError
        InstanceExistsError
        InstanceClosedError
        InstanceOpenError
        NotHeldError
        InstanceMovedError
        InstanceComingError
        RewindError
        ExportFileError
        ResultTimeoutError              (also TimeoutError)
      StorageError                      6. the operator must act
        StorageUnavailableError
          StorageBusyError
          StorageFullError
        OutcomeUnknownError
        SchemaVersionError
        ForeignDatabaseError
        DatabaseCorruptError
        FencedError
        ForkedError

Only plain data crosses a process boundary: an exception is recorded as an `ErrorInfo` and never as an object. Every
class can be copied (`copy.copy`) and printed, whatever it was made from.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from perdure.errors._record import DELAY_S_MAX, action, record, seconds_of, shown, with_reason
from perdure.errors._record import ErrorInfo as ErrorInfo
from perdure.errors._record import qualified_name as qualified_name


class PerdureError(Exception):
    """The root of all errors of Perdure."""

    def __init__(self, *args: object) -> None:
        # Not super().__init__: OSError, a base of the timeouts, would read two arguments as an errno and its text.
        Exception.__init__(self, *args)


class OutcomeError(PerdureError):
    """An activity or another orchestration ended without a result; `error` is what was recorded of it.

    Orchestration code catches the subclasses, and asks `caused_by` for the reason::

        try:
            receipt = await ctx.schedule_activity(charge, order)
        except ActivityError as exc:
            if not exc.caused_by(CardDeclined):
                raise
    """

    def __init__(self, error: ErrorInfo, *args: object) -> None:
        super().__init__(error, *args)
        self.error = error
        if error.traceback:
            # Shown by Python below the local traceback: the line that failed is in another process or another turn.
            self.add_note(f"Recorded traceback:\n{error.traceback.rstrip()}")

    def __str__(self) -> str:
        return self.error.summary

    def caused_by(self, type_: type[BaseException], /) -> bool:
        """Whether the recorded exception was a `type_` or a subclass of it.

        Classes are compared by their qualified names, so the answer is the same in a process where the exception's
        module was never imported. An exception that wraps an outcome (an orchestration that failed because its activity
        did), and a `NonRetryableError` or `RetryAfter` raised `from` another, count as caused by what they wrap.
        """
        return type_ is BaseException or qualified_name(type_) in (self.error.types or (self.error.type,))


class ActivityError(OutcomeError):
    """An activity failed for good: it raised on its last attempt, or raised something that is not retried."""

    def __init__(self, error: ErrorInfo, activity_name: str) -> None:
        super().__init__(error, activity_name)
        self.activity_name = activity_name

    def __str__(self) -> str:
        return f"activity {self.activity_name} failed{self._attempts()}: {self.error.summary}"

    def _attempts(self) -> str:
        return f" after {self.error.attempts} attempts" if self.error.attempts > 1 else ""


class ActivityTimeoutError(ActivityError, TimeoutError):
    """An activity did not end within its attempt, total or heartbeat time."""

    def __str__(self) -> str:
        return f"activity {self.activity_name} timed out{self._attempts()}: {self.error.message}"


class MapError(OutcomeError):
    """More items of a `ctx.map` failed than its policy allows.

    `error` is the first failure, `result` the `MapResult` with all that there is.
    """

    def __init__(self, error: ErrorInfo, result: Any) -> None:
        super().__init__(error, result)
        self.result = result

    def __str__(self) -> str:
        return f"{len(self.result.failed):,} of {len(self.result.outcomes):,} items failed, first: {self.error.summary}"


class OrchestrationError(OutcomeError):
    """An orchestration failed: raised for a child, and by `handle.result()`."""

    def __init__(self, error: ErrorInfo, instance_id: str) -> None:
        super().__init__(error, instance_id)
        self.instance_id = instance_id

    def __str__(self) -> str:
        return f"orchestration instance {self.instance_id!r} failed: {self.error.summary}"


class OrchestrationCancelledError(OrchestrationError):
    """A child, or the instance asked for, ended as cancelled (`asyncio.CancelledError` would mean that *you* are)."""

    def __str__(self) -> str:
        return with_reason(f"orchestration instance {self.instance_id!r} was cancelled", self.error.message)


class OrchestrationTerminatedError(OrchestrationError):
    """A child, or the instance asked for, was terminated."""

    def __str__(self) -> str:
        return with_reason(f"orchestration instance {self.instance_id!r} was terminated", self.error.message)


class RequestError(OutcomeError):
    """A query or an update was answered with an error: its handler raised, which is what `error` tells."""

    def __init__(self, error: ErrorInfo, instance_id: str, name: str) -> None:
        super().__init__(error, instance_id, name)
        self.instance_id = instance_id
        self.name = name

    def __str__(self) -> str:
        return f"instance {self.instance_id!r} answered {self.name!r} with an error: {self.error.summary}"


class RequestRejectedError(RequestError):
    """An update was not let in, and has changed nothing: its value does not fit, or its validator raised."""

    def __str__(self) -> str:
        return f"instance {self.instance_id!r} rejected {self.name!r}: {self.error.summary}"


class UnansweredError(PerdureError):
    """The answer to an update whose handler was still at work when the execution ended or continued as new."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"the execution ended before update {self.name!r} was answered: what it has done so far stays; ask again"


class NonRetryableError(PerdureError):
    """Raised by activity code: this failure is final, whatever the retry policy says.

    >>> raise NonRetryableError("the card is stolen") from exc  # doctest: +SKIP
    """


class RetryAfter(PerdureError):  # noqa: N818 -- it asks for something, as an HTTP header of this name does
    """Raised by activity code: try again, not before `delay` (seconds or a timedelta) has passed.

    It counts as an attempt. Raises `UsageError` if the delay is negative or no number, `LimitError` if it is too long.

    >>> raise RetryAfter(30)  # doctest: +SKIP
    """

    def __init__(self, delay: timedelta | float, /) -> None:
        super().__init__(delay)
        if (seconds := seconds_of(delay)) is None:
            raise UsageError(f"RetryAfter takes seconds (0 or more) or a timedelta, not {shown(delay)}")
        if seconds > DELAY_S_MAX:
            raise LimitError(f"RetryAfter is {shown(delay)}; the longest is {DELAY_S_MAX} s, 8029 years")
        self.delay = delay

    def __str__(self) -> str:
        return f"retry after {self.delay}" + ("" if isinstance(self.delay, timedelta) else " s")


class UsageError(PerdureError):
    """The calling code is wrong; the message says where and what to write instead."""


class RegistrationError(UsageError):
    """A definition can't be registered: its signature, types, name or version are not usable."""


class ForbiddenCallError(UsageError):
    """Orchestration code reached for the world (a clock, a socket, a thread); the message names the durable way."""


class PayloadError(UsageError, ValueError):
    """A value does not fit its annotation, or can't be JSON; the message names the path inside the value, and both."""


class LimitError(UsageError):
    """A named limit was passed; the message says the limit, the value, and what to do."""


class PayloadTooLargeError(LimitError, PayloadError):
    """A payload has more bytes of JSON than is allowed."""

    def __init__(self, message: str, *, size_bytes: int | None = None, limit_bytes: int | None = None) -> None:
        super().__init__(message)
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes


class HeldError(PerdureError):
    """An instance is held, visibly, until its code or history is mended. Raised by `run`, never in an orchestration.

    `event_id` is the event at which the instance stopped, where there is one.
    """

    def __init__(self, *args: object, event_id: int | None = None) -> None:
        super().__init__(*args)
        self.event_id = event_id


class ReplayMismatchError(HeldError):
    """The code asked for something else than its history records.

    `recorded` and `attempted` describe both actions (None: history ends there, or the code asked for nothing);
    `recorded_at` and `attempted_at` are their source lines ("shop/orders.py:41") where known.
    """

    def __init__(
        self,
        event_id: int | None,
        recorded: str | None,
        attempted: str | None,
        recorded_at: str | None = None,
        attempted_at: str | None = None,
    ) -> None:
        super().__init__(event_id, recorded, attempted, recorded_at, attempted_at, event_id=event_id)
        self.recorded = recorded
        self.attempted = attempted
        self.recorded_at = recorded_at
        self.attempted_at = attempted_at

    def __str__(self) -> str:
        at = "" if self.event_id is None else f" at event {self.event_id}"
        return (
            f"code and history differ{at}: history records {action(self.recorded, self.recorded_at)}, "
            f"the code asked for {action(self.attempted, self.attempted_at)}. Bring the old code back, or register "
            "the changed code under a new version"
        )


class HistoryCorruptError(HeldError):
    """A stored history breaks its own rules (a gap, a checksum, a completion of nothing): inspect or restore it."""


class UnknownDefinitionError(HeldError):
    """No worker here has an activity or orchestration of this name and version: register it, or give it an alias."""

    def __init__(self, kind: str, name: str, version: str | None = None, known: Sequence[str] = ()) -> None:
        super().__init__(kind, name, version, known)
        self.kind, self.name, self.version = kind, name, version
        self.known = tuple(known)

    def __str__(self) -> str:
        version = "" if self.version is None else f" in version {self.version}"
        known = f" (registered: {', '.join(self.known)})" if self.known else ""
        return (
            f"no {self.kind} named {self.name!r}{version} is registered here{known}. Register it, or give the "
            "definition that replaces it this name in aliases=(...)"
        )


class UnknownFormatError(HeldError):
    """A row was written in a format that this release can't read: a newer worker must take it."""


class TurnLimitError(HeldError):
    """Orchestration code did not yield within the turn limit: it blocks or loops; the message shows its stack."""


class StuckError(HeldError):
    """The orchestration waits for something that no durable event can bring; the message shows where."""


class PoisonedError(HeldError):
    """A turn or an activity killed its worker again and again; it is not delivered any more."""


class ClientError(PerdureError):
    """A request of a client can't be met as things are."""


class _InstanceError(ClientError):
    """The shape of the errors about one instance."""

    def __init__(self, instance_id: str, *args: object) -> None:
        super().__init__(instance_id, *args)
        self.instance_id = instance_id


class InstanceNotFoundError(_InstanceError, LookupError):
    """There is no instance of this id."""

    def __init__(self, instance_id: str, what: str = "instance") -> None:
        super().__init__(instance_id, what)
        self.what = what

    def __str__(self) -> str:
        return f"there is no {self.what} {self.instance_id!r} in this store: check the id and the store's URL"


class UnknownRequestError(_InstanceError, LookupError):
    """The instance has no handler for a query or an update of this name."""

    def __init__(self, instance_id: str, why: str) -> None:
        super().__init__(instance_id, why)
        self.why = why

    def __str__(self) -> str:
        return f"instance {self.instance_id!r} has {self.why}"


class InstanceHeldError(_InstanceError):
    """The instance is held, so it answers nothing until it is mended."""

    def __init__(self, instance_id: str, why: str | None) -> None:
        super().__init__(instance_id, why)
        self.why = why

    def __str__(self) -> str:
        return f"instance {self.instance_id!r} is held and answers nothing: {self.why}"


class InstanceExistsError(_InstanceError):
    """The id is taken, and the conflict policy is "fail"; or by an instance of another orchestration, `name`."""

    def __init__(self, instance_id: str, name: str | None = None) -> None:
        super().__init__(instance_id, name)
        self.name = name

    def __str__(self) -> str:
        cure = ', or pass on_conflict="use_existing", "restart_if_closed" or "terminate_and_restart"'
        other = f", and it is one of another orchestration, {self.name!r}" if self.name is not None else ""
        return f"there is already an instance {self.instance_id!r}{other}: choose another id{'' if other else cure}"


class InstanceClosedError(_InstanceError):
    """The instance has ended, so it takes no events, cancels or terminates any more; `status` is how it ended."""

    def __init__(self, instance_id: str, status: str = "closed") -> None:
        super().__init__(instance_id, status)
        self.status = status

    def __str__(self) -> str:
        moved = "has moved to another store, which its held_because names: ask there"
        ended = f"has ended ({self.status}) and takes no more messages"
        return f"instance {self.instance_id!r} {moved if self.status == 'moved' else ended}"


class InstanceOpenError(_InstanceError):
    """The instance has not ended yet, and the request (a delete) needs that; `status` is where it stands."""

    def __init__(self, instance_id: str, status: str = "open") -> None:
        super().__init__(instance_id, status)
        self.status = status

    def __str__(self) -> str:
        return (
            f"instance {self.instance_id!r} has not ended ({self.status}): cancel or terminate it first, "
            "or pass force=True"
        )


class ResultTimeoutError(_InstanceError, TimeoutError):
    """The instance did not end, or do what was waited for, within the time that a `timeout` allowed; it goes on."""

    def __init__(self, instance_id: str, timeout_s: float, what: str = "end", now: str = "goes on, ask again") -> None:
        super().__init__(instance_id, timeout_s, what, now)
        self.timeout_s, self.what, self.now = timeout_s, what, now

    def __str__(self) -> str:
        return f"instance {self.instance_id!r} did not {self.what} within {self.timeout_s:g} s; it {self.now}"


class StorageError(PerdureError):
    """The store can't do its work. Infrastructure never fails an orchestration: the operator acts, the work goes on."""


class StorageUnavailableError(StorageError):
    """The store can't be reached now; nothing was applied; the call may be repeated as it is."""


class StorageBusyError(StorageUnavailableError):
    """Another process kept the database locked for longer than the busy limit."""


class StorageFullError(StorageUnavailableError):
    """There is no space left for the database; work resumes when there is."""


class OutcomeUnknownError(StorageError):
    """It happened or not: a commit whose connection broke, or an activity that must not be repeated unasked."""


class SchemaVersionError(StorageError):
    """The database has a schema that this release does not read or write; the message says which release does."""


class ForeignDatabaseError(StorageError):
    """The file or schema is not, or is no longer, the Perdure database that it should be; nothing was written to it."""


class DatabaseCorruptError(StorageError):
    """The database is damaged; the message names it. Stop, keep a copy, restore it or export what is readable."""


class FencedError(StorageError):
    """This worker has lost its lease (it was silent for too long); nothing of the commit was applied."""


class ForkedError(StorageError):
    """The store was opened before a fork and is used in the child: open a new one there."""


def error_info_from_exception(exc: BaseException, *, attempts: int = 1) -> ErrorInfo:
    """Record an exception as plain data; never raises, whatever the exception does when it is looked at.

    `attempts` counts from 1. The message is cut at 8 KiB of UTF-8 and the traceback at 32 KiB, each marked as cut; NUL
    characters and lone surrogates become U+FFFD. An attribute `details` of the exception is kept when it is JSON of at
    most 8 KiB. Not retryable are a `NonRetryableError` and a `UsageError`: another attempt would end the same.
    """
    retryable = not isinstance(exc, NonRetryableError | UsageError)
    return record(exc, types=tuple(dict.fromkeys(_types(exc))), attempts=attempts, retryable=retryable)


def _types(exc: BaseException) -> Iterator[str]:
    yield from _class_names(exc)
    if isinstance(exc, OutcomeError):
        yield from exc.error.types or (exc.error.type,)
    elif isinstance(exc, NonRetryableError | RetryAfter) and exc.__cause__ is not None:
        yield from _class_names(exc.__cause__)


def _class_names(exc: BaseException) -> Iterator[str]:
    return (qualified_name(cls) for cls in type(exc).__mro__ if cls not in (object, BaseException))


from perdure.errors._elsewhere import ExportFileError as ExportFileError  # noqa: E402 - made of the above
from perdure.errors._elsewhere import InstanceComingError as InstanceComingError  # noqa: E402 - the same
from perdure.errors._elsewhere import InstanceMovedError as InstanceMovedError  # noqa: E402 - the same
from perdure.errors._elsewhere import InstanceReplacedError as InstanceReplacedError  # noqa: E402 - the same
from perdure.errors._elsewhere import NotHeldError as NotHeldError  # noqa: E402 - the same
from perdure.errors._elsewhere import RewindError as RewindError  # noqa: E402 - the same
