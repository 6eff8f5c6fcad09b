"""The deterministic event loop that orchestrations run on.

Laws kept here: nothing is scheduled outside the execution's own turn; nothing here reads a clock, draws randomness or
does I/O; time is the time of the event being handled. Stock asyncio iterates sets of tasks in the order of their
hashes, so tasks and futures of this loop hash by their number in the execution, salted with its secret: equal on every
replay, spread over the process (a plain number would make every execution's first task collide in asyncio's WeakSet).

The same idea, an event loop of their own for deterministic replay, is in Temporal's Python SDK.
"""

import asyncio
from _thread import get_ident
from asyncio import Handle
from asyncio import _get_running_loop as running_loop
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, copy_context
from math import ceil
from types import CoroutineType, FrameType
from typing import Any, ClassVar, NoReturn, TypeVar, TypeVarTuple, cast
from weakref import ref

from perdure._core.callsite import where_asked
from perdure._core.forbidden import BY_HAND, CURES, OUTSIDE, QUIET, REFUSED, UNORDERED
from perdure._core.tasks import FIRST_STEP, Future, RefusedTask, Task, adopt, bare_as_completed, hashed, silenced
from perdure._core.unwinding import Unwind, end, end_within
from perdure.errors import ForbiddenCallError

F = TypeVar("F")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

HANDLES_PER_TURN_MAX = 1_000_000
"""Callbacks that one event may set off before the turn is taken for endless."""

INSTANT_US_MAX = 253_402_300_799_999_999
"""The last microsecond of the year 9999; a timer without an end, as in `anyio.sleep_forever`, is due then."""

REFUSALS_MAX = 1_000
"""How often an execution that is over refuses by `Unwind`; code that swallows it again and again is left waiting."""

_TASKS_BEFORE_PRUNING = 64
_new_handle = object.__new__

alive: "set[OrchestrationLoop]" = set()
"""Every execution with a suspended coroutine. Nothing is collected by chance: an execution ends, or is dropped."""


class TurnEndlessError(Exception):
    """One event set off more callbacks than HANDLES_PER_TURN_MAX."""


class ReadyQueue(deque[asyncio.Handle]):
    """What is ready to run in the turn under way on one thread.

    Only the execution that takes the turn has it, and only its thread may add to it. Comparing threads is the same as
    asking for the running loop, which has Python ask the system for the process on each call.
    """

    __slots__ = ("thread",)
    thread: int


class ReadyHandle(Handle):
    """A callback that is ready: asyncio's own, without a look for a debug mode that there is not."""

    __slots__ = ()
    _source_traceback = None
    _repr = None


class TimerHandle(asyncio.TimerHandle):
    """A callback at a time: the loop's side of a durable timer."""

    __slots__ = ("fire_at", "fired")
    fire_at: int
    fired: bool


def timer_us(when: float) -> int:
    """The microsecond at which `loop.time() >= when` holds for the first time; infinity is the end of the year 9999.

    Raises:
        ValueError: `when` is not a number.
    """
    if when >= INSTANT_US_MAX / 1e6:
        return INSTANT_US_MAX
    if when <= 0:
        return 0
    try:
        us = ceil(when * 1e6)
    except ValueError:
        raise ValueError("an orchestration was asked to wait until NaN: pass a number of seconds") from None
    return us + (us / 1e6 < when)


