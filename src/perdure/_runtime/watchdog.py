"""Interrupts a turn that does not end, and reports an event loop that an activity blocks.

A turn runs on the engine's thread. When it exceeds its limit, the watchdog takes its stack and raises an exception in
that thread. Law 7: it holds that instance and stops no other.
"""

import asyncio
import logging
import os
import sys
import threading
import traceback
from contextlib import suppress
from types import FrameType
from typing import Any

from perdure._ports import Clock
from perdure.errors import TurnLimitError

TICK_S = 0.25
BLOCKED_S = 1.0
FRAMES_SHOWN_MAX = 10
SAMPLES_MAX = 100
SAMPLE_S = 0.001
_SWALLOW_ROUNDS = 1_000
_OURS = (
    os.path.dirname(asyncio.__file__) + os.sep,
    os.path.dirname(os.path.dirname(__file__)) + os.sep,
    threading.__file__,
)

_log = logging.getLogger("perdure.runtime")


class TurnInterrupted(BaseException):
    """Raised inside orchestration code that did not yield."""


class TurnWatch:
    """Watches the turns of one engine thread; `limit_us` None watches nothing."""

    def __init__(self, clock: Clock, limit_us: int | None) -> None:
        self._clock = clock
        self._limit_us = limit_us
        self._lock = threading.Lock()
        self._instance: str | None = None
        self._turn = 0
        self._seen = (0, 0)
        self._striking = False
        self._thread = 0
        self._stack: str | None = None

    def here(self) -> None:
        """The turns that follow run on this thread."""
        self._thread = threading.get_ident()

    def begin(self, instance_id: str) -> None:
        """A turn of this instance begins; `end` must follow, whatever happens."""
        self._stack = None
        self._turn += 1
        self._instance = instance_id

    def end(self) -> bool:
        """The turn has come back; from here on it can't be interrupted. Whether it has been: ask for the `verdict`."""
        # Each side first says what it does and then looks at the other, and the interpreter orders what threads store:
        # either `check` sees that the turn is over, or this sees that it is being struck and waits for that.
        self._instance = None
        if self._striking:
            self._wait()
        if self._stack is None:
            return False
        self._swallow()
        return True

    def _wait(self) -> None:
        with suppress(TurnInterrupted), self._lock:
            pass

    def verdict(self) -> None:
        """Raise `TurnLimitError` if the turn that ended was interrupted."""
        if self._stack is None or self._limit_us is None:
            return
        raise TurnLimitError(
            f"a turn did not end within {self._limit_us / 1e6:g} s and was interrupted: orchestration code must not "
            f"block or compute for long; move that into an activity. It was here:\n{self._stack}"
        )

    def _swallow(self) -> None:
        # The exception is raised between two bytecodes of this thread: perhaps only now. Asking for it once more leaves
        # one at most; taking it back instead would leave Python 3.11 looking for it for ever, and stop it if it traces.
        try:
            _raise_in_thread(self._thread)
            for _ in range(_SWALLOW_ROUNDS):
                pass
        except TurnInterrupted:
            pass

    def check(self) -> None:
        """Interrupt the turn under way if it has exceeded its limit; called from another thread, every `TICK_S`.

        Turns don't read the clock: a turn counts from the first tick that finds it.
        """
        if self._limit_us is None or self._instance is None:
            return
        now = self._clock.monotonic_us()
        turn, since = self._seen
        if turn != self._turn:
            self._seen = (self._turn, now)
        elif now - since > self._limit_us:
            if _is_debugged(sys._current_frames().get(self._thread)):
                # Whoever has stepped through it may go on for as long as any turn.
                self._seen = (turn, now)
                return
            with self._lock:
                self._strike(turn)
            # What goes on all the same, in another `finally` block perhaps, is interrupted again.
            self._seen = (turn, now)

    def _strike(self, turn: int) -> None:
        self._striking = True
        try:
            if self._instance is not None and self._turn == turn:
                self._stack = self._stack or self._sample()
                _raise_in_thread(self._thread)
        finally:
            self._striking = False

    def _sample(self) -> str:
        """The user's lines that the turn is at; a program that yields for ever is in them only now and then."""
        breath = threading.Event()
        for _ in range(SAMPLES_MAX):
            stack = _stack_of(sys._current_frames().get(self._thread), theirs_only=True)
            if stack:
                return stack
            breath.wait(SAMPLE_S)
        return _stack_of(sys._current_frames().get(self._thread))


def _is_debugged(frame: FrameType | None) -> bool:
    """Whether somebody may be stepping through the turn: a person takes longer than any limit."""
    monitoring: Any = getattr(sys, "monitoring", None)
    if monitoring is not None and monitoring.get_tool(monitoring.DEBUGGER_ID) is not None:
        return True
    # `breakpoint()` traces the frames of its own thread only, other debuggers all threads.
    tracers = [sys.gettrace()]
    while frame is not None:
        tracers.append(frame.f_trace)
        frame = frame.f_back
    return any(tracer is not None and not _measures_coverage(tracer) for tracer in tracers)


def _measures_coverage(tracer: object) -> bool:
    # Its tracer in C says so by its type, the one in Python is a method.
    modules = (type(tracer).__module__, getattr(tracer, "__module__", None))
    return any(str(module).startswith("coverage") for module in modules)


def _raise_in_thread(thread: int) -> None:
    """Raise the interruption in a thread between two of its bytecodes."""
    import ctypes  # noqa: PLC0415 - slow to load, and hardly ever needed

    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(TurnInterrupted))


def _stack_of(frame: FrameType | None, *, theirs_only: bool = False) -> str:
    """The lines that are the user's, or all of them if none is."""
    lines = traceback.extract_stack(frame) if frame is not None else []
    theirs = [line for line in lines if not line.filename.startswith(_OURS)]
    return "".join(traceback.format_list(theirs if theirs or theirs_only else lines)[-FRAMES_SHOWN_MAX:])


class LoopWatch:
    """Notices when the user's event loop does not run, and names the activity that blocks it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock) -> None:
        self._loop = loop
        self._clock = clock
        self._thread = threading.get_ident()
        self._asked: int | None = None
        self._reported = False

    def _answer(self) -> None:
        self._asked = None
        self._reported = False

    def check(self) -> None:
        """Ask the loop for a sign of life; warn once when it has not answered the last question in time."""
        if self._asked is None:
            self._asked = self._clock.monotonic_us()
            try:
                self._loop.call_soon_threadsafe(self._answer)
            except RuntimeError:  # the loop is closed: the program is on its way out
                return
        elif not self._reported and self._clock.monotonic_us() - self._asked > BLOCKED_S * 1e6:
            self._reported = True
            task = asyncio.current_task(self._loop)
            stack = _stack_of(sys._current_frames().get(self._thread))
            _log.warning(
                "the event loop has been blocked for more than %g s by %s: activities that block belong in a plain "
                "`def`, which runs in a thread. It is here:\n%s",
                BLOCKED_S,
                task.get_name() if task is not None else "a callback",
                stack,
            )
