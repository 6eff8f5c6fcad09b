"""Runs activities on the user's event loop and in a pool of threads; tells the engine how they ended.

Laws kept here: an activity starts only after the commit that asked for it; an attempt's failure is decided here, by its
policy, and never reaches history while attempts are left.
"""

import asyncio
import contextvars
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from perdure._context import ActivityContext, ActivityServices, current_activity_context
from perdure._ports import Clock, Entropy
from perdure._registry import Registry
from perdure._retry import WirePolicy, from_wire
from perdure._runtime.inbox import Ended, Entry, GoesBack
from perdure._runtime.line import Line
from perdure._runtime.threads import Threads
from perdure._types import duration_us, idempotency_key
from perdure._work import ActivityOutcome, ClaimedTask, TaskRelease, TaskRetry
from perdure.errors import ErrorInfo, HistoryCorruptError, RetryAfter, error_info_from_exception

if TYPE_CHECKING:
    from perdure._definitions import Activity

_log = logging.getLogger("perdure.runtime")
_encode = msgspec.json.Encoder().encode
_ONE_ATTEMPT = WirePolicy()

UNKNOWN_DELAY_US = 1_000_000
"""How long an activity that this worker does not have is left to others before it is looked at again."""

TaskKey = tuple[int, int, int]


def key_of(task: ClaimedTask) -> TaskKey:
    """What names a task."""
    return (task.incarnation, task.execution, task.event)


class Attempt:
    """An activity that runs now."""

    __slots__ = ("_context", "_plan", "cancelled", "deadline_us", "has_begun", "key", "limit", "runner", "task")

    def __init__(self, task: ClaimedTask, key: TaskKey) -> None:
        self.task = task
        self.key = key
        self.runner: asyncio.Task[None] | None = None
        self.has_begun = False
        self.cancelled = False
        self.limit: asyncio.Timeout | None = None
        self.deadline_us: int | None = None
        self._context: ActivityContext | None = None

    def is_wanted_no_more(self, closing: bool) -> bool:  # noqa: FBT001 - the worker's state
        """Whether a cancellation came from us or from its time limit; one of the activity's own making is a failure."""
        return self.cancelled or closing or (self.limit is not None and self.limit.expired())

    def interrupt(self, why: str) -> None:
        """Cancel what runs. A task that is cancelled before its first step never runs: it sees for itself, then."""
        if self.runner is not None and self.has_begun:
            self.runner.cancel(why)

    def is_cancelled(self) -> bool:
        """Whether its outcome is no longer wanted."""
        return self.cancelled

    def idempotency_key(self) -> str:
        """The same for every attempt and delivery of this task."""
        task = self.task
        return idempotency_key(task.incarnation, task.execution, task.event)

    def follow(self, plan: "Plan") -> None:
        """Make `context` the context of what is called from here on."""
        self._plan = plan
        current_activity_context.set(self.context)

    def context(self) -> ActivityContext:
        """What the activity is told; made when it is first asked for."""
        if self._context is None:
            task, plan = self.task, self._plan
            self._context = ActivityContext(
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
            )
        return self._context


class Plan:
    """What is known of an activity before it is called: looked up once, not at every call."""

    __slots__ = ("decode", "encode", "invoke", "is_async", "name", "services", "takes_ctx", "what")

    invoke: Callable[[Sequence[Any]], Any]

    def __init__(self, activity: "Activity[..., Any]", services: ActivityServices) -> None:
        self.name = activity.name
        self.services = services
        self.is_async = activity.is_async
        self.takes_ctx = activity.takes_ctx
        self.decode = activity.inputs_codec.decode
        self.encode = activity.result_codec.encode
        self.invoke: Callable[..., Any] = (
            _directly(activity) if activity.is_async and not activity.needs_instance else activity.invoke
        )
        self.what = f"result of activity {activity.name}"


