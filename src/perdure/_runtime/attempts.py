"""One attempt of an activity, and what is known of its activity before it is called."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from perdure._context import ActivityContext, ActivityServices, Progress, current_activity_context
from perdure._runtime.pulse import Desk, Pulse, read_details
from perdure._runtime.tallies import ActivityTally
from perdure._types import duration_us, idempotency_key
from perdure._work import ClaimedTask

if TYPE_CHECKING:
    from perdure._definitions import Activity
    from perdure.storage.lending import Loan

TaskKey = tuple[int, int, int]


def key_of(task: ClaimedTask) -> TaskKey:
    """What names a task."""
    return (task.incarnation, task.execution, task.event)


def is_limited(task: ClaimedTask) -> bool:
    """Whether there are limits to its attempts, or a policy."""
    return not (task.retry is None and task.deadline is None and task.start_by is None)


class Plan:
    """What is known of an activity before it is called: looked up once, not at every call."""

    __slots__ = (
        "decode", "encode", "grace_s", "holds", "invoke", "is_async", "is_plain", "is_special", "name", "probe",
        "services", "silence_s", "takes_ctx", "tally", "transactional", "what",
    )  # fmt: skip

    invoke: Callable[[Sequence[Any]], Any]

    def __init__(self, activity: "Activity[..., Any]", services: ActivityServices, tally: ActivityTally) -> None:
        self.name = activity.name
        self.services = services
        self.tally = tally
        self.is_async = activity.is_async
        self.takes_ctx = activity.takes_ctx
        self.transactional = activity.transactional
        self.decode = activity.inputs_codec.decode
        self.encode = activity.result_codec.encode
        self.invoke: Callable[..., Any] = (
            _directly(activity) if activity.is_async and not activity.needs_instance else activity.invoke
        )
        grace = activity.cancel_grace
        self.grace_s = None if grace is None else duration_us(grace, "cancel_grace") / 1e6
        self.holds = activity.on_unknown == "hold"
        self.probe = activity.probe
        self.what = f"result of activity {activity.name}"
        silence = activity.heartbeat_timeout
        self.silence_s = None if silence is None else duration_us(silence, "heartbeat_timeout") / 1e6
        self.is_special = silence is not None or activity.transactional
        """Whether there is more to an attempt than to call it."""
        self.is_plain = activity.is_async and not (self.is_special or self.holds)
        """Whether there is no more to it than to await it."""


def _directly(activity: "Activity[..., Any]") -> Callable[[Sequence[Any]], Any]:
    """What `activity.invoke` does for an `async def` that can run, without asking at every call whether it is one."""
    fn = activity.fn
    return lambda arguments: fn(*arguments)


class Attempt(Struct, Progress, eq=False):
    """An activity that runs now."""

    # A struct, because one is made for every call: a constructor in Python takes three times as long.
    task: ClaimedTask
    key: TaskKey
    desk: Desk
    runner: "asyncio.Task[None] | None" = None
    has_begun: bool = False
    cancelled: bool = False
    """Its outcome is no longer wanted."""
    stopped: bool = False
    """It shall end, and its outcome is wanted."""
    silent: str | None = None
    """In words, that it has said nothing for longer than it may."""
    lost: bool = False
    """Whether the worker has lost its place in the store since it was handed this."""
    in_thread: bool = False
    """Whether it runs in a thread, which hears of a cancellation when it asks."""
    is_promised: bool = False
    """Whether a thread is kept for it."""
    patience: asyncio.TimerHandle | None = None
    """When one that was told to end is given up."""
    given_up: bool = False
    probed: bool = False
    """Whether its probe runs, and not the activity."""
    limit: asyncio.Timeout | None = None
    deadline_us: int | None = None
    pulse: Pulse | None = None
    loan: "Loan | None" = None
    """The transaction that it runs in."""
    landed: bool | None = None
    """Whether that was committed; None while nobody has tried."""
    since_us: int = 0
    """When it began, by a clock of which only differences mean something."""
    plan: Any = None
    """What it is called by; None before that."""
    made: ActivityContext | None = None
    """What `context` has made."""

    def is_to_end(self, closing: bool) -> bool:  # noqa: FBT001 - the worker's state
        """Whether a cancellation came from us or from a time limit; one of the activity's own making is a failure."""
        return self.cancelled or self.stopped or closing or self.was_cut_off

    @property
    def was_cut_off(self) -> bool:
        """Whether a time limit has ended it."""
        return self.silent is not None or (self.limit is not None and self.limit.expired())

    def interrupt(self, why: str) -> None:
        """Cancel what runs. A task that is cancelled before its first step never runs: it sees for itself, then."""
        if self.runner is not None and self.has_begun:
            self.runner.cancel(why)

    def cancel(self) -> None:
        """Nobody wants its outcome any more."""
        self.cancelled = True
        # What is lent to a thread is not left to it: others wait for it.
        if not self.in_thread or self.loan is not None:
            self.interrupt("the orchestration no longer wants this activity")

    def stop(self) -> None:
        """Let it hear that it shall end, and wait until it has: in a thread it hears when it asks."""
        self.stopped = True
        plan = self.plan
        if self.has_begun and plan is not None and plan.is_async and not self.probed:
            self.interrupt("the orchestration wants this activity to end")

    def fall_silent(self, limit_s: float) -> None:
        """It has said nothing for too long."""
        self.silent = f"it said nothing for {limit_s:g} s, its heartbeat_timeout"
        self.interrupt("it has said nothing for longer than its heartbeat_timeout")

    def is_cancelled(self) -> bool:
        """Whether it shall end, or has ended for the engine, as a thread may have that goes on after its time limit."""
        return self.cancelled or self.stopped or self.runner is None

    def idempotency_key(self) -> str:
        """The same for every attempt and delivery of this task."""
        task = self.task
        return idempotency_key(task.incarnation, task.execution, task.event)

    # -- progress --------------------------------------------------------------------------------------------------

    def beat(self, details: object) -> None:
        """It lives, and this is how far it is; from any thread."""
        self.measured().beat(details)

    def last(self, type_: Any) -> Any:
        """What the attempt before this one said last."""
        return read_details(self.task.details, type_, self.task.name)

    def measured(self) -> Pulse:
        """Its pulse, made when it is first felt."""
        if self.pulse is None:
            self.pulse = Pulse(self.task, self.desk)
        return self.pulse

    def unsaid(self) -> bytes | None:
        """What it has said last, if the store has not heard it."""
        return None if self.pulse is None else self.pulse.take()

    # -- context ---------------------------------------------------------------------------------------------------

    def follow(self, plan: Plan) -> None:
        """Make `context` the context of what is called from here on."""
        self.plan = plan
        current_activity_context.set(self.context)

    def context(self) -> ActivityContext:
        """What the activity is told; made when it is first asked for."""
        if self.made is None:
            task, plan = self.task, self.plan
            self.made = ActivityContext(
                instance_id=task.instance_id,
                execution_id=task.execution,
                orchestration_name=task.orchestration_name,
                orchestration_version=task.orchestration_version,
                activity_name=plan.name,
                attempt=task.attempt,
                deliveries=task.deliveries,
                idempotency_key=self.idempotency_key,
                scheduled_at_us=task.scheduled_at,
                deadline_us=self.deadline_us,
                services=plan.services,
                is_cancelled=self.is_cancelled,
                progress=self,
                connection=None if self.loan is None else self._connection,
                session=task.session,
            )
        return self.made

    def _connection(self) -> Any:
        return None if self.loan is None else self.loan.connection


def call_plainly(invoke: Callable[..., Any], arguments: tuple[Any, ...], attempt: Attempt) -> Any:
    """Call a plain function, in its thread."""
    attempt.in_thread = True
    if attempt.pulse is not None:
        attempt.pulse.beat(None)
    return invoke(arguments)
