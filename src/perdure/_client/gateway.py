"""A client's own thread to storage, for processes without a worker: group commit, and polling for endings."""

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from perdure._client.requests import Call, DeskGateway, Request, ThreadInbox, Watch, remember, standings, tell
from perdure._ports import Clock, Entropy, Incarnations
from perdure._work import Batch
from perdure.errors import ClientError, OutcomeUnknownError, StorageError, StorageUnavailableError

if TYPE_CHECKING:
    from perdure.storage.base import Storage

T = TypeVar("T")

POLL_US = 10_000
"""How often a client without a worker looks for changes that others made, while somebody waits."""

IDLE_US = 3_600_000_000

AWAY_US_MAX = 500_000
"""How long a client leaves a store alone at most that could not be reached, while somebody waits."""

_log = logging.getLogger("perdure.client")


class ThreadGateway(DeskGateway):
    """Talks to storage on a thread of its own; a `Gateway`."""

    def __init__(self, storage: Any, clock: Clock, entropy: Entropy) -> None:
        self._storage: Storage = storage
        self._entropy = entropy
        self._inbox: ThreadInbox[Any] = ThreadInbox()
        super().__init__(self._inbox, storage, Incarnations(clock, entropy))
        self._watches: dict[str, list[Watch]] = {}
        self._stopped = False
        self._away_us = 0
        """How long to leave a store alone that could not be reached; 0 while it can."""
        self._thread = threading.Thread(target=self._run, name="perdure-client", daemon=True)
        self._thread.start()

    async def read(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a method of the inspector off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)

    async def close(self) -> None:
        """Stop the thread and close the storage."""
        self._desk.close()
        self._inbox.put([Call(self._stop)])
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)
        self._desk.hang_up()
        await asyncio.get_running_loop().run_in_executor(None, self._storage.close)

    def _stop(self) -> None:
        self._stopped = True

    def _run(self) -> None:
        while not self._stopped:
            try:
                self._run_once()
                self._away_us = 0
            except StorageUnavailableError as error:
                if not self._away_us:
                    _log.warning("the store is unavailable (%s); whoever waits for an instance goes on waiting", error)
                self._away_us = min(max(2 * self._away_us, POLL_US), AWAY_US_MAX)
            except Exception:  # noqa: BLE001 - one bad round must not end all that follow
                _log.exception("the client's thread failed; it goes on")
            self._desk.flush()
        for watch in [watch for watches in self._watches.values() for watch in watches]:
            watch.resolve(ClientError("the client was closed while somebody waited for an instance"))
        self._desk.flush()

    def _run_once(self) -> None:
        entries = self._inbox.take(max(POLL_US, self._away_us) if self._watches else IDLE_US)
        requests: list[Request] = []
        fresh: set[str] = set()
        for entry in entries:
            if isinstance(entry, Request):
                requests.append(entry)
            elif isinstance(entry, Watch):
                remember(self._watches, entry)
                if entry.until_closed:
                    fresh.add(entry.instance_id)
            else:
                entry.function()
        if requests:
            self._commit(requests)
        if self._watches:
            # While it was away, nobody has looked at anything.
            changed = self._storage.changed() or bool(requests) or bool(self._away_us)
            self._look(set(self._watches) if changed else fresh, changed=changed)

    def _commit(self, requests: list[Request]) -> None:
        batch = Batch(token=self._entropy.token(), items=tuple(request.item for request in requests))
        try:
            outcomes = self._storage.commit(batch).outcomes
        except (OutcomeUnknownError, StorageUnavailableError) as error:
            for request in requests:
                request.resolve(error)
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, whoever waits must hear of it
            # Perhaps one request is at fault, which then must not take the others with it.
            if len(requests) > 1:
                for request in requests:
                    self._commit([request])
                return
            _log.exception("the store can't take a %s", type(requests[0].item).__name__)
            refused = StorageError(f"the store can't take this request ({type(error).__name__}: {error})")
            requests[0].resolve(error if isinstance(error, StorageError) else refused)
            return
        for request, outcome in zip(requests, outcomes, strict=True):
            request.resolve(outcome)

    def _look(self, ids: set[str], *, changed: bool) -> None:
        found = standings(self._inspector, sorted(ids))
        for instance_id in ids:
            incarnation, ending = found.get(instance_id, (None, None))
            tell(self._watches, instance_id, incarnation, ending, changed=changed)
