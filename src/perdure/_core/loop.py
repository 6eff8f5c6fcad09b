"""The deterministic event loop that orchestrations run on.

Laws kept here: nothing is scheduled outside the execution's own turn; nothing here reads a clock, draws randomness or
does I/O; time is the time of the event being handled. Stock asyncio iterates sets of tasks in the order of their
hashes, so tasks and futures of this loop hash by their number in the execution, salted with its secret: equal on every
replay, spread over the process (a plain number would make every execution's first task collide in asyncio's WeakSet).

The same idea, an event loop of their own for deterministic replay, is in Temporal's Python SDK.
"""

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from math import ceil
from typing import Any, NoReturn, TypeVar

from perdure.errors import ForbiddenCallError
from perdure._core.forbidden import CURES, QUIET, REFUSED

T = TypeVar("T")

HANDLES_PER_TURN_MAX = 1_000_000
"""Callbacks that one event may set off before the turn is taken for endless."""

CLOSES_MAX = 8
"""How often a coroutine that swallows GeneratorExit is closed before it is left in the graveyard."""

_HASH_STEP = 0x9E3779B97F4A7C15
_HASH_MASK = 0x1FFFFFFFFFFFFFFF
_TASKS_BEFORE_PRUNING = 64

graveyard: list[Coroutine[Any, Any, Any]] = []
"""Coroutines that would not end when their execution was dropped; held for the life of the process."""


class Unwind(BaseException):
    """Unwinds the coroutines of an execution that is over; user code can delay it, but not undo it."""


class TurnEndlessError(Exception):
    """One event set off more callbacks than HANDLES_PER_TURN_MAX."""


class Future(asyncio.Future[T]):
    """A future whose hash is its number in the execution."""

    __slots__ = ("_hash",)
    _hash: int

    def __hash__(self) -> int:
        return self._hash

    __eq__ = object.__eq__


class Task(asyncio.Task[T]):
    """A task whose hash is its number in the execution."""

    __slots__ = ("_hash",)
    _hash: int

    def __hash__(self) -> int:
        return self._hash

    __eq__ = object.__eq__


async def _adopt(future: asyncio.Future[T]) -> T:
    return await future


def _is_bare_as_completed() -> bool:
    """Whether `create_task` was reached from `as_completed` over a set of bare coroutines, which have no stable order."""
    frame = sys._getframe(2)
    if frame.f_code.co_name not in {"ensure_future", "_ensure_future"}:
        return False
    caller = frame.f_back
    while caller is not None and caller.f_globals.get("__name__") == "asyncio.tasks":
        if caller.f_code.co_qualname.split(".")[0] in {"as_completed", "_AsCompletedIterator"}:
            return True
        caller = caller.f_back
    return False


class TimerHandle(asyncio.TimerHandle):
    """A callback at a time: the loop's side of a durable timer."""

    __slots__ = ("ask", "fire_at", "fired")

    def __init__(  # noqa: PLR0913 - asyncio's signature and the timer's own two
        self,
        when: float,
        fire_at: int,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: asyncio.AbstractEventLoop,
        context: Context | None,
    ) -> None:
        super().__init__(when, callback, args, loop, context)
        self.ask: Any = None
        self.fire_at = fire_at
        self.fired = False


def timer_us(when: float) -> int:
    """The microsecond at which `loop.time() >= when` holds for the first time."""
    us = ceil(when * 1e6)
    return us + (us / 1e6 < when)


