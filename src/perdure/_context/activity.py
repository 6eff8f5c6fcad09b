"""The context of an activity; complete here, so that a test's stand-in is of the very class that a worker makes."""

from __future__ import annotations

import asyncio
import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from perdure._context.trace import ContextLogger, Traces
from perdure._types import from_us
from perdure.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from perdure._client import Client

T = TypeVar("T")


class ActivityServices:
    """What all executions of one activity on one worker share."""

    __slots__ = ("client", "logger", "state")

    def __init__(
        self, *, client: Client | None = None, state: object = None, logger: logging.Logger | None = None
    ) -> None:
        self.client = client
        self.state = state
        self.logger = logger or logging.getLogger("perdure.activity")


class Progress:
    """What an activity says while it runs, and what an attempt before it has said: here of none, which nobody hears."""

    __slots__ = ()

    def beat(self, details: object) -> None:
        """It lives, and this is how far it is."""

    def last(self, type_: type[T]) -> T | None:  # noqa: ARG002 - of others
        """What the attempt before this one said last."""
        return None


class Remembered(Progress):
    """The progress of a stand-in, which was said beforehand."""

    __slots__ = ("_said",)

    def __init__(self, said: object) -> None:
        self._said = said

    def last(self, type_: type[T]) -> T | None:  # noqa: ARG002 - it is of the type that the test gave it
        """What the test says that an attempt before has said."""
        return cast("T | None", self._said)


_UNHEARD = Progress()


def _never() -> bool:
    return False


class ActivityContext(Traces):
    """What an activity is told about this execution of it, and what it may use.

    Attributes:
        instance_id: The instance that asked for the activity.
        execution_id: Its execution, from 1.
        orchestration_name: Its orchestration.
        orchestration_version: The version of that.
        activity_name: The activity's own durable name.
        attempt: From 1; grows when the activity failed and is tried again.
        deliveries: From 1; grows when a worker died, not when the activity failed.
        session: The session that it was asked for in, or None. Activities of one run on one worker, but not one by one.
    """

    __slots__ = (
        "_connection",
        "_deadline_us",
        "_idempotency_key",
        "_is_cancelled",
        "_logger",
        "_progress",
        "_scheduled_at_us",
        "_services",
        "activity_name",
        "attempt",
        "deliveries",
        "execution_id",
        "instance_id",
        "orchestration_name",
        "orchestration_version",
        "session",
    )

    _is_of_activities = True

    def __init__(
        self,
        *,
        instance_id: str,
        execution_id: int,
        orchestration_name: str,
        orchestration_version: str,
        activity_name: str,
        attempt: int,
        deliveries: int,
        idempotency_key: str | Callable[[], str],
        scheduled_at_us: int,
        deadline_us: int | None,
        services: ActivityServices,
        is_cancelled: Callable[[], bool] = _never,
        progress: Progress = _UNHEARD,
        connection: Callable[[], Any] | None = None,
        session: str | None = None,
    ) -> None:
        self.instance_id: Final = instance_id
        self.execution_id: Final = execution_id
        self.orchestration_name: Final = orchestration_name
        self.orchestration_version: Final = orchestration_version
        self.activity_name: Final = activity_name
        self.attempt: Final = attempt
        self.deliveries: Final = deliveries
        self.session: Final = session
        self._idempotency_key = idempotency_key
        self._scheduled_at_us = scheduled_at_us
        self._deadline_us = deadline_us
        self._services = services
        self._is_cancelled = is_cancelled
        self._progress = progress
        self._connection = connection
        self._logger: ContextLogger | None = None

    @property
    def idempotency_key(self) -> str:
        """A key of 26 characters for the outside world, the same on every attempt and every delivery."""
        key = self._idempotency_key
        return key if isinstance(key, str) else key()

    @property
    def scheduled_at(self) -> datetime:
        """When the orchestration asked for the activity (UTC)."""
        return from_us(self._scheduled_at_us)

    @property
    def deadline(self) -> datetime | None:
        """When this attempt times out (UTC); None if it has no time limit."""
        return None if self._deadline_us is None else from_us(self._deadline_us)

    @property
    def client(self) -> Client:
        """The worker's client, for starting orchestrations and raising events.

        Raises:
            UsageError: The activity was called directly, outside a worker.
        """
        if self._services.client is None:
            raise UsageError(f"{self.activity_name} runs outside a worker, so its ctx.client is not there")
        return self._services.client

    @property
    def connection(self) -> Any:
        """The transaction of a transactional activity, which is committed with its result and with nothing else.

        On PostgreSQL psycopg's `AsyncConnection`, or in a plain `def` its `Connection`; on SQLite a `Transaction`,
        which holds the file's one writer: the activity has 2 seconds for all that it does. Nothing done with it is
        there before the activity has returned; end it in no other way.

        Raises:
            UsageError: The activity is not transactional, or the store, in memory, has no tables.

        Example:
            @activity(transactional=True)
            async def book(ctx: ActivityContext, order_id: str) -> None:
                await ctx.connection.execute("UPDATE orders SET booked = true WHERE id = %s", (order_id,))
        """
        if self._connection is None:
            raise UsageError(
                f"{self.activity_name} has no ctx.connection: write @activity(transactional=True), on a store in "
                "PostgreSQL or a SQLite file; in a test pass connection= to perdure.testing.activity_context, or a fake"
            )
        return self._connection()

    @property
    def cancelled(self) -> bool:
        """Whether the outcome is no longer wanted. For plain `def` activities; async ones get `CancelledError`."""
        return self._is_cancelled()

    def raise_if_cancelled(self) -> None:
        """Raise `asyncio.CancelledError` if the outcome is no longer wanted. Call it between steps of long work."""
        if self._is_cancelled():
            raise asyncio.CancelledError(f"{self.activity_name} was cancelled")

    def heartbeat(self, details: object = None) -> None:
        """Say that the activity lives, and how far it is, for the attempt that comes after this one if need be.

        Call it as often as you like, from the activity's own thread or task. `details` are any JSON of up to 65,536
        bytes; None leaves what was said before. What was said last is written at most once a second, and when the
        attempt fails or the worker shuts down: a worker that dies may lose the last second of it.

        Raises:
            PayloadError: The details can't be written as JSON.
            PayloadTooLargeError: They are too large.

        Example:
            for place in range(ctx.last_heartbeat(int) or 0, len(rows)):
                copy(rows[place])
                ctx.heartbeat(place + 1)
        """
        self._progress.beat(details)

    def last_heartbeat(self, type_: type[T], /) -> T | None:
        """The details of the last heartbeat of an attempt before this one; None if there was none.

        Raises:
            PayloadError: They don't fit the type.
        """
        return self._progress.last(type_)

    def state(self, type_: type[T], /) -> T:
        """What the lifespan of the activity's registry yielded: a connection pool, settings, a client.

        Raises:
            UsageError: There is no lifespan, or it yielded something of another type.
        """
        state = self._services.state
        if state is None:
            raise UsageError(
                f"ctx.state({_shown(type_)}): {self.activity_name} has no state; pass lifespan= to the Registry that "
                "registers it, or state= to perdure.testing.activity_context"
            )
        if not _fits(state, type_):
            raise UsageError(
                f"ctx.state({_shown(type_)}): the lifespan of {self.activity_name}'s registry yielded a "
                f"{_shown(type(state))}; ask for that, or yield the other"
            )
        return state  # type: ignore[return-value]  # checked above as far as it can be

    @property
    def logger(self) -> ContextLogger:
        """A logger (`perdure.activity`) whose records carry `instance_id`, `activity`, `attempt` and more."""
        if self._logger is None:
            extra = {
                "instance_id": self.instance_id,
                "execution_id": self.execution_id,
                "orchestration": self.orchestration_name,
                "activity": self.activity_name,
                "attempt": self.attempt,
            }
            self._logger = ContextLogger(self._services.logger, extra)
        return self._logger

    def __repr__(self) -> str:
        return f"<ActivityContext {self.activity_name} of {self.instance_id}, attempt {self.attempt}>"


