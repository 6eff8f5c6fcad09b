"""The storage contract: dumb and atomic.

Laws kept here: storage never looks inside an event or payload; one call is one transaction; each item of a batch lands
whole or not at all and is judged on its own, so a refused item harms no other; ownership and liveness are checked
inside the transaction that writes; time is read from the store's clock after its lock is held.

Every call has three outcomes. It returns: applied. It raises `StorageUnavailableError`: not applied, try again. It
raises `OutcomeUnknownError`: ask `applied(worker, token)`, then decide. No other exception of storage means anything
about an orchestration.

All calls block and may come from any thread, one at a time for `Storage` and any number at once for `Inspector`.
`perdure.testing.storage_suite` is this contract as tests.
"""

from collections.abc import Sequence
from typing import Protocol

from .._work import Batch, Committed, HistoryRow, InstanceRecord, Query, WorkerRecord

LEASE_US = 10_000_000
"""How long a worker is believed alive after its last heartbeat, in microseconds of the store's clock."""


class Storage(Protocol):
    """The write side: what a worker or client needs to commit and to take work."""

    def now(self) -> int:
        """The store's time, in microseconds UTC."""
        ...

    def register(
        self, *, name: str, orchestrations: Sequence[str], activities: Sequence[str], lease_us: int = LEASE_US
    ) -> WorkerRecord:
        """Make a worker row with a fresh random id (63 bits) and take over what dead workers left behind."""
        ...

    def heartbeat(self, worker: int, /) -> bool:
        """Extend the worker's lease; False when its row is gone, that is, somebody has taken over its work.

        May be called from another thread while `commit` runs.
        """
        ...

    def unregister(self, worker: int, /) -> None:
        """Release at once everything that the worker owns, and remove its row. Counts as no delivery."""
        ...

    def reap(self, worker: int, /) -> int:
        """Take away the work of workers that are dead (lease over, or proven dead) for anybody to claim.

        Instances lose their owner; tasks lose theirs and count a delivery. Also marks as held the instances that wait
        longer than a grace time for a name or version that no live worker has, and returns how many workers it buried.
        """
        ...

    def commit(self, batch: Batch, /) -> Committed:
        """Apply the items in order, then claim; all in one transaction. Durable when it returns.

        Claimed are: instances without owner, or owned by this worker, that have due messages or timers, whose name and
        version (or name alone while the version is open) this worker has; held ones only if they were held before this
        worker registered; any instance with a due control message whatever its name or state. And tasks without owner
        that are due and whose activity this worker has, highest priority first, then oldest; also tasks whose total or
        schedule-to-start deadline is over. Of messages all that are due come along (in order of due time, then arrival;
        at most 1,000 per instance). Messages of an owned instance that were handed out and not yet consumed come again.

        Raises:
            StorageUnavailableError: Not applied (locked, full, connection refused): try again.
            OutcomeUnknownError: Perhaps applied.
        """
        ...

    def applied(self, worker: int, token: bytes, /) -> bool:
        """Whether the worker's last commit was the one with this token."""
        ...

    def history(self, incarnation: int, execution: int, /) -> list[HistoryRow]:
        """All rows of one execution, in order."""
        ...

    def changed(self) -> bool:
        """Whether anybody else may have committed since the last call of `changed`; cheap enough to poll."""
        ...

    def close(self) -> None:
        """Release files and connections; harmless when repeated."""
        ...


class Inspector(Protocol):
    """The read side, for clients, the command line and the dashboard; never used to decide a turn."""

    def get(self, instance_id: str, /) -> InstanceRecord | None:
        """One instance by id."""
        ...

    def get_many(self, instance_ids: Sequence[str], /) -> dict[str, InstanceRecord]:
        """Those of the instances that exist."""
        ...

    def find(self, query: Query, /) -> tuple[list[InstanceRecord], str | None]:
        """One page and the key of the next, None at the end. Keyset paging: stable while instances come and go."""
        ...

    def read_history(self, incarnation: int, execution: int, /) -> list[HistoryRow]:
        """All rows of one execution, in order."""
        ...

    def workers(self) -> list[WorkerRecord]:
        """The registered workers."""
        ...
