"""Connections that never write, for whoever reads."""

import threading
from collections.abc import Callable, Sequence

from perdure.storage.base import Meanwhile
from perdure.storage.postgres.session import Session
from perdure.storage.postgres.wire import Call, Rows

READERS_IDLE_MAX = 2
"""How many connections are kept for readers that are not there."""


class Readers:
    """As many connections as there are readers at once."""

    def __init__(self, make: Callable[[], Session]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._idle: list[Session] = []
        self._closed = False

    def read(self, calls: Sequence[Call], meanwhile: Meanwhile | None = None) -> list[Rows]:
        """The answers of statements; `meanwhile` is called while they are waited for."""
        with self._lock:
            session = self._idle.pop() if self._idle else self._make()
        try:
            return session.read(calls, meanwhile)
        finally:
            with self._lock:
                keep = len(self._idle) < READERS_IDLE_MAX and not self._closed
                if keep:
                    self._idle.append(session)
            if not keep:
                session.close()

    def close(self) -> None:
        """Close those that are idle now, and the others when their readers have done."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()