def _fits(state: object, type_: type) -> bool:
    try:
        return isinstance(state, type_)
    except TypeError:
        # A Protocol, a TypedDict or list[str]: only type checkers can say.
        return True


def _shown(type_: object) -> str:
    return str(getattr(type_, "__qualname__", type_))


current_activity_context: ContextVar[ActivityContext | Callable[[], ActivityContext] | None] = ContextVar(
    "perdure_activity_context", default=None
)
"""The context of the activity that is running here, or what makes it: few activities ask for one."""


def running_activity_context() -> ActivityContext | None:
    """The context of the activity that is running here; an activity that calls another hands it on."""
    context = current_activity_context.get()
    return context if context is None or isinstance(context, ActivityContext) else context()


def activity_context(
    *,
    attempt: int = 1,
    state: object = None,
    idempotency_key: str = "test",
    activity_name: str = "test::activity::test",
    last_heartbeat: object = None,
    connection: object = None,
    session: str | None = None,
) -> ActivityContext:
    """A stand-in context for calling an activity outside a worker, as unit tests do.

    Its instance is "test", its times are 1 January 2000, nothing ever cancels it, and nobody hears its heartbeats.
    `last_heartbeat` is what an attempt before it said, `connection` what a transactional activity is given.

    Example:
        receipt = await charge.fn(activity_context(attempt=2, state=FakePool()), order)
    """
    return ActivityContext(
        instance_id="test",
        execution_id=1,
        orchestration_name="test::orchestration::test",
        orchestration_version="1.0.0",
        activity_name=activity_name,
        attempt=attempt,
        deliveries=1,
        idempotency_key=idempotency_key,
        scheduled_at_us=946_684_800_000_000,
        deadline_us=None,
        services=ActivityServices(state=state),
        progress=Remembered(last_heartbeat),
        connection=None if connection is None else lambda: connection,
        session=session,
    )