class OrchestrationLoop(asyncio.AbstractEventLoop):
    """One per execution. `ready` is the thread's queue while a turn of this execution runs, and None otherwise.

    Attributes:
        now_us: The time of the event being handled; never goes back.
        salt: Drawn from the execution's secret; set before the first task.
        variables: The execution's own context variables; what the outside world has set there is not seen.
        offence: The first forbidden act, which holds the instance.
        over: Why nothing may be asked for any more; every verb then raises `Unwind`.
        callback_errors: What callbacks raised.
    """

    __slots__ = (
        "_dying",
        "_generators",
        "_prune_at",
        "_refusals",
        "_root",
        "_sequence",
        "_tasks",
        "callback_errors",
        "now_us",
        "offence",
        "over",
        "ready",
        "salt",
        "variables",
    )

    __perdure_orchestration_loop__ = True
    timer_type: ClassVar[type[TimerHandle]] = TimerHandle

    def __init__(self) -> None:
        self.now_us = 0
        self.salt = 0
        self.variables: Context | None = None
        self.ready: ReadyQueue | None = None
        self.offence: BaseException | None = None
        self.over: str | None = None
        self.callback_errors: tuple[BaseException, ...] = ()
        self._sequence = 0
        # The first task, and the others once there are any: most executions that wait have just one.
        self._root: Task[Any] | None = None
        self._tasks: list[Task[Any]] | None = None
        self._prune_at = _TASKS_BEFORE_PRUNING
        self._generators: dict[int, ref[Any]] | None = None
        self._dying = 0
        self._refusals = 0

    def timer_created(self, timer: TimerHandle) -> None:
        """A callback was scheduled for later; the execution writes it down."""
        raise NotImplementedError

    def timer_cancelled(self, timer: TimerHandle) -> None:
        """A callback that was scheduled for later is no longer wanted."""
        raise NotImplementedError

    def offend(self, error: BaseException) -> NoReturn:
        """Remember the first forbidden act, which holds the instance whatever user code does with the exception."""
        if self.offence is None:
            self.offence = error
        raise error

    def refuse(self, what: str) -> NoReturn:
        """Refuse what the program does here, and say where that is."""
        where = where_asked()
        self.offend(ForbiddenCallError(what if where is None else f"{what} It is at {where}."))

    def gate(self, verb: str) -> None:
        """Let a verb pass only inside a turn of this very execution, and while that is not over."""
        if not self.admits(verb):
            raise Unwind(self.over)

    def admits(self, verb: str) -> bool:
        """Whether this execution may still ask for something; outside its own turn that is an offence.

        Verbs that return an awaitable then return `refused()` and raise nothing yet: whoever asks for several things in
        a row, as in a call of `gather`, thereby hands over all the coroutines it has made.
        """
        if self.over is not None:
            return False
        ready = self.ready
        if ready is None or ready.thread != get_ident():
            self._outside(verb)
        return True

    def refused(self, _kind: type[F]) -> F:
        """An awaitable in place of a future of this kind: whoever awaits it unwinds."""
        refused = RefusedTask(loop=self)
        refused._number = self.next_number()
        self._refusals += 1
        if self._refusals > REFUSALS_MAX:
            # `while True: try: await ... except BaseException: continue` would never come back.
            return cast("F", refused)
        refused.set_exception(Unwind(self.over))
        refused._log_traceback = False
        return cast("F", refused)

    def _outside(self, verb: str) -> NoReturn:
        error = ForbiddenCallError(f"{verb} was called outside this orchestration's own turn: {OUTSIDE}")
        running = running_loop()
        if isinstance(running, OrchestrationLoop) and running.offence is None:
            # The other one's fault as well: its replay would not find this execution where it is now.
            running.offence = error
        self.offend(error)

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Run the callback in this turn, after those already scheduled."""
        # Not refused while the execution unwinds: asyncio itself still has to wake the tasks that it cancels.
        ready = self.ready
        if ready is None or ready.thread != get_ident():
            self._outside("call_soon")
        if type(callback) is FIRST_STEP:
            self._check_task(callback)
        # Every wake-up makes one, so it is filled here rather than by a constructor.
        handle: Any = _new_handle(ReadyHandle)
        handle._context = copy_context() if context is None else context
        handle._loop = self
        handle._callback = callback
        handle._cancelled = False
        handle._args = args
        ready.append(handle)
        return handle  # type: ignore[no-any-return]  # a cast is a call

    def _check_task(self, first_step: Any) -> None:
        task = first_step.__self__
        if type(task) is not Task and isinstance(task, asyncio.Task):
            end(silenced(task).get_coro())
            self.refuse(BY_HAND)

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Refused: only another thread would need it."""
        self.refuse(f"call_soon_threadsafe was called in an orchestration. {CURES['executor']}")

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> TimerHandle:
        """Run the callback when a durable timer of `delay` seconds fires."""
        return self.call_at(self.now_us / 1e6 + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> TimerHandle:
        """Run the callback when a durable timer fires at `when`, in seconds of `time()`."""
        self.gate("call_at")
        fire_at = timer_us(when)
        handle = self.timer_type(when, callback, args, self, context)
        handle.fire_at = fire_at
        handle.fired = False
        self.timer_created(handle)
        return handle

    def _timer_handle_cancelled(self, handle: TimerHandle) -> None:
        if not handle.fired and self.over is None:
            self.timer_cancelled(handle)

    def time(self) -> float:
        """Seconds since 1970 at the event being handled; never goes back."""
        return self.now_us / 1e6

    def next_number(self) -> int:
        """The number of the next task or future."""
        self._sequence = number = self._sequence + 1
        return number

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this execution."""
        future: Future[Any] = Future(loop=self)
        future._number = self.next_number()
        return future

    def create_task(  # takes futures too
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T] | asyncio.Future[T],
        *,
        name: object = None,
        context: Context | None = None,
        **options: Any,
    ) -> asyncio.Task[T]:
        """A task of this execution; a future is adopted by a task that awaits it."""
        if not self.admits("create_task"):
            if not isinstance(coro, asyncio.Future):
                coro.close()
            return self.refused(asyncio.Task[T])
        if isinstance(coro, asyncio.Future):
            coro = adopt(coro)
        elif (frame := bare_as_completed()) is not None:
            self._refuse_unordered(frame, coro)
        task: Task[T] = self._new_task()
        label = f"Task-{self._sequence}" if name is None else str(name)
        task.__init__(coro, loop=self, name=label, context=context, **options)  # type: ignore[misc]  # has its hash now
        self._hold(task)
        return task

    def begin_root(self, coro: Coroutine[Any, Any, None]) -> None:
        """The first task, of a coroutine of our own, about which nothing is to be checked."""
        task: Task[None] = self._new_task()
        task.__init__(coro, loop=self, name="root", context=self.variables)  # type: ignore[misc]  # as above
        self._hold(task)

    def _new_task(self) -> Any:
        task = Task.__new__(Task)
        task._hash = hashed(self.salt, self.next_number())
        return task

    def _refuse_unordered(self, frame: FrameType, coro: Any) -> NoReturn:
        coro.close()
        given = frame.f_locals.get("fs", frame.f_locals.get("aws"))
        if isinstance(given, list | tuple | set | frozenset | dict):
            # One fault, one report: Python would complain of each of the others that it was never awaited.
            for each in given:
                if asyncio.iscoroutine(each):
                    each.close()
        self.refuse(UNORDERED)

    def _hold(self, task: Task[Any]) -> None:
        """Keep a task until it is done: asyncio itself would let one go that nobody else refers to."""
        asyncio._unregister_task(task)
        if self._root is None:
            self._root = task
            alive.add(self)
        elif self._tasks is None:
            self._tasks = [task]
        else:
            self._tasks.append(task)
            if len(self._tasks) >= self._prune_at:
                self._tasks = [t for t in self._tasks if not t.done() or t._log_traceback]
                self._prune_at = max(_TASKS_BEFORE_PRUNING, 2 * len(self._tasks))

    def _held(self) -> list[Task[Any]]:
        first = [] if self._root is None else [self._root]
        return first if self._tasks is None else first + self._tasks

    def unfinished(self) -> list[Task[Any]]:
        """Tasks that are not done, in the order of their creation."""
        return [task for task in self._held() if not task.done()]

    def unretrieved(self) -> list[Task[Any]]:
        """Finished tasks whose exception nobody looked at."""
        return [task for task in self._held() if task.done() and task._log_traceback]

    def run_ready(self) -> None:
        """Run until nothing is ready; the queue is empty however this ends.

        Raises:
            TurnEndlessError: Too many callbacks ran; the message says where.
        """
        ready = self.ready
        if ready is None:
            raise RuntimeError("run_ready was called outside a stage")
        left = HANDLES_PER_TURN_MAX
        try:
            while ready:
                handle: Any = ready.popleft()
                if not handle._cancelled:
                    try:
                        # As `Handle._run` does it.
                        handle._context.run(handle._callback, *handle._args)
                    except (SystemExit, KeyboardInterrupt):
                        raise
                    except BaseException as error:  # noqa: BLE001 - what a callback raises is kept, whatever it is
                        self.call_exception_handler({"exception": error, "handle": handle})
                    left -= 1
                    if left == 0:
                        raise TurnEndlessError(_endless(self.unfinished()))
        finally:
            ready.clear()

    def fire(self, handle: TimerHandle) -> None:
        """The durable timer of this callback has fired."""
        handle.fired = True
        ready: Any = self.ready
        ready.append(handle)

    def drop(self) -> int:
        """End every coroutine without letting it ask for anything; returns how many would not end.

        `close` throws GeneratorExit into the frames, so `finally` blocks run: with this loop as the running one, and
        every verb refusing. Whoever calls this has made this loop the running one.
        """
        self.over = "the execution was dropped"
        stubborn = 0
        for generator in reversed(self._suspended_generators()):
            stubborn += not end_within(generator)
        for task in reversed(self.unfinished()):
            stubborn += not end(silenced(task).get_coro())
        for task in self.unretrieved():
            task._log_traceback = False
        self.ended()
        return stubborn

    def ended(self) -> None:
        """No coroutine of this execution is left."""
        self._root = self._tasks = self._generators = None
        alive.discard(self)

    def generator_begun(self, generator: Any) -> None:
        """An async generator of this execution yielded its first value."""
        if self._generators is None:
            self._generators = {}
        generators, key = self._generators, id(generator)

        def dying(_: object) -> None:
            # Python calls this just before it hands a generator that has not ended to `generator_lost`; one that has
            # ended only dies, and its id may soon be another's.
            del generators[key]
            self._dying = key

        generators[key] = ref(generator, dying)

    def _suspended_generators(self) -> list[Any]:
        generators = [] if self._generators is None else [known() for known in self._generators.values()]
        return [generator for generator in generators if generator is not None]

    def generator_lost(self, generator: Any) -> None:
        """An async generator lost its last reference: clean it up in this turn, if it is ours and a turn runs."""
        if self._dying == id(generator) and self.over is None:
            context = None if self.variables is None else self.variables.copy()
            self.create_task(generator.aclose(), context=context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what a callback raised; what the collector reports is not deterministic and ignored."""
        error = context.get("exception")
        if "handle" in context and error is not None and not isinstance(error, Unwind):
            self.callback_errors += (error,)

    def is_running(self) -> bool:
        """Whether a turn of this execution runs."""
        return self.ready is not None

    def is_closed(self) -> bool:
        """Whether the execution is over."""
        return self.over is not None

    get_debug = staticmethod(bool)
    """No, which is what `bool()` says: asyncio's debug mode reads clocks. Every future asks."""


def where_waiting(task: asyncio.Task[Any]) -> str:
    """The innermost line of a suspended task that is not asyncio's own, or the task's name."""
    return where_suspended(task.get_coro(), task.get_name())


def where_suspended(coroutine: Any, otherwise: str) -> str:
    """The innermost line of a suspended coroutine that is not asyncio's own, if there is one."""
    where = otherwise
    while isinstance(coroutine, CoroutineType) and (frame := coroutine.cr_frame) is not None:
        if not str(frame.f_globals.get("__name__")).startswith("asyncio."):
            where = f"{frame.f_code.co_filename}:{frame.f_lineno} ({frame.f_code.co_qualname})"
        coroutine = coroutine.cr_await
    return where


def _endless(tasks: list[Task[Any]]) -> str:
    lines = ", ".join(sorted({where_waiting(task) for task in tasks}))
    return (
        f"one event set off more than {HANDLES_PER_TURN_MAX:,} callbacks: the orchestration loops without waiting for "
        f"anything durable, at {lines}"
    )


def _refuse(name: str, cure: str) -> Callable[..., NoReturn]:
    def refused(self: OrchestrationLoop, *_args: object, **_options: object) -> NoReturn:
        self.refuse(f"loop.{name}() was called in an orchestration. {cure}")

    refused.__name__ = name
    refused.__doc__ = "Refused, with the cure in the error."
    return refused


def _answer_nothing(name: str) -> Callable[..., None]:
    def quiet(_self: OrchestrationLoop, *_args: object, **_options: object) -> None:
        return None

    quiet.__name__ = name
    quiet.__doc__ = "Answers quietly: libraries probe it."
    return quiet


async def _shut_down_nothing(_self: OrchestrationLoop, *_args: object, **_options: object) -> None:
    """Nothing to shut down."""


for _name in QUIET["sync"]:
    setattr(OrchestrationLoop, _name, _answer_nothing(_name))
for _name in QUIET["async"]:
    setattr(OrchestrationLoop, _name, _shut_down_nothing)
for _cure, _names in REFUSED.items():
    for _name in _names:
        setattr(OrchestrationLoop, _name, _refuse(_name, CURES[_cure]))
