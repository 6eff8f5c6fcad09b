"""Runs activities on the user's event loop and in a pool of threads; tells the engine how they ended.

Laws kept here: an activity starts only after the commit that asked for it; an attempt's failure is decided here, by its
policy, and never reaches history while attempts are left.
"""

import asyncio
import contextvars
import logging
import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from msgspec import Raw

from perdure._context import ActivityServices
from perdure._ports import Clock, Entropy
from perdure._registry import Registry
from perdure._retry import WirePolicy
from perdure._runtime.attempts import Attempt, Plan, TaskKey, call_plainly, is_limited, key_of
from perdure._runtime.effects import UNKNOWN_DELAY_US, Effects
from perdure._runtime.endings import (
    ROW,
    limit_of,
    overlong,
    policy_of,
    polled,
    release,
    retry_delay,
    stopped,
    too_late,
    tried_again,
    with_last_words,
)
from perdure._runtime.inbox import Ended, Entry, GoesBack, Says
from perdure._runtime.line import WaitingRoom, plain_names
from perdure._runtime.outbox import Outbox
from perdure._runtime.tallies import ActivityTally
from perdure._runtime.threads import Threads, makes_plain_tasks
from perdure._runtime.transactional import InTransaction
from perdure._work import SEAL_BYTES, ActivityOutcome, ClaimedTask, TaskBeat, unsealed
from perdure.errors import HistoryCorruptError, error_info_from_exception
from perdure.observability.counting import OTHERS, count

_log = logging.getLogger("perdure.runtime")

LINE_WATCH_S = 0.05
"""How much later than its limit, at most, the end of an activity that waits for a slot is noticed, in seconds."""
_AGAIN = "%s: attempt %d of %s failed, the next is in %g s: %s"
_LAST = "%s: attempt %d of %s failed, the last one: %s"

