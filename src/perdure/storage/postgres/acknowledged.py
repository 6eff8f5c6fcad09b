"""What the store has acknowledged to its workers, by which one is found out that has forgotten some of it.

A standby that is promoted without the last commits, and a backup that is restored under live workers, are behind what
workers have in memory. Law kept here: a worker whose last commit is not there has no place in that store, as if others
had buried it; it starts over from what there is.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from perdure.errors import OutcomeUnknownError
from perdure.storage.postgres.arrays import bigint, blobs
from perdure.storage.postgres.wire import Call, Rows, Wire

_log = logging.getLogger("perdure.storage")


class Acknowledged:
    """The tokens of workers' last commits, and the connections over which they were."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._last: dict[int, tuple[Wire, list[bytes]]] = {}
        """By worker. Behind the acknowledged token those of commits of which nobody knows whether they landed."""

    def fence(self, wire: Wire, worker: int) -> Call:
        """The statement that locks the worker's row; over another connection it looks at the token, too."""
        last, tokens = self._last.get(worker, (wire, None))
        if tokens is None or (last is wire and not wire.pooled):
            return ("worker", (bigint(worker),))
        return ("worker_after", (bigint(worker), blobs(tokens)))

    def place(self, rows: Rows) -> tuple[int | None, str | None, bool]:
        """The answer of `fence` without its last column; nothing for a worker that has no place in the store."""
        if not rows:
            return None, None, False
        [(joined, last_lane, places, is_last)] = rows
        if not is_last:
            _log.warning(
                "%s has forgotten commits that it had acknowledged: it is a standby without the last of them, or a "
                "backup. The worker starts over from what is there, and runs some activities again",
                self._place,
            )
            return None, None, False
        return joined, last_lane, places

    def landed(self, wire: Wire, worker: int | None, token: bytes) -> None:
        """The commit of a worker that has a place in the store is there."""
        if worker is not None:
            self._last[worker] = wire, [token]

    @contextmanager
    def remembering(self, worker: int | None, token: bytes) -> Iterator[None]:
        """Remember the token of a commit of which in the end nobody knows whether it landed."""
        try:
            yield
        except OutcomeUnknownError:
            if worker is not None and worker in self._last:
                self._last[worker][1].append(token)
            raise

    def forget(self, worker: int) -> None:
        """The worker is no more."""
        self._last.pop(worker, None)
