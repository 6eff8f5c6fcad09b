"""Threads for plain `def` activities, which may block for as long as they like.

They are daemons, unlike those of `concurrent.futures`: one that never comes back must not keep the process from ending
after the grace time. Python waits at exit for every thread that is no daemon.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

_IDLE_END_S = 1.0


class _Job:
    """A call, and the future of its outcome."""

    __slots__ = ("error", "function", "future", "result")

    def __init__(self, function: Callable[[], Any], future: "asyncio.Future[None]") -> None:
        self.function = function
        self.future = future
        self.result: Any = None
        self.error: BaseException | None = None


class Threads:
    """Up to `most` threads, started when they are needed. Every method runs on the event loop.

    Args:
        most: How many.
        name: What their names begin with.
        loop: The event loop.
        freed: Called when one has ended a call, also one whose outcome nobody wants any more.
    """

    def __init__(self, most: int, name: str, loop: asyncio.AbstractEventLoop, freed: Callable[[], None]) -> None:
        self._most = most
        self._name = name
        self._loop = loop
        self._freed = freed
        self.promised = 0
        """How many are kept for calls that are about to be made."""
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._working: set[threading.Thread] = set()
        self._unfinished = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def has_one(self) -> bool:
        """Whether a call would begin at once."""
        return self._unfinished + self.promised < self._most

    async def idle(self) -> None:
        """Wait until no call is under way, not even one whose outcome nobody wants any more."""
        await self._idle.wait()

    async def call(self, function: Callable[[], T]) -> T:
        """What `function` returns or raises in a thread. Cancelled before it began, it never runs."""
        job = _Job(function, self._loop.create_future())
        self._unfinished += 1
        self._idle.clear()
        if self._unfinished > len(self._threads) < self._most:
            self._start_one()
        self._jobs.put(job)
        await job.future
        # Raised here, because what is not meant for futures goes astray in one, as GeneratorExit does.
        result, error = job.result, job.error
        del job
        try:
            match error:
                case None:
                    pass
                case StopIteration():
                    # No coroutine can raise it either, and what Python makes of it says nothing.
                    raise RuntimeError(f"it raised StopIteration: {error}") from error
                case _:
                    raise error
        finally:
            del error  # its traceback leads to this frame
        return result  # type: ignore[no-any-return]  # of the function

    def close(self) -> None:
        """Let the threads end; one that still works ends after its call, or with the process."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            if thread not in self._working:
                thread.join(_IDLE_END_S)

    def _start_one(self) -> None:
        name = f"{self._name}_{len(self._threads)}"
        thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        me = threading.current_thread()
        while (job := self._jobs.get()) is not None:
            self._working.add(me)
            if not job.future.cancelled():
                try:
                    job.result = job.function()
                except BaseException as error:  # noqa: BLE001 - it is the caller's to see
                    job.error = error
            self._working.discard(me)
            with suppress(RuntimeError):  # the loop has closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._finished, job)
            del job

    def _finished(self, job: _Job) -> None:
        self._unfinished -= 1
        if not self._unfinished:
            self._idle.set()
        if not job.future.done():
            job.future.set_result(None)
        self._freed()


def makes_plain_tasks(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether nobody but asyncio itself has a say in how the tasks of a loop are made."""
    try:
        return loop.get_task_factory() is None
    except NotImplementedError:
        # What asyncio's own base class says: a loop need not know factories, and then has ways of its own.
        return False
