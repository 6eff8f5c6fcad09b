"""Sends a commit, however long the store is away, and finds out what became of it."""

import logging
from collections.abc import Callable

from msgspec.structs import replace

from perdure import _work as work
from perdure._client.requests import Request
from perdure._runtime.culprits import ChokedError, Part, commit, unknown
from perdure.errors import OutcomeUnknownError, StorageError, StorageUnavailableError
from perdure.storage.base import Storage

RETRY_STORAGE_US = 50_000
RETRY_STORAGE_US_MAX = 2_000_000

_log = logging.getLogger("perdure.runtime")


class Sender:
    """Speaks to a store that may be away.

    Args:
        storage: The store.
        pause: Waits for so many microseconds.
        leaving: Whether the worker has no more time to wait.
    """

    def __init__(self, storage: Storage, pause: Callable[[int], None], leaving: Callable[[], bool]) -> None:
        self._storage = storage
        self._pause = pause
        self._leaving = leaving

    def send(self, worker: int, batch: work.Batch, requests: list[Request]) -> work.Committed | None:
        """Commit, however long it takes; None when it landed, or may have, and its answer is lost."""
        pause = RETRY_STORAGE_US
        while True:
            try:
                committed = commit(self._storage, batch)
            except StorageUnavailableError as error:
                _log.warning("the store is unavailable (%s); nothing is lost, trying again", error)
                if requests:
                    Part(requests=requests).tell(error)
                    batch = replace(batch, items=batch.items[len(requests) :])
                    requests.clear()
            except (ChokedError, OutcomeUnknownError) as error:
                if self._landed(worker, batch.token, error) is not False:
                    Part(requests=requests).tell(unknown(error))
                    return None
                if isinstance(error, ChokedError):
                    raise
                _log.warning("a commit did not land (%s); nothing is lost, sending it again", error)
            else:
                return committed
            if self._leaving():
                return None
            self._pause(pause)
            pause = min(2 * pause, RETRY_STORAGE_US_MAX)

    def _landed(self, worker: int, token: bytes, error: Exception) -> bool | None:
        """Ask whether a commit of unknown outcome was applied, until the store answers; None: it does not know."""
        pause = RETRY_STORAGE_US
        while True:
            try:
                return self._storage.applied(worker, token)
            except StorageError as silence:
                _log.warning(
                    "a commit's outcome is unknown (%s), and the store does not tell it (%s); asking again",
                    error,
                    silence,
                )
            if self._leaving():
                return True
            self._pause(pause)
            pause = min(2 * pause, RETRY_STORAGE_US_MAX)
