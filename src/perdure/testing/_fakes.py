"""Fakes in the place of activities, on test time: what a fake sleeps, and the time limits that it is under.

asyncio asks the running loop for the time and for its timers. The loop of a test answers whoever is inside a fake from
the environment's clock, and everybody else as ever.
"""

from __future__ import annotations

import asyncio
import heapq
import inspect
from contextvars import ContextVar
from enum import Enum, auto
from functools import partial
from itertools import count
from types import CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Any

from perdure._core.loop import timer_us
from perdure._definitions import Activity
from perdure._runtime.activities import Activities
from perdure.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from perdure._runtime.attempts import Attempt, Plan, TaskKey
    from perdure.testing._clock import ManualClock

_here: ContextVar[FakeTime | None] = ContextVar("perdure_fake_time", default=None)
"""The time of the fake that is running here."""


class Doing(Enum):
    """What the activities of an environment are doing."""

    WORKING = auto()
    """Something real may be under way: time stands still."""
    WAITING = auto()
    """There are only fakes, which wait: for test time, for ever, or for something that the test does meanwhile."""
    SLEEPING = auto()
    """There are only fakes, and all of them sleep: nothing but time can wake them."""


class _Timer(asyncio.TimerHandle):
    """A timer of which the loop is not told when it is cancelled: it does not have it."""

    __slots__ = ()

    def cancel(self) -> None:
        asyncio.Handle.cancel(self)


class FakeTime:
    """The timers of fakes, on the clock of a test."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._timers: list[tuple[int, int, _Timer]] = []
        self._numbers = count()

    @property
    def next_due(self) -> int | None:
        """When the next timer falls due, in microseconds since 1970."""
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
        if not self._timers:
            return None
        return self._clock.now_us() + max(0, self._timers[0][0] - self._clock.monotonic_us())

    def time(self) -> float:
        """The clock's time, in the seconds of an event loop."""
        return self._clock.monotonic_us() / 1e6

    def call_at(
        self,
        loop: asyncio.AbstractEventLoop,
        when: float,
        call: tuple[Callable[..., object], tuple[Any, ...]],
        context: Context | None,
    ) -> _Timer:
        """A timer, as a loop makes it."""
        callback, args = call
        handle = _Timer(when, callback, args, loop, context)
        heapq.heappush(self._timers, (timer_us(when), next(self._numbers), handle))
        return handle

    def fire(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Let the loop run what has fallen due; whether there was any."""
        fired = False
        while self._timers and self._timers[0][0] <= self._clock.monotonic_us():
            loop.call_soon(_run_timer, heapq.heappop(self._timers)[2])
            fired = True
        return fired


def _run_timer(handle: _Timer) -> None:
    if not handle.cancelled():
        handle._run()  # noqa: SLF001 - as every event loop runs its timers


def teach(loop: Any) -> None:
    """Have a loop answer fakes from their own time, from now on."""
    real_time, real_call_at, real_call_later = loop.time, loop.call_at, loop.call_later
    if hasattr(real_call_at, "knows_fakes"):
        return

    def time() -> float:
        fake_time = _here.get()
        seconds: float = real_time() if fake_time is None else fake_time.time()
        return seconds

    def call_at(when: float, callback: Callable[..., object], *args: Any, context: Context | None = None) -> Any:
        fake_time = _here.get()
        if fake_time is None:
            return real_call_at(when, callback, *args, context=context)
        return fake_time.call_at(loop, when, (callback, args), context)

    def call_later(delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None) -> Any:
        fake_time = _here.get()
        if fake_time is None:
            return real_call_later(delay, callback, *args, context=context)
        return fake_time.call_at(loop, fake_time.time() + delay, (callback, args), context)

    call_at.knows_fakes = True  # type: ignore[attr-defined]  # a loop is taught once
    loop.time, loop.call_at, loop.call_later = time, call_at, call_later


class FakingActivities(Activities):
    """Runs a fake in an activity's place where there is one; payloads pass through the codec all the same."""

    fakes: dict[str, Callable[..., Any]]
    fake_time: FakeTime

    def find_plan(self, name: str) -> Plan | None:
        """What is to be called in the place of an activity."""
        plan = super().find_plan(name)
        fake = None if plan is None else self.fakes.get(plan.name)
        if plan is not None and fake is not None:
            plan.takes_ctx = False
            plan.is_async = True
            # It has no heart.
            plan.silence_s = None
            plan.is_special = plan.transactional = False
            plan.invoke = partial(_call_fake, fake)
        return plan

    async def _run(self, attempt: Attempt) -> None:
        if self._is_fake(attempt):
            _here.set(self.fake_time)
        await super()._run(attempt)

    def _is_fake(self, attempt: Attempt) -> bool:
        activity = self._registry.activity(attempt.task.name)
        return activity is not None and activity.name in self.fakes

    @property
    def running(self) -> frozenset[TaskKey]:
        """The tasks that run now."""
        return frozenset(self._running)

    @property
    def doing(self) -> Doing:
        """What the activities are doing just now."""
        running = list(self._running.values())
        if not running or not all(map(self._is_fake, running)):
            return Doing.WORKING
        return Doing.SLEEPING if all(_sleeps(attempt.runner) for attempt in running) else Doing.WAITING


def check_fake(activity: object, fn: object) -> None:
    """Refuse a fake that nothing could call.

    Raises:
        UsageError: What it stands for is no activity, or it can't be called with that one's inputs.
    """
    if not isinstance(activity, Activity):
        raise UsageError(f"a fake stands in for an activity made with @activity, not for {activity!r}")
    if not callable(fn):
        raise UsageError(f"the fake of {activity.name} is {fn!r}, which can't be called: pass `lambda *inputs: ...`")
    try:
        signature = inspect.signature(fn)
    except ValueError:
        # Some of what is written in C tells none.
        return
    names = activity.input_names
    try:
        # Defaults have been filled in when it is called.
        signature.bind(*names)
    except TypeError:
        raise UsageError(
            f"the fake of {activity.name} takes {signature}, and would be called with ({', '.join(names)}): the "
            "activity's inputs, without ctx"
        ) from None


async def _call_fake(fake: Callable[..., Any], inputs: tuple[Any, ...]) -> Any:
    outcome = fake(*inputs)
    return await outcome if inspect.isawaitable(outcome) else outcome


def _sleeps(runner: asyncio.Task[None] | None) -> bool:
    """Whether a task waits in asyncio.sleep itself: one that waits for other tasks may be woken by what they do."""
    innermost: Any = None if runner is None else runner.get_coro()
    while isinstance(awaited := getattr(innermost, "cr_await", None), CoroutineType):
        innermost = awaited
    code = getattr(innermost, "cr_code", None)
    # A sleep of zero seconds awaits a generator, and is awake in the next round.
    return code is asyncio.sleep.__code__ and awaited is not None and not isinstance(awaited, GeneratorType)
