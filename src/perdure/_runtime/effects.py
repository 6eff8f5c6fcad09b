"""Activities that must not be run twice: what may have happened is found out by their probe, or by a person.

Laws kept here: that such an activity begins is durable before it is called; whatever was begun and has no outcome is
never called again before a probe or a person has said that it did not happen. An attempt that ended by itself, by a
result or an error, has an outcome, and its policy decides.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextvars import copy_context
from functools import partial
from typing import Any, Protocol, assert_never

from msgspec import Raw
from msgspec.structs import replace

from perdure._context import CannotTell, DidNotHappen, Failed, Happened, Verdict
from perdure._runtime.attempts import Attempt, Plan, TaskKey
from perdure._runtime.endings import release, stopped
from perdure._runtime.inbox import Ended, Entry, GoesBack, Says
from perdure._types import duration_us
from perdure._work import ActivityOutcome, ClaimedTask, TaskBeat, TaskHold, TaskRetry
from perdure.errors import OutcomeUnknownError, RetryAfter, error_info_from_exception
from perdure.storage.base import LEASE_US

PROBE_S = 30.0
"""How long a probe may take, in seconds."""

FRESH_US = LEASE_US // 3
"""How old the word of the store may be that an activity may be called: younger than any lease that can be over."""

UNKNOWN_DELAY_US = 1_000_000
"""How long an activity that this worker does not have is left to others before it is looked at again."""

_log = logging.getLogger("perdure.runtime")

_NOBODY_KNOWS = "whether it has happened is unknown, as what ran it died or was stopped"


class Runner(Protocol):
    """What runs activities, and has slots for them."""

    loop: asyncio.AbstractEventLoop

    def now(self) -> int:
        """Microseconds that never go back."""
        ...

    def report(self, entry: Entry) -> None:
        """Tell the engine."""
        ...

    def overdue(self, task: ClaimedTask) -> str | None:
        """Why it may not begin any more."""
        ...

    def failed(self, task: ClaimedTask, error: BaseException, *, timed_out: bool, final: bool = False) -> Entry:
        """An attempt that has failed."""
        ...

    def cancelled(self, attempt: Attempt, error: BaseException) -> Entry:
        """An attempt that has ended by a cancellation."""
        ...

    async def limited(self, attempt: Attempt, plan: Plan) -> Entry:
        """Call the activity, within its limits."""
        ...

    def arguments(self, task: ClaimedTask, plan: Plan) -> tuple[Any, ...]:
        """Its inputs."""
        ...

    async def in_thread(self, call: Callable[[], Any]) -> Any:
        """Call something that may block."""
        ...


class Effects:
    """Sees to it that what must not be run twice is not. Every method runs on the user's event loop.

    A worker that has lost its place in the store and entered it anew may be handed an activity of which it still has an
    attempt. So no two attempts of one activity are at work here at once, and what was handed to the former worker is
    not called any more: that it may be says the store, to the present one.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._announced: dict[TaskKey, asyncio.Future[int | None]] = {}
        self._at_work: dict[TaskKey, Attempt] = {}
        self._over: dict[TaskKey, asyncio.Event] = {}
        self._lost: dict[int, ClaimedTask] = {}
        """What waited for a slot when the worker lost its place, by identity."""

    @property
    def at_work(self) -> Iterable[TaskKey]:
        """Those that may be called, that run, or that are found out about here."""
        return self._at_work.keys()

    # -- what the engine says --------------------------------------------------------------------------------------

    def begin(self, begun: dict[TaskKey, int]) -> None:
        """That these begin is durable, since these moments of the store: they may be called."""
        for key, at in begun.items():
            self._tell(key, at)

    def renounce(self, keys: Sequence[TaskKey]) -> None:
        """These may not be called here: they are not this worker's, or were given back for it."""
        for key in keys:
            self._tell(key, None)

    def lose(self, waiting: Iterable[ClaimedTask]) -> None:
        """The worker has lost its place: what has not been called is another's. These wait for a slot."""
        self._lost = {id(task): task for task in waiting}
        for attempt in self._at_work.values():
            attempt.lost = True
        self.renounce(list(self._announced))

    def _tell(self, key: TaskKey, at: int | None) -> None:
        waiting = self._announced.get(key)
        if waiting is not None and not waiting.done():
            waiting.set_result(at)

    # -- attempts --------------------------------------------------------------------------------------------------

    async def run(self, attempt: Attempt, plan: Plan | None) -> Entry:
        """See to an activity that is not to be called twice; without a plan to one that has begun."""
        task, key = attempt.task, attempt.key
        if self._lost and self._lost.pop(id(task), None) is not None:
            return GoesBack(task, None)
        if key in self._at_work:
            while key in self._at_work:
                await self._over.setdefault(key, asyncio.Event()).wait()
            return GoesBack(task, release(task))
        self._at_work[key] = attempt
        try:
            return await self._see_to(attempt, plan)
        finally:
            del self._at_work[key]
            over = self._over.pop(key, None)
            if over is not None:
                over.set()

    async def _see_to(self, attempt: Attempt, plan: Plan | None) -> Entry:
        task = attempt.task
        if plan is None or task.began:
            return await self._find_out(attempt, plan)
        if attempt.cancelled:
            return GoesBack(task, release(task))
        if attempt.stopped or task.stopped:
            return stopped(task, asyncio.CancelledError("it was stopped before it began"))
        return await self._call(attempt, plan)

    async def _call(self, attempt: Attempt, plan: Plan) -> Entry:
        """Call it, after that it begins is durable."""
        task = attempt.task
        overdue = None if task.stopped else self._runner.overdue(task)
        if overdue is not None:
            return self._runner.failed(task, TimeoutError(overdue), timed_out=True, final=True)
        attempt.follow(plan)
        asked_at = self._runner.now()
        began_at = await self._announce(attempt)
        while began_at is not None and self._runner.now() > asked_at + FRESH_US:
            # The process may have stood still meanwhile, and its lease be over.
            asked_at = self._runner.now()
            began_at = await self._announce(attempt)
        if attempt.stopped:
            return stopped(task, asyncio.CancelledError("it was stopped before it began"))
        if began_at is None:
            return GoesBack(task, None)
        try:
            entry = await self._runner.limited(attempt, plan)
        except asyncio.CancelledError as error:
            entry = self._runner.cancelled(attempt, error)
        if not isinstance(entry, GoesBack) or not isinstance(entry.item, TaskRetry):
            return entry
        if attempt.was_cut_off:
            # It may be under way still, or have done what it is for: not even its policy may have it run again.
            return GoesBack(task, release(task))
        return GoesBack(task, replace(entry.item, began_at=began_at))

    async def _announce(self, attempt: Attempt) -> int | None:
        """Have it written down that it is about to be called; since when it is, None if it may not be."""
        if attempt.lost:
            return None
        task, key = attempt.task, attempt.key
        waiting: asyncio.Future[int | None] = self._runner.loop.create_future()
        self._announced[key] = waiting
        beat = TaskBeat(incarnation=task.incarnation, execution=task.execution, event=task.event, began=True)
        self._runner.report(Says(beat))
        try:
            return await waiting
        finally:
            del self._announced[key]

    async def _find_out(self, attempt: Attempt, plan: Plan | None) -> Entry:
        """See to what has begun and has no outcome: end it, call it, or set it aside."""
        task = attempt.task
        if attempt.cancelled:
            return GoesBack(task, release(task))
        overdue = None if task.stopped else self._runner.overdue(task)
        if overdue is not None:
            late = TimeoutError(f"{overdue}; {_NOBODY_KNOWS}")
            return self._runner.failed(task, late, timed_out=True, final=True)
        if plan is None and not task.stopped:
            return GoesBack(task, release(task, UNKNOWN_DELAY_US))
        if plan is None or plan.probe is None:
            return self._unknown(attempt, CannotTell())
        try:
            verdict = await self._ask(attempt, plan, plan.probe)
        except RetryAfter as later:
            return GoesBack(task, release(task, duration_us(later.delay, "RetryAfter")))
        return await self._judged(attempt, plan, verdict)

    async def _ask(self, attempt: Attempt, plan: Plan, probe: Callable[..., Any]) -> Verdict[Any]:
        attempt.follow(plan)
        attempt.probed = True
        try:
            arguments = (attempt.context(), *self._runner.arguments(attempt.task, plan))
            async with asyncio.timeout(PROBE_S):
                if asyncio.iscoroutinefunction(probe):
                    verdict = await probe(*arguments)
                else:
                    verdict = await self._runner.in_thread(partial(copy_context().run, probe, *arguments))
        except (RetryAfter, asyncio.CancelledError):
            raise
        except BaseException as error:  # noqa: BLE001 - a probe that fails has not found out anything
            return CannotTell(f"its probe failed: {error_info_from_exception(error).summary}")
        finally:
            attempt.probed = False
        if not isinstance(verdict, Happened | Failed | DidNotHappen | CannotTell):
            return CannotTell(f"its probe returned {verdict!r:.200}, which is no verdict")
        return verdict

    async def _judged(self, attempt: Attempt, plan: Plan, verdict: Verdict[Any]) -> Entry:
        task = attempt.task
        match verdict:
            case Happened(result=result):
                try:
                    stored = plan.encode(result, what=plan.what)
                except Exception as error:  # noqa: BLE001 - it happened, and with what result nobody can say
                    return self._unknown(attempt, CannotTell(f"it has happened, and the result does not fit: {error}"))
                outcome = ActivityOutcome(
                    execution=task.execution, source=task.event, result=Raw(stored), attempts=task.attempt
                )
                return Ended(task, outcome)
            case Failed():
                return self._runner.failed(task, verdict.exception(), timed_out=False, final=True)
            case DidNotHappen():
                if task.stopped or attempt.stopped:
                    return stopped(task, asyncio.CancelledError("it was stopped, and had not happened"))
                return await self._call(attempt, plan)
            case CannotTell():
                return self._unknown(attempt, verdict)
            case _:
                assert_never(verdict)

    def _unknown(self, attempt: Attempt, verdict: CannotTell) -> Entry:
        task = attempt.task
        why = f"{_NOBODY_KNOWS} ({verdict.reason})" if verdict.reason else _NOBODY_KNOWS
        if task.stopped or attempt.stopped:
            # Its orchestration waits for nothing but its end.
            return self._runner.failed(task, OutcomeUnknownError(why), timed_out=False, final=True)
        _log.error("activity %s (event %d) of %s is held: %s", task.name, task.event, task.instance_id, why)
        reason = f"{why}: find out, then resolve it"
        return GoesBack(
            task, TaskHold(incarnation=task.incarnation, execution=task.execution, event=task.event, reason=reason)
        )
