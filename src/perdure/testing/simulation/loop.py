"""The event loop of a simulated process: asyncio on the world's time. Activities run on it, as on a user's loop."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextvars import Context

    from perdure._ports import Clock
    from perdure.testing.simulation.timeline import Timeline

_ROUNDS_AT_THE_END_MAX = 1_000


class ProcessLoop(asyncio.AbstractEventLoop):
    """An event loop that runs when the world lets it: `wake` is called when it has something to do."""

    def __init__(
        self,
        timeline: Timeline,
        clock: Clock,
        wake: Callable[[], None],
        ask: Callable[[asyncio.Future[Any], Callable[[], Any]], None] | None = None,
    ) -> None:
        self._timeline = timeline
        self._clock = clock
        self._wake = wake
        self._ask = ask
        self._ready: deque[asyncio.Handle] = deque()
        self._tasks: list[asyncio.Task[Any]] = []
        self._woken = False
        self._dead = False
        self.errors: list[str] = []
        """What callbacks raised; asyncio would log it."""

    # -- what asyncio asks of a loop -------------------------------------------------------------------------------

    def call_soon(  # type: ignore[override]  # the stubs' type variables say no more here
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Run it in the next round."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        if not self._woken and not self._dead:
            self._woken = True
            self._wake()
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]  # the world has one thread

    def call_later(  # type: ignore[override]  # the same
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Run it in so many seconds."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]  # the same
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Run it at this time of the loop."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        if not self._dead:
            self._timeline.after(max(0, ceil(when * 1e6) - self._clock.monotonic_us()), self._due, handle)
        return handle

    def _due(self, handle: asyncio.TimerHandle) -> None:
        if not handle.cancelled() and not self._dead:
            self._ready.append(handle)
            if not self._woken:
                self._woken = True
                self._wake()

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A timer that was cancelled is passed over when it is due."""

    def time(self) -> float:
        """Seconds of the process's monotonic clock."""
        return self._clock.monotonic_us() / 1e6

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override, unused-ignore]  # typed otherwise on each Python
        self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        """A task of this loop, which is remembered for the end of the process."""
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        self._tasks.append(task)
        return task

    def run_in_executor(  # type: ignore[override]  # the same
        self,
        executor: Any,  # noqa: ARG002 - there are no threads
        func: Callable[..., Any],
        *args: Any,
    ) -> asyncio.Future[Any]:
        """Call it a moment later, as a thread would."""
        future = self.create_future()
        if self._ask is not None and not self._dead:
            self._ask(future, partial(func, *args))
        return future

    get_debug = staticmethod(bool)  # pyright: ignore[reportAssignmentType] - called on instances, which it does not get
    """No, which is what `bool()` says. Every future and every callback asks."""

    def is_running(self) -> bool:
        """Whether a round is under way."""
        return asyncio._get_running_loop() is self

    def is_closed(self) -> bool:
        """Whether the process has died."""
        return self._dead

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what went wrong in a callback; tasks of a dead process are nobody's concern."""
        if not self._dead:
            self.errors.append(f"{context.get('message')}: {context.get('exception')!r}")

    # -- what the world does with it -------------------------------------------------------------------------------

    def run(self) -> None:
        """One round: what is ready now."""
        self._woken = False
        ready = self._ready
        outer = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            for _ in range(len(ready)):
                handle: Any = ready.popleft()
                if not handle._cancelled:
                    handle._run()
        finally:
            asyncio._set_running_loop(outer)
        if ready and not self._woken and not self._dead:
            self._woken = True
            self._wake()
        if len(self._tasks) > 64:  # noqa: PLR2004 - so that a long run doesn't keep them all
            self._tasks = [task for task in self._tasks if not task.done()]

    def call(self, function: Callable[[], Any]) -> Any:
        """Call something that asks which loop is running."""
        outer = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            return function()
        finally:
            asyncio._set_running_loop(outer)

    def die(self) -> None:
        """The process is killed: end its tasks now, so that nothing of them is collected at some later time."""
        self._dead = True
        for _ in range(_ROUNDS_AT_THE_END_MAX):
            self._tasks = [task for task in self._tasks if not task.done()]
            if not self._tasks and not self._ready:
                break
            for task in self._tasks:
                task.cancel()
            self.run()
        self._tasks.clear()
        self._ready.clear()