class Activities:
    """The activity slots of a worker. Every method runs on the user's event loop."""

    def __init__(
        self,
        *,
        registry: Registry,
        clock: Clock,
        entropy: Entropy,
        slots: int,
        threads: int,
        put: Callable[[list[Entry]], None],
        services: Callable[[str], ActivityServices],
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._entropy = entropy
        self._slots = slots
        self._put = put
        self._services = services
        self._waiting = Line()
        self._running: dict[TaskKey, Attempt] = {}
        self._outbox: list[Entry] = []
        self._plans: dict[str, Plan] = {}
        self._unwanted: set[TaskKey] = set()
        self._idle: asyncio.Event = asyncio.Event()
        self._idle.set()
        self._closed = False
        self._loop = asyncio.get_running_loop()
        # Each attempt gets a copy of its own: a slot that is passed on must not hand on what the last one has set.
        self._variables = contextvars.copy_context()
        self._threads = Threads(threads, "perdure-activity", self._loop)
        self._hurried = asyncio.Event()

    @property
    def under_way(self) -> int:
        """How many run or wait for a slot; one that has ended and still has its slot is not among them."""
        runners = [attempt.runner for attempt in self._running.values()]
        return len(self._waiting) + sum(runner is not None and not runner.done() for runner in runners)

    def accept(self, tasks: list[ClaimedTask]) -> None:
        """Run these, as slots become free."""
        if self._closed:
            for task in tasks:
                self._report(GoesBack(task, _release(task)))
            return
        self._idle.clear()
        self._waiting.join(tasks)
        self._fill()

    def _fill(self) -> None:
        while self._waiting and len(self._running) < self._slots:
            task = self._waiting.next()
            key = key_of(task)
            if self._unwanted and key in self._unwanted:
                self._unwanted.discard(key)
                self._report(GoesBack(task, _release(task)))
                continue
            attempt = self._running[key] = Attempt(task, key)
            runner = self._loop.create_task(self._run(attempt), name=task.name, context=self._variables.copy())
            attempt.runner = runner
        if not self._waiting and not self._running:
            self._idle.set()

    def cancel(self, keys: list[TaskKey]) -> None:
        """The outcomes of these are no longer wanted."""
        for key in keys:
            attempt = self._running.get(key)
            if attempt is None:
                self._unwanted.add(key)
                continue
            attempt.cancelled = True
            attempt.interrupt("the orchestration no longer wants this activity")
        if self._unwanted:
            waiting = {key_of(task) for task in self._waiting}
            self._unwanted &= waiting

    def keep(self, waiting_max: int) -> None:
        """Give back what waits for a slot, but for so many: others may have one."""
        waiting, self._waiting = list(self._waiting), Line()
        self._waiting.join(waiting[:waiting_max])
        for task in waiting[waiting_max:]:
            self._unwanted.discard(key_of(task))
            self._report(GoesBack(task, _release(task)))

    # -- one attempt -----------------------------------------------------------------------------------------------

    async def _run(self, attempt: Attempt) -> None:
        task = attempt.task
        attempt.has_begun = True
        entry: Entry
        try:
            plan = self._plans.get(task.name) or self.find_plan(task.name)
            if attempt.cancelled:
                entry = GoesBack(task, _release(task))
            elif plan is None:
                entry = self._unknown(task)
            elif task.retry is None and task.deadline is None and task.start_by is None:
                entry = await self._attempt(attempt, plan)
            else:
                entry = await self._limited(attempt, plan)
        except asyncio.CancelledError as error:
            if attempt.cancelled or self._closed:
                entry = GoesBack(task, _release(task))
            else:
                # By its own hand: handed back, it would do it again and again.
                entry = self._failed(task, error, timed_out=False)
        except BaseException as error:  # noqa: BLE001 - the engine must hear of every end
            _log.exception("the engine failed to run %s", task.name)
            # A damaged row is as damaged at the next attempt, and so may be the policy that would ask for one.
            entry = self._failed(task, error, timed_out=False, final=isinstance(error, HistoryCorruptError))
        self._running.pop(attempt.key, None)
        # The task's variables lead to the attempt: without this only the garbage collector would part them.
        attempt.runner = None
        self._report(entry)
        if self._waiting:
            self._fill()
        elif not self._running:
            self._idle.set()

    def _unknown(self, task: ClaimedTask) -> Entry:
        """An activity that this worker does not have: it was claimed because its time is over, or by mistake."""
        overdue = self._limit(task, _policy(task))[1]
        if overdue is not None:
            return self._failed(task, TimeoutError(overdue), timed_out=True, final=True)
        return GoesBack(task, _release(task, UNKNOWN_DELAY_US))

    def forget_plans(self) -> None:
        """Look everything up again."""
        self._plans.clear()

    def find_plan(self, name: str) -> "Plan | None":
        """What to call for an activity, None when this worker does not have it."""
        activity = self._registry.activity(name)
        if activity is None:
            return None
        plan = self._plans[name] = Plan(activity, self._services(activity.name))
        return plan

    async def _limited(self, attempt: Attempt, plan: "Plan") -> Entry:
        """An attempt that has a policy or a deadline."""
        task = attempt.task
        policy = _policy(task)
        limit_us, overdue = self._limit(task, policy)
        if overdue is not None:
            return self._failed(task, TimeoutError(overdue), timed_out=True, final=True)
        if limit_us is None:
            return await self._attempt(attempt, plan)
        try:
            async with asyncio.timeout(limit_us / 1e6) as attempt.limit:
                attempt.deadline_us = self._clock.now_us() + limit_us
                return await self._attempt(attempt, plan)
        except TimeoutError:
            # Every other error `_attempt` has kept.
            late = _late(limit_us) if limit_us == policy.attempt_timeout_us else _too_late(task, policy)
            return self._failed(task, TimeoutError(late), timed_out=True)

    async def _attempt(self, attempt: Attempt, plan: "Plan") -> Entry:
        task = attempt.task
        try:
            arguments = plan.decode(task.input)
            attempt.follow(plan)
            if plan.takes_ctx:
                arguments = (attempt.context(), *arguments)
            if plan.is_async:
                value = await plan.invoke(arguments)
            else:
                call = partial(contextvars.copy_context().run, _plain, plan.invoke, arguments)
                value = await self._threads.call(call)
        except asyncio.CancelledError as error:
            if attempt.is_wanted_no_more(self._closed):
                raise
            return self._failed(task, error, timed_out=False)
        except BaseException as error:  # noqa: BLE001 - SystemExit too is a failure of this attempt and of nothing else
            return self._failed(task, error, timed_out=False)
        try:
            result = plan.encode(value, what=plan.what)
        except Exception as error:  # noqa: BLE001 - a result that doesn't fit is a failure, in words
            return self._failed(task, error, timed_out=False, final=True)
        return Ended(
            task,
            ActivityOutcome(execution=task.execution, source=task.event, result=Raw(result), attempts=task.attempt),
        )

    def _limit(self, task: ClaimedTask, policy: WirePolicy) -> tuple[int | None, str | None]:
        """How long this attempt may take, and why it may not even begin."""
        if task.deadline is None and task.start_by is None and policy.attempt_timeout_us is None:
            return None, None
        now = self._clock.now_us()
        if task.start_by is not None and now >= task.start_by:
            return None, "it did not start within schedule_to_start: no worker with it was free in time"
        if task.deadline is not None and now >= task.deadline:
            return None, _too_late(task, policy)
        limits = [limit for limit in (policy.attempt_timeout_us, task.deadline and task.deadline - now) if limit]
        return min(limits, default=None), None

    # -- how it ended ----------------------------------------------------------------------------------------------

    def _failed(self, task: ClaimedTask, error: BaseException, *, timed_out: bool, final: bool = False) -> Entry:
        info = error_info_from_exception(error, attempts=task.attempt)
        delay = None if final else self._retry_delay(task, error, info)
        if delay is not None:
            return GoesBack(
                task,
                TaskRetry(
                    incarnation=task.incarnation,
                    execution=task.execution,
                    event=task.event,
                    attempt=task.attempt + 1,
                    delay_us=delay,
                    last_error=_encode(info),
                ),
            )
        outcome = ActivityOutcome(
            execution=task.execution, source=task.event, error=info, attempts=task.attempt, timed_out=timed_out
        )
        return Ended(task, outcome)

    def _retry_delay(self, task: ClaimedTask, error: BaseException, info: ErrorInfo) -> int | None:
        policy = _policy(task)
        after = duration_us(error.delay, "RetryAfter") if isinstance(error, RetryAfter) else None
        return policy.decide(
            info.types or (info.type,),
            attempt=task.attempt,
            elapsed_us=self._clock.now_us() - task.scheduled_at,
            random_fraction=self._entropy.fraction(),
            retry_after_us=after,
            retryable=info.retryable,
        )

    def _report(self, entry: Entry) -> None:
        """Tell the engine, together with whatever else ends in this round of the loop."""
        if not self._outbox:
            self._loop.call_soon(self._flush)
        self._outbox.append(entry)

    def _flush(self) -> None:
        entries, self._outbox = self._outbox, []
        self._put(entries)

    # -- the end ---------------------------------------------------------------------------------------------------

    async def close(self, grace_us: int) -> None:
        """Let what runs end within the grace time, hand the rest back, and stop the threads."""
        self._closed = True
        while self._waiting:
            task = self._waiting.next()
            self._report(GoesBack(task, _release(task)))
        runners = [attempt.runner for attempt in self._running.values() if attempt.runner is not None]
        if grace_us > 0:
            await self._grace(runners, grace_us / 1e6)
        late = [runner for runner in runners if not runner.done()]
        for attempt in self._running.values():
            attempt.cancelled = True
            attempt.interrupt("the worker shuts down")
        if late:
            await asyncio.wait(late, timeout=1.0)
        if self._outbox:
            self._flush()
        self._threads.close()

    async def _grace(self, runners: "list[asyncio.Task[None]]", seconds: float) -> None:
        hurry = self._loop.create_task(self._hurried.wait())
        # A cancelled plain activity ends when it looks; until then it may use what its lifespan yielded.
        idle = self._loop.create_task(self._threads.idle())
        ending: asyncio.Future[Any] = asyncio.gather(*runners, idle, return_exceptions=True)
        waiting: list[asyncio.Future[Any]] = [hurry, ending]
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        idle.cancel()

    def hurry(self) -> None:
        """Whoever waits for `close` has no more patience: the grace time is over."""
        self._hurried.set()


def _directly(activity: "Activity[..., Any]") -> Callable[[Sequence[Any]], Any]:
    """What `activity.invoke` does for an `async def` that can run, without asking at every call whether it is one."""
    fn = activity.fn
    return lambda arguments: fn(*arguments)


def _plain(invoke: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    # StopIteration can't be raised into a future, and SystemExit would end the thread without a word.
    try:
        return invoke(arguments)
    except (StopIteration, SystemExit, KeyboardInterrupt) as error:
        raise RuntimeError(f"the activity raised {type(error).__name__}: {error}") from error


def _policy(task: ClaimedTask) -> WirePolicy:
    return _ONE_ATTEMPT if task.retry is None else from_wire(task.retry)


def _release(task: ClaimedTask, delay_us: int = 0) -> TaskRelease:
    return TaskRelease(incarnation=task.incarnation, execution=task.execution, event=task.event, delay_us=delay_us)


def _late(limit_us: int) -> str:
    return f"it did not end within {limit_us / 1e6:g} s"


def _too_late(task: ClaimedTask, policy: WirePolicy) -> str:
    late = f"it did not end within its total timeout of {(policy.total_timeout_us or 0) / 1e6:g} s"
    if task.last_error is None:
        return late
    return f"{late}; the last attempt failed with {msgspec.json.decode(task.last_error, type=ErrorInfo).summary}"