class OrchestrationLoop(asyncio.AbstractEventLoop):
    """One per execution. `ready` is the thread's queue while a turn of this execution runs, and None otherwise."""

    __perdure_orchestration_loop__ = True

    def __init__(self) -> None:
        self.now_us = 0
        self.salt = 0
        """Drawn from the execution's secret; set before the first task."""
        self.ready: deque[asyncio.Handle] | None = None
        self.offence: BaseException | None = None
        self.over: str | None = None
        """Why nothing may be asked for any more; every verb then raises `Unwind`."""
        self.callback_errors: list[BaseException] = []
        self._sequence = 0
        self._tasks: list[Task[Any]] = []
        self._prune_at = _TASKS_BEFORE_PRUNING
        self._generators: set[int] = set()

    # The execution overrides these two.
    def timer_created(self, handle: TimerHandle) -> None:
        """A callback was scheduled for later."""
        raise NotImplementedError

    def timer_cancelled(self, handle: TimerHandle) -> None:
        """A callback that was scheduled for later is no longer wanted."""
        raise NotImplementedError

    def offend(self, error: BaseException) -> NoReturn:
        """Remember the first forbidden act, which holds the instance whatever user code does with the exception."""
        if self.offence is None:
            self.offence = error
        raise error

    def gate(self, verb: str) -> None:
        """Let a verb pass only inside a turn of this very execution."""
        if self.over is not None:
            raise Unwind(self.over)
        if self.ready is None:
            self._outside(verb)

    def _outside(self, verb: str) -> NoReturn:
        self.offend(
            ForbiddenCallError(
                f"{verb} was called outside this orchestration's own turn: a thread, another event loop or another "
                "orchestration shares an object with it. Share nothing; use activities and external events."
            )
        )

    # -- scheduling ------------------------------------------------------------------------------------------------

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Run the callback in this turn, after those already scheduled."""
        # Not refused while the execution unwinds: asyncio itself still has to wake the tasks that it cancels.
        if self.ready is None:
            self._outside("call_soon")
        handle = asyncio.Handle(callback, args, self, context)
        self.ready.append(handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Refused: only another thread would need it."""
        self.offend(ForbiddenCallError(f"call_soon_threadsafe was called in an orchestration. {CURES['executor']}"))

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> TimerHandle:
        """Run the callback when a durable timer of `delay` seconds fires."""
        return self.call_at(self.now_us / 1e6 + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> TimerHandle:
        """Run the callback when a durable timer fires at `when`, in seconds of `time()`."""
        self.gate("call_at")
        handle = TimerHandle(when, timer_us(when), callback, args, self, context)
        self.timer_created(handle)
        return handle

    def _timer_handle_cancelled(self, handle: TimerHandle) -> None:
        if not handle.fired and self.over is None:
            self.timer_cancelled(handle)

    def time(self) -> float:
        """Seconds since 1970 at the event being handled; never goes back."""
        return self.now_us / 1e6

    # -- tasks and futures -----------------------------------------------------------------------------------------

    def next_hash(self) -> int:
        """The hash of the next task or future."""
        self._sequence = sequence = self._sequence + 1
        return (self.salt + sequence * _HASH_STEP) & _HASH_MASK

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this execution."""
        future: Future[Any] = Future.__new__(Future)
        future._hash = self.next_hash()
        future.__init__(loop=self)  # type: ignore[misc]  # the hash must exist before asyncio sees the object
        return future

    def create_task(  # type: ignore[override]  # takes futures too
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T] | asyncio.Future[T],
        *,
        name: object = None,
        context: Context | None = None,
        **options: Any,
    ) -> asyncio.Task[T]:
        """A task of this execution; a future is adopted by a task that awaits it."""
        self.gate("create_task")
        if isinstance(coro, asyncio.Future):
            coro = _adopt(coro)
        elif _is_bare_as_completed():
            coro.close()
            self.offend(
                ForbiddenCallError(
                    "asyncio.as_completed over bare coroutines has no order that a replay could repeat: "
                    "wrap each in asyncio.create_task(...) first."
                )
            )
        task: Task[T] = Task.__new__(Task)
        task._hash = self.next_hash()
        label = f"Task-{self._sequence}" if name is None else str(name)
        task.__init__(coro, loop=self, name=label, context=context, **options)  # type: ignore[misc]  # as in create_future
        asyncio._unregister_task(task)
        self._tasks.append(task)
        if len(self._tasks) >= self._prune_at:
            self._tasks = [t for t in self._tasks if not t.done() or t._log_traceback]  # type: ignore[attr-defined]
            self._prune_at = max(_TASKS_BEFORE_PRUNING, 2 * len(self._tasks))
        return task

    def unfinished(self) -> list[Task[Any]]:
        """Tasks that are not done, in the order of their creation."""
        return [task for task in self._tasks if not task.done()]

    def unretrieved(self) -> list[Task[Any]]:
        """Finished tasks whose exception nobody looked at."""
        return [task for task in self._tasks if task.done() and task._log_traceback]  # type: ignore[attr-defined]

    # -- running ---------------------------------------------------------------------------------------------------

    def run_ready(self) -> None:
        """Run until nothing is ready; the queue is empty however this ends."""
        ready = self.ready
        if ready is None:  # pragma: no cover - the stage sets it
            raise RuntimeError("run_ready outside a stage")
        budget = HANDLES_PER_TURN_MAX
        try:
            while ready:
                handle = ready.popleft()
                if not handle._cancelled:  # type: ignore[attr-defined]
                    handle._run()
                    budget -= 1
                    if budget < 0:
                        raise TurnEndlessError(
                            f"one event set off more than {HANDLES_PER_TURN_MAX:,} callbacks: "
                            "the orchestration loops without waiting for anything durable"
                        )
        finally:
            ready.clear()

    def fire(self, handle: TimerHandle) -> None:
        """The durable timer of this callback has fired."""
        handle.fired = True
        if self.ready is not None and not handle.cancelled():
            self.ready.append(handle)

    def drop(self) -> int:
        """End every coroutine without letting it ask for anything; returns how many would not end.

        `close` throws GeneratorExit into the frames, so `finally` blocks run: with this loop as the running one, and
        every verb refusing. Whoever calls this has made this loop the running one.
        """
        self.over = self.over or "the execution was dropped"
        stubborn = 0
        for task in reversed(self.unfinished()):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            coroutine = task.get_coro()
            for _ in range(CLOSES_MAX):
                try:
                    coroutine.close()  # type: ignore[union-attr]
                except RuntimeError:
                    continue
                except BaseException:  # noqa: BLE001 - whatever a finally block raises, it is over
                    break
                else:
                    break
            else:
                graveyard.append(coroutine)  # type: ignore[arg-type]
                stubborn += 1
        for task in self.unretrieved():
            task._log_traceback = False  # type: ignore[attr-defined]
        if self.ready is not None:
            self.ready.clear()
        self._tasks.clear()
        self._generators.clear()
        return stubborn

    def generator_begun(self, generator: Any) -> None:
        """An async generator of this execution yielded its first value."""
        self._generators.add(id(generator))

    def generator_lost(self, generator: Any) -> None:
        """An async generator lost its last reference: clean it up in this turn, if it is ours and a turn runs."""
        if id(generator) in self._generators:
            self._generators.discard(id(generator))
            if self.ready is not None and self.over is None:
                self.create_task(generator.aclose())

    # -- what libraries ask ----------------------------------------------------------------------------------------

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what a callback raised; what the collector reports is not deterministic and ignored."""
        error = context.get("exception")
        if "handle" in context and error is not None and self.ready is not None:
            self.callback_errors.append(error)

    def is_running(self) -> bool:
        """Whether a turn of this execution runs."""
        return self.ready is not None

    def is_closed(self) -> bool:
        """Whether the execution is over."""
        return self.over is not None

    def get_debug(self) -> bool:
        """No: asyncio's debug mode reads clocks."""
        return False


def _refuse(name: str, cure: str) -> Callable[..., NoReturn]:
    def refused(self: OrchestrationLoop, *args: object, **options: object) -> NoReturn:
        del args, options
        self.offend(ForbiddenCallError(f"loop.{name}() was called in an orchestration. {cure}"))

    refused.__name__ = name
    refused.__doc__ = "Refused, with the cure in the error."
    return refused


def _answer(name: str, value: object) -> Callable[..., Any]:
    def quiet(self: OrchestrationLoop, *args: object, **options: object) -> object:
        del self, args, options
        return value

    quiet.__name__ = name
    quiet.__doc__ = "Answers quietly: libraries probe it."
    return quiet


async def _nothing(self: OrchestrationLoop, *args: object) -> None:
    """Nothing to shut down."""
    del self, args


for _group, _names in QUIET.items():
    for _name in _names:
        setattr(OrchestrationLoop, _name, _nothing if _group == "async" else _answer(_name, None))
for _cure, _names in REFUSED.items():
    for _name in _names:
        setattr(OrchestrationLoop, _name, _refuse(_name, CURES[_cure]))