_task: Any = asyncio.Task
_HAS_EAGER_TASKS = sys.version_info >= (3, 12)
"""Whether a task can take its first step while it is made; one that is over by then is never scheduled."""


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
        in_transaction: InTransaction | None = None,
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._entropy = entropy
        self._slots = slots
        self._services = services
        self._in_transaction = in_transaction
        self.loop = self._loop = asyncio.get_running_loop()
        self._threads = Threads(threads, "perdure-activity", self._loop, self._fill)
        self._waiting = WaitingRoom(plain_names(registry), self._threads)
        self._line_watch: asyncio.TimerHandle | None = None
        self._running: dict[TaskKey, Attempt] = {}
        self._plans: dict[str, Plan] = {}
        self.tallies: dict[str, ActivityTally] = {}
        self._unwanted: set[TaskKey] = set()
        self._stopped: set[TaskKey] = set()
        self.closed = False
        self._filling = False
        self._given_up: set[asyncio.Task[None]] = set()
        self._outbox = Outbox(self._loop, put)
        self.report = self._outbox.add
        # Each attempt gets a copy of its own: a slot that is passed on must not hand on what the last one has set.
        self._variables = contextvars.copy_context()
        self._hurried = asyncio.Event()
        self.effects = Effects(self)
        self.begin, self.renounce, self.now = self.effects.begin, self.effects.renounce, clock.monotonic_us

    @property
    def under_way(self) -> int:
        """How many run or wait for a slot; one that has ended and still has its slot is not among them."""
        runners = [attempt.runner for attempt in self._running.values()]
        return self._waiting.length + sum(runner is not None and not runner.done() for runner in runners)

    @property
    def slots_taken(self) -> int:
        """How many have a slot."""
        return len(self._running)

    @property
    def slots_wanted(self) -> int:
        """How many wait for one."""
        return self._waiting.length

    def accept(self, tasks: list[ClaimedTask]) -> None:
        """Run these, as slots become free."""
        if self.closed:
            for task in tasks:
                self.report(GoesBack(task, release(task)))
            return
        self._waiting.join(tasks)
        # What is over with its first step need not wait for whatever else this round of the loop has to do.
        self._outbox.hold()
        try:
            self._fill()
        finally:
            self._outbox.flush()
        if self._waiting.length:
            self._watch_the_line(tasks)

    def _watch_the_line(self, tasks: Iterable[ClaimedTask]) -> None:
        """Look at the line when the first of these that waits for a slot can't begin in time any more."""
        limits = [limit for task in tasks for limit in (task.start_by, task.deadline) if limit is not None]
        if not limits:
            return
        at = self._loop.time() + max(min(limits) - self._clock.now_us(), 0) / 1e6 + LINE_WATCH_S
        if self._line_watch is not None:
            if self._line_watch.when() <= at:
                return
            self._line_watch.cancel()
        self._line_watch = self._loop.call_at(at, self._end_late)

    def _end_late(self) -> None:
        self._line_watch = None
        waiting = self._waiting.clear()
        settled = self._unwanted | self._stopped
        in_time = []
        for task in waiting:
            overdue = None if key_of(task) in settled else self._limit(task, policy_of(task))[1]
            if overdue is None:
                in_time.append(task)
            else:
                self._tally(task).timed_out += 1
                self.report(self.failed(task, TimeoutError(overdue), timed_out=True, final=True))
        self._waiting.join(in_time)
        self._watch_the_line(task for task in in_time if key_of(task) not in settled)

    def _fill(self) -> None:
        if self._filling:
            # An activity was over with its first step: the loop that began it goes on with the next.
            return
        self._filling = True
        try:
            self._begin_waiting(at_once=_HAS_EAGER_TASKS and makes_plain_tasks(self._loop))
        finally:
            self._filling = False

    def _begin_waiting(self, *, at_once: bool) -> None:
        begun = 0
        while len(self._running) < self._slots and self._waiting.can_begin():
            if begun == self._slots:
                # The program's loop has other things to do than first steps.
                self._loop.call_soon(self._fill)
                return
            begun += 1
            task = self._waiting.next()
            key = (task.incarnation, task.execution, task.event)
            if self._unwanted and key in self._unwanted:
                self._unwanted.discard(key)
                self.report(GoesBack(task, release(task)))
                continue
            attempt = self._running[key] = Attempt(task, key, self)
            if self._stopped and key in self._stopped:
                self._stopped.discard(key)
                attempt.stopped = True
            self._waiting.keep_a_thread(attempt)
            steps, variables = self._run(attempt), self._variables.copy()
            if at_once:
                _task(steps, loop=self._loop, name=task.name, context=variables, eager_start=True)
            else:
                attempt.runner = self._loop.create_task(steps, name=task.name, context=variables)

    def cancel(self, keys: list[TaskKey]) -> None:
        """The outcomes of these are no longer wanted."""
        for key in keys:
            attempt = self._running.get(key)
            if attempt is None:
                self._unwanted.add(key)
                continue
            attempt.cancel()
            self._be_patient(attempt)
        if self._unwanted:
            self._unwanted &= {key_of(task) for task in self._waiting}

    def stop(self, keys: list[TaskKey]) -> None:
        """These shall end, and their outcomes are wanted."""
        for key in keys:
            attempt = self._running.get(key)
            if attempt is None:
                self._stopped.add(key)
            else:
                attempt.stop()
                self._be_patient(attempt)
        if self._stopped:
            self._stopped &= {key_of(task) for task in self._waiting}

    def _be_patient(self, attempt: Attempt) -> None:
        """Give one that was told to end the time that it may take for that."""
        plan = self._plans.get(attempt.task.name)
        if plan is not None and plan.grace_s is not None and attempt.patience is None and attempt.runner is not None:
            attempt.patience = self._loop.call_later(plan.grace_s, self._give_up, attempt, plan.grace_s)

    def _give_up(self, attempt: Attempt, grace_s: float) -> None:
        runner, task = attempt.runner, attempt.task
        if runner is None or runner.done():
            return
        late = f"it did not end within its cancel_grace of {grace_s:g} s"
        _log.warning("activity %s of %s was cancelled, and is given up: %s", task.name, task.instance_id, late)
        attempt.given_up = True
        # It goes on until it ends or the worker does; who waits for it alone must not make it vanish.
        self._given_up.add(runner)
        runner.add_done_callback(self._given_up.discard)
        self._end(attempt, self.cancelled(attempt, asyncio.CancelledError(late)))

    def lose(self) -> None:
        """The worker has lost its place in the store; others may have what it had, and it may be handed it again."""
        self.effects.lose(self._waiting)

    def say(self, task: ClaimedTask, details: bytes) -> None:
        """Have an activity's progress written."""
        self.report(
            Says(TaskBeat(incarnation=task.incarnation, execution=task.execution, event=task.event, details=details))
        )

    def keep(self, waiting_max: int) -> None:
        """Give back what waits for a slot, but for so many: others may have one."""
        waiting = self._waiting.clear()
        self._waiting.join(waiting[:waiting_max])
        for task in waiting[waiting_max:]:
            self._unwanted.discard(key_of(task))
            self.report(GoesBack(task, release(task)))

    # -- one attempt -----------------------------------------------------------------------------------------------

    async def _run(self, attempt: Attempt) -> None:
        task = attempt.task
        attempt.since_us, attempt.has_begun = self.now(), True
        if attempt.runner is None:
            # It takes its first step while its task is made, before anybody could say which one that is.
            attempt.runner = asyncio.current_task()
        entry: Entry
        try:
            plan = self._plans.get(task.name) or self.find_plan(task.name)
            if plan is None or not plan.is_plain or attempt.cancelled or attempt.stopped or task.stopped or task.began:
                entry = await self._carefully(attempt, plan)
            elif task.retry is not None or task.deadline is not None or task.start_by is not None:
                entry = await self.limited(attempt, plan)
            else:
                # As in `_attempt`: nearly all are called here, and are spared a coroutine.
                try:
                    value = await plan.invoke(self._called_with(attempt, plan))
                except asyncio.CancelledError:
                    raise
                except BaseException as error:  # noqa: BLE001 - as there
                    entry = self.failed(task, error, timed_out=False)
                else:
                    entry = self._returned(task, plan, value)
        except asyncio.CancelledError as error:
            entry = self.cancelled(attempt, error)
        except BaseException as error:  # noqa: BLE001 - the engine must hear of every end
            _log.exception("the engine failed to run %s", task.name)
            # A damaged row is as damaged at the next attempt, and so may be the policy that would ask for one.
            entry = self.failed(task, error, timed_out=False, final=isinstance(error, HistoryCorruptError))
        if not attempt.given_up:
            self._end(attempt, entry)

    async def _carefully(self, attempt: Attempt, plan: "Plan | None") -> Entry:
        """An attempt of which there is more to think of than to await it."""
        task = attempt.task
        if task.began or (plan is not None and plan.holds):
            return await self.effects.run(attempt, plan)
        if plan is None or attempt.cancelled or attempt.stopped or task.stopped:
            return self._not_called(attempt)
        if plan.is_special or is_limited(task):
            return await self.limited(attempt, plan)
        return await self._attempt(attempt, plan)

    def _end(self, attempt: Attempt, entry: Entry) -> None:
        self._running.pop(attempt.key, None)
        self._waiting.lend_the_thread(attempt)
        # The task's variables lead to the attempt: without this only the garbage collector would part them.
        attempt.runner = None
        if attempt.patience is not None:
            attempt.patience.cancel()
        if attempt.pulse is not None:
            entry = with_last_words(entry, attempt.unsaid())
            attempt.pulse.end()
        tally = self._tally(attempt.task) if attempt.plan is None else attempt.plan.tally
        tally.ended(attempt, entry, self.now() - attempt.since_us, closed=self.closed)
        self.report(entry)
        if self._waiting.length and not self._filling:
            self._fill()

    def cancelled(self, attempt: Attempt, error: BaseException) -> Entry:
        """An activity that ended by a cancellation: whose it was decides what becomes of it."""
        task = attempt.task
        if attempt.cancelled:
            return GoesBack(task, release(task))
        if attempt.stopped:
            return stopped(task, error)
        if attempt.silent is not None:
            return self.failed(task, TimeoutError(attempt.silent), timed_out=True)
        if self.closed:
            return GoesBack(task, release(task))
        # By its own hand: handed back, it would do it again and again.
        return self.failed(task, error, timed_out=False)

    def _not_called(self, attempt: Attempt) -> Entry:
        """An activity that nobody wants, or that this worker does not have: its time is over, or it is a mistake."""
        task = attempt.task
        if attempt.cancelled:
            return GoesBack(task, release(task))
        if attempt.stopped or task.stopped:
            return stopped(task, asyncio.CancelledError("it was stopped before it began"))
        overdue = self.overdue(task)
        if overdue is not None:
            return self.failed(task, TimeoutError(overdue), timed_out=True, final=True)
        return GoesBack(task, release(task, UNKNOWN_DELAY_US))

    def forget_plans(self) -> None:
        """Look everything up again."""
        self._plans.clear()

    def find_plan(self, name: str) -> "Plan | None":
        """What to call for an activity, None when this worker does not have it."""
        activity = self._registry.activity(name)
        if activity is None:
            return None
        tally = self.tallies.setdefault(activity.name, ActivityTally())
        plan = self._plans[name] = Plan(activity, self._services(activity.name), tally)
        return plan

    def _tally(self, task: ClaimedTask) -> ActivityTally:
        activity = self._registry.activity(task.name)
        return self.tallies.setdefault(OTHERS if activity is None else activity.name, ActivityTally())

    async def limited(self, attempt: Attempt, plan: "Plan") -> Entry:
        """An attempt that has a policy, a deadline, or a limit to its silence."""
        task = attempt.task
        policy = policy_of(task)
        limit_us, overdue = self._limit(task, policy)
        if overdue is not None:
            return self.failed(task, TimeoutError(overdue), timed_out=True, final=True)
        if plan.silence_s is not None:
            pulse = attempt.measured()
            if plan.is_async:
                pulse.beat(None)
            pulse.limit_silence(plan.silence_s, partial(attempt.fall_silent, plan.silence_s))
        if limit_us is None:
            return await self._special_attempt(attempt, plan, policy)
        try:
            async with asyncio.timeout(limit_us / 1e6) as attempt.limit:
                attempt.deadline_us = self._clock.now_us() + limit_us
                return await self._special_attempt(attempt, plan, policy)
        except TimeoutError:
            # Every other error `_attempt` has kept.
            why = overlong(limit_us) if limit_us == policy.attempt_timeout_us else too_late(task, policy)
            return self.failed(task, TimeoutError(why), timed_out=True)

    async def _special_attempt(self, attempt: Attempt, plan: "Plan", policy: WirePolicy) -> Entry:
        async def steps() -> Entry:
            return polled(await self._attempt(attempt, plan), policy)

        if self._in_transaction is None or not plan.transactional:
            return await steps()
        return await self._in_transaction.run(attempt, steps, self.failed, is_async=plan.is_async)

    async def _attempt(self, attempt: Attempt, plan: "Plan") -> Entry:
        task = attempt.task
        try:
            arguments = self._called_with(attempt, plan)
            if plan.is_async:
                value = await plan.invoke(arguments)
            else:
                invoke = plan.invoke if attempt.loan is None else attempt.loan.guarded(plan.invoke)
                self._waiting.lend_the_thread(attempt)
                call = partial(contextvars.copy_context().run, call_plainly, invoke, arguments, attempt)
                value = await self._threads.call(call)
                if attempt.cancelled:
                    raise asyncio.CancelledError
        except asyncio.CancelledError as error:
            if attempt.is_to_end(self.closed):
                raise
            return self.failed(task, error, timed_out=False)
        except BaseException as error:  # noqa: BLE001 - SystemExit too is a failure of this attempt and of nothing else
            return self.failed(task, error, timed_out=False)
        return self._returned(task, plan, value)

    def _called_with(self, attempt: Attempt, plan: "Plan") -> tuple[Any, ...]:
        """What it is called with, now that it is called."""
        task = attempt.task
        # What nobody has stored, nobody can have damaged.
        arguments = plan.decode(task.input[:-SEAL_BYTES]) if task.is_own else self.arguments(task, plan)
        attempt.follow(plan)
        return (attempt.context(), *arguments) if plan.takes_ctx else arguments

    def _returned(self, task: ClaimedTask, plan: "Plan", value: object) -> Entry:
        try:
            result = plan.encode(value, what=plan.what)
        except Exception as error:  # noqa: BLE001 - a result that doesn't fit is a failure, in words
            return self.failed(task, error, timed_out=False, final=True)
        return Ended(
            task,
            ActivityOutcome(execution=task.execution, source=task.event, result=Raw(result), attempts=task.attempt),
        )

    def arguments(self, task: ClaimedTask, plan: "Plan") -> tuple[Any, ...]:
        """Its inputs."""
        return plan.decode(unsealed(task.input, ROW, "input", task.name, task.instance_id, task.event))

    async def in_thread(self, call: Callable[[], Any]) -> Any:
        """Call something that may block."""
        return await self._threads.call(call)

    def overdue(self, task: ClaimedTask) -> str | None:
        """Why it may not even begin."""
        return self._limit(task, policy_of(task))[1]

    def _limit(self, task: ClaimedTask, policy: WirePolicy) -> tuple[int | None, str | None]:
        """How long this attempt may take, and why it may not even begin."""
        if policy.attempt_timeout_us is None and not is_limited(task):
            return None, None
        return limit_of(task, policy, self._clock.now_us())

    # -- how it ended ----------------------------------------------------------------------------------------------

    def failed(self, task: ClaimedTask, error: BaseException, *, timed_out: bool, final: bool = False) -> Entry:
        info = error_info_from_exception(error, attempts=task.attempt)
        count(self._tally(task).errors, info.type)
        delay = None if final else retry_delay(task, error, info, self._clock.now_us(), self._entropy.fraction())
        if delay is not None:
            _log.info(_AGAIN, task.instance_id, task.attempt, task.name, delay / 1e6, info.summary)
            return tried_again(task, delay, info)
        # Its orchestration may catch it, and then nothing else would tell.
        _log.info(_LAST, task.instance_id, task.attempt, task.name, info.summary)
        outcome = ActivityOutcome(
            execution=task.execution, source=task.event, error=info, attempts=task.attempt, timed_out=timed_out
        )
        return Ended(task, outcome)

    # -- the end ---------------------------------------------------------------------------------------------------

    async def close(self, grace_us: int) -> None:
        """Let what runs end within the grace time, hand the rest back, and stop the threads."""
        self.closed = True
        if self._line_watch is not None:
            self._line_watch.cancel()
        for task in self._waiting.clear():
            self.report(GoesBack(task, release(task)))
        runners = [attempt.runner for attempt in self._running.values() if attempt.runner is not None]
        if grace_us > 0:
            await self._grace(runners, grace_us / 1e6)
        late = [runner for runner in runners if not runner.done()]
        for attempt in self._running.values():
            attempt.cancelled = True
            attempt.interrupt("the worker shuts down")
        for runner in self._given_up:
            runner.cancel("the worker shuts down")
        if late:
            await asyncio.wait(late, timeout=1.0)
        self._outbox.flush()
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
