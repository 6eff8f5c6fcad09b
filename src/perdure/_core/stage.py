"""The stage: the one place that makes an execution's loop the running one, and puts everything back.

A stage belongs to one thread. `with stage:` prepares the thread for a batch of turns: the garbage collector is off
(a collection inside a turn would run other code's finalizers in it), async generators are ours, and an outer task, if
there is one, is set aside. `stage.enter(execution)` then makes one execution current.
"""

import asyncio
import gc
import sys
from _thread import allocate_lock, get_ident
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from perdure._core.loop import OrchestrationLoop, ReadyQueue

# The collector is the process's, so the stages of all its threads are counted.
_counting = allocate_lock()
_entered = 0
_collector_was_on = False


def _collector_off() -> None:
    global _entered, _collector_was_on  # noqa: PLW0603 - the collector's state is global too
    with _counting:
        if _entered == 0:
            _collector_was_on = gc.isenabled()
            gc.disable()
        _entered += 1


def _collector_back() -> None:
    global _entered  # noqa: PLW0603 - as above
    with _counting:
        _entered -= 1
        if _entered == 0 and _collector_was_on:
            gc.enable()


def _current() -> OrchestrationLoop | None:
    loop = asyncio._get_running_loop()
    return loop if isinstance(loop, OrchestrationLoop) and loop.ready is not None else None


def _generator_begun(generator: Any) -> None:
    loop = _current()
    if loop is not None:
        loop.generator_begun(generator)


def _generator_lost(generator: Any) -> None:
    loop = _current()
    if loop is not None:
        loop.generator_lost(generator)


@contextmanager
def own_thread() -> Iterator[None]:
    """Leave async generators to stages for as long as a thread takes turns: Python audits every change of that."""
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter=_generator_begun, finalizer=_generator_lost)
    try:
        yield
    finally:
        sys.set_asyncgen_hooks(*hooks)


class Stage:
    """Prepares one thread for turns. Not reentrant; one per thread."""

    __slots__ = ("_hooks", "_outer_loop", "_outer_task", "_ready")

    def __init__(self) -> None:
        self._ready = ReadyQueue()
        self._outer_loop: asyncio.AbstractEventLoop | None = None
        self._outer_task: asyncio.Task[Any] | None = None
        self._hooks: Any = None

    def __enter__(self) -> Self:
        self._ready.thread = get_ident()
        # Python 3.14 lets a task be left and entered only while its own loop is the running one.
        self._outer_loop = asyncio._get_running_loop()
        if self._outer_loop is not None:
            self._outer_task = asyncio.current_task(self._outer_loop)
            if self._outer_task is not None:
                asyncio._leave_task(self._outer_loop, self._outer_task)
        hooks = sys.get_asyncgen_hooks()
        # Else whatever this one is inside of sees to them.
        if hooks.firstiter is not _generator_begun:
            self._hooks = hooks
            sys.set_asyncgen_hooks(firstiter=_generator_begun, finalizer=_generator_lost)
        _collector_off()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _collector_back()
        if self._hooks is not None:
            sys.set_asyncgen_hooks(*self._hooks)
        asyncio._set_running_loop(self._outer_loop)
        if self._outer_loop is not None and self._outer_task is not None:
            asyncio._enter_task(self._outer_loop, self._outer_task)
        self._outer_loop = self._outer_task = self._hooks = None

    def enter(self, loop: OrchestrationLoop) -> None:
        """Make this execution's loop the running one; `leave` must follow, whatever happens."""
        loop.ready = self._ready
        asyncio._set_running_loop(loop)

    def leave(self, loop: OrchestrationLoop) -> None:
        """The turn of this execution is over; nothing is left in the queue."""
        self._ready.clear()
        # The loop stays the running one until the next is, or the stage is left: without a queue it refuses everything.
        loop.ready = None

    @contextmanager
    def on(self, loop: OrchestrationLoop) -> Iterator[None]:
        """`enter` and `leave` around a block, where two microseconds don't matter."""
        self.enter(loop)
        try:
            yield
        finally:
            self.leave(loop)
