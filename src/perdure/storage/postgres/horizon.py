"""Finding out who keeps the server from forgetting what was removed, and saying so.

A transaction, a replication slot or a prepared transaction that stays open for long keeps every row that was removed
since it began, and claims walk over those. Law kept here: nothing depends on it; each is told once, and what a role may
not see is left out.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from perdure._ports import Clock
from perdure.errors import StorageError, StorageUnavailableError
from perdure.storage.postgres.arrays import bigint
from perdure.storage.postgres.fronts import Front, Fronts
from perdure.storage.postgres.wire import Call, Rows

LOOK_US = 60_000_000
"""How often the store looks, in microseconds; who is met twice is told."""

AGE_MIN = 1_000
"""How many transactions must have begun since, or it does no harm."""

_log = logging.getLogger("perdure.storage")

_END = {
    "session": "end what it does there, or SELECT pg_terminate_backend({id})",
    "replication slot": "bring its standby back, or SELECT pg_drop_replication_slot('{id}')",
    "prepared transaction": "COMMIT PREPARED '{id}' or ROLLBACK PREPARED '{id}'",
}


class _Holder(NamedTuple):
    kind: str
    id: str
    xmin: str
    """Since which transaction the server forgets nothing: another one is another story."""


class Horizon:
    """Who is known to keep removed rows, and where claims begin therefore.

    Args:
        place: The server, for messages.
        clock: Tells when it is time to look.
    """

    def __init__(self, place: str, clock: Clock) -> None:
        self._place = place
        self._clock = clock
        self._next_us: int | None = 0
        self._met: dict[_Holder, int] = {}
        """And when they were met first."""
        self._told: set[_Holder] = set()
        self._fronts = Fronts(clock)

    def look(self, read: Callable[[Sequence[Call]], list[Rows]]) -> None:
        """Look, if it is time for that; whoever was there already the last time is told, once."""
        now = self._clock.monotonic_us()
        if self._next_us is None or now < self._next_us:
            return
        self._next_us = now + LOOK_US
        try:
            [rows, [(removed,)]] = read([("snapshot_holders", (bigint(AGE_MIN),)), ("removed_rows", ())])
        except StorageUnavailableError:
            return
        except StorageError as exc:
            # It may be hidden from this role, which then works as well as before.
            _log.info("this worker does not look who keeps removed rows: %s", exc)
            self._next_us = None
            return
        self._fronts.heed(removed if rows else 0)
        met: dict[_Holder, int] = {}
        for kind, id_, xmin, whose, since in rows:
            holder = _Holder(kind, id_, xmin)
            met[holder] = self._met.get(holder, now)
            if holder in self._met and holder not in self._told:
                self._told.add(holder)
                self._tell(holder, whose, since, (now - met[holder]) // 1_000_000)
        self._met = met
        self._told &= met.keys()

    def front(self, worker: int | None) -> Front | None:
        """Where the next claim of a worker begins, if not at the beginning."""
        return self._fronts.of(worker)

    def _tell(self, holder: _Holder, whose: str, since: int | None, seconds: int) -> None:
        began = f"for {seconds} seconds at least"
        if since is not None:
            began = f"since {datetime.fromtimestamp(since // 1_000_000, UTC):%Y-%m-%d %H:%M:%S} UTC"
        _log.warning(
            "%s can't forget what is removed: the %s %s (%s) has kept all of it %s, and its tables grow until it is "
            "over: %s",
            self._place, holder.kind, holder.id, whose, began, _END[holder.kind].format(id=holder.id),
        )  # fmt: skip
