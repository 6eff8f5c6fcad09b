"""Wake-ups: a thread that hears what others say when they have left something for this worker.

Laws kept here: nothing depends on it, for whoever hears nothing looks from time to time; a listener proves again and
again that it hears, by calling itself, and one that does not is replaced. Where a pooler shares sessions nobody
listens.
"""

import logging
import os
import select
import threading
from collections.abc import Callable
from hashlib import blake2b

from perdure.errors import StorageError
from perdure.storage.postgres.arrays import texts
from perdure.storage.postgres.failures import FailedError, LostError
from perdure.storage.postgres.wire import Wire

PROOF_MS = 5_000
"""How often a listener calls itself."""

_AGAIN_S = 1.0

_log = logging.getLogger("perdure.storage")


def channel_of(worker: int) -> str:
    """Where a worker is told that something was left for what it owns."""
    return f"perdure_{worker:x}"


def channel_of_all(schema: str) -> str:
    """Where all workers are told of work that nobody owns."""
    return f"perdure_{blake2b(schema.encode(), digest_size=8).hexdigest()}_all"


class Listener:
    """Listens for one worker.

    Args:
        connect: Opens a connection.
        worker: The worker's number.
        schema: The schema of the store.
        is_own: Whether a backend is one that works for this worker.
        wake: Called, from the listener's thread, when there is news.
    """

    def __init__(
        self,
        connect: Callable[[], Wire],
        *,
        worker: int,
        schema: str,
        is_own: Callable[[int], bool],
        wake: Callable[[], None],
    ) -> None:
        self._connect = connect
        self._self = f"{channel_of(worker)}_self"
        self._channels = (channel_of(worker), channel_of_all(schema), self._self)
        self._is_own = is_own
        self._wake = wake
        self._news = False
        self.hears = False
        """Whether it was proven lately that notifications reach us."""
        self.is_pooled = False
        self._stopped = threading.Event()
        self._stopping, self._stop_sign = os.pipe()
        self._thread = threading.Thread(target=self._run, name="perdure-listen", daemon=True)
        self._thread.start()

    def take_news(self) -> bool:
        """Whether there has been news since the last time this was asked."""
        news, self._news = self._news, False
        return news

    def stop(self) -> None:
        """End; returns when the thread has."""
        if not self._stopped.is_set():
            self._stopped.set()
            os.write(self._stop_sign, b".")
            self._thread.join()
            os.close(self._stopping)
            os.close(self._stop_sign)

    def _run(self) -> None:
        while not self._stopped.is_set() and not self.is_pooled:
            try:
                self._listen()
            except (LostError, FailedError, StorageError) as exc:
                if self.hears:
                    _log.warning("notifications don't reach this worker (%s); it looks for work instead", exc)
            finally:
                self.hears = False
            # Whatever was said meanwhile, we have not heard it.
            self._tell()
            self._stopped.wait(_AGAIN_S)

    def _listen(self) -> None:
        wire = self._connect()
        try:
            if wire.pooled:
                self.is_pooled = True
                _log.info("a pooler shares the server's sessions: this worker looks for work instead of listening")
                return
            wire.run_text(" ; ".join(f'LISTEN "{channel}"' for channel in self._channels))
            while not self._stopped.is_set():
                self._prove(wire)
                self._hear(wire)
        finally:
            wire.close()

    def _prove(self, wire: Wire) -> None:
        """Call ourselves, and hear it."""
        wire.run([("notify", (texts([self._self]),))])
        poller = select.poll()
        poller.register(wire.fileno(), select.POLLIN)
        while not self._take_in(wire):
            if not poller.poll(PROOF_MS):
                raise LostError("a call of its own was not heard")
        self.hears = True

    def _hear(self, wire: Wire) -> None:
        """Hear what comes until it is time for the next proof."""
        poller = select.poll()
        poller.register(wire.fileno(), select.POLLIN)
        poller.register(self._stopping, select.POLLIN)
        while events := poller.poll(PROOF_MS):
            if any(fd == self._stopping for fd, _ in events):
                return
            # A worker that is told all the time has its proof in that.
            self._take_in(wire)

    def _take_in(self, wire: Wire) -> bool:
        """Take in what has come; whether our own call was there."""
        heard = wire.notified()
        if any(channel != self._self and not self._is_own(backend) for channel, backend in heard):
            self._tell()
        return any(channel == self._self for channel, _ in heard)

    def _tell(self) -> None:
        self._news = True
        self._wake()
