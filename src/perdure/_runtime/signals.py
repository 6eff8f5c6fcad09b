"""The signals that ask a worker to stop."""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

STOPS = (signal.SIGINT, signal.SIGTERM)
"""What asks a process to stop."""


@contextmanager
def stops_heard(first: Callable[[], object]) -> Iterator[None]:
    """Call this, from whatever thread, at the first signal that asks the process to stop; it ends at the second.

    They are heard twice, because neither way hears all. A handler is run by the main thread alone, which may be blocked
    by an activity: it is not woken by a signal that the system gives to another thread, or that comes just before it
    blocks. The file that Python writes signals to (`signal.set_wakeup_fd`) is read by a thread, but there is one for
    the whole process, and `loop.add_signal_handler` takes it.
    """
    asked = threading.Lock()

    def hear_one(seen: int) -> None:
        if seen > 1:
            os._exit(1)
        if asked.acquire(blocking=False):
            first()

    seen = 0

    def caught(_signal: int, _frame: FrameType | None) -> None:
        nonlocal seen
        seen += 1
        hear_one(seen)

    before = {each: signal.signal(each, caught) for each in STOPS}
    try:
        with _written(hear_one):
            yield
    finally:
        for each, handler in before.items():
            signal.signal(each, signal.SIG_DFL if handler is None else handler)


@contextmanager
def _written(hear_one: Callable[[int], object]) -> Iterator[None]:
    """Call this in a thread with how many signals that ask the process to stop Python has written down."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)  # noqa: FBT003 - the name of the argument is the method's
        taken = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)

        def read() -> None:
            seen = 0
            while numbers := ours.recv(64):
                _pass_on(taken, numbers)
                for _ in filter(STOPS.__contains__, numbers):
                    seen += 1
                    hear_one(seen)

        reader = threading.Thread(target=read, name="perdure-signals", daemon=True)
        reader.start()
        try:
            yield
        finally:
            now = signal.set_wakeup_fd(taken)
            if now != theirs.fileno():
                signal.set_wakeup_fd(now)
            theirs.shutdown(socket.SHUT_WR)
            reader.join()


def _pass_on(taken: int, numbers: bytes) -> None:
    """To who had the file before: an event loop hears of signals by it alone."""
    if taken != -1:
        try:
            os.write(taken, numbers)
        except OSError:  # It is full, and so wakes its reader anyway, or closed.
            return
