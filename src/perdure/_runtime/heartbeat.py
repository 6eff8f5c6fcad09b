"""The heartbeat: a thread that proves that the worker lives, whatever its event loop and its engine are doing."""

import logging
import threading
from collections.abc import Callable

from perdure._ports import Clock
from perdure._runtime.watchdog import TICK_S, LoopWatch, TurnWatch
from perdure.errors import StorageError
from perdure.storage.base import LEASE_US, Storage

BEATS_PER_LEASE = 3

_log = logging.getLogger("perdure.runtime")


class Heartbeat:
    """Extends the worker's lease, and looks after turns and loops that do not come back."""

    def __init__(
        self,
        *,
        storage: Storage,
        clock: Clock,
        worker: Callable[[], int],
        turns: TurnWatch,
        loop: LoopWatch,
        lease_us: int = LEASE_US,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._worker = worker
        self._turns = turns
        self._loop = loop
        self._every_us = lease_us // BEATS_PER_LEASE
        self._next = clock.monotonic_us() + self._every_us
        self._stopped = threading.Event()
        self._leaving = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._run, name="perdure-heartbeat", daemon=True)
        self._thread.start()

    def leave(self) -> None:
        """From now on the worker may have given its place up by itself."""
        self._leaving = True

    def stop(self) -> None:
        """End; returns when the thread has."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(TICK_S):
            self.run_once()

    def run_once(self) -> None:
        """One look at the clock: beat when it is time."""
        self._turns.check()
        self._loop.check()
        now = self._clock.monotonic_us()
        if now < self._next:
            return
        self._next = now + self._every_us
        try:
            if not self._storage.heartbeat(self._worker()) and not self._leaving:
                # The engine hears of it at its next commit, which is refused; nothing else is safe to do here.
                _log.warning("this worker was silent for longer than its lease; others have taken over its work")
        except StorageError as error:
            _log.warning("no heartbeat: %s", error)
