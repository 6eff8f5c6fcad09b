"""What need not be kept for ever goes by itself: old instances, and old executions of instances that never end.

Laws kept here: one look and one commit are bounded, whatever there is to delete; whoever deletes is judged by the store
as anybody is, so several workers that do it at once harm nothing and nobody.
"""

import logging
from collections.abc import Sequence
from typing import TypeAlias

from msgspec import Struct

from perdure import _work as work
from perdure._ports import Clock
from perdure._types import Duration, check_count, duration_us
from perdure.errors import StorageError, UsageError
from perdure.storage.base import Storage

LOOKED_AT_MAX = 1_000
"""How many instances one look takes in."""

RETIRED_MAX = 100
"""How many trees and instances with old executions go in one commit."""

REST_US = 60_000_000
"""How long a worker rests between the end of the store and its beginning."""

_log = logging.getLogger("perdure.runtime")

Found: TypeAlias = tuple[int, work.Delete | work.Prune]
"""An incarnation, and what is to be done with it."""


class Retention(Struct, frozen=True):
    """What a runtime removes from the store, and when; nothing by default.

    Args:
        after: How long a completed root instance is kept after its end, with its descendants: seconds or a timedelta.
        failed_after: The same of one that failed, was cancelled or was terminated; default `after`.
        executions: How many executions of an instance keep their histories, the current one among them; for instances
            that continue as new for ever.

    Raises:
        UsageError: A value means nothing, or all are left out.
        LimitError: A value is too large.

    A tree of which anything is open stays. What is removed is gone for good.

    Example:
        Runtime("sqlite:///shop.db", registry, retention=Retention(after=timedelta(days=30), executions=3))
    """

    after: Duration | None = None
    failed_after: Duration | None = None
    executions: int | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        if self.after is None and self.failed_after is None and self.executions is None:
            raise UsageError("Retention() removes nothing: give after=, failed_after= or executions=")
        for name in ("after", "failed_after"):
            value = getattr(self, name)
            if value is not None:
                duration_us(value, name)
        if self.executions is not None:
            check_count("executions", self.executions)


def checked_retention(retention: object) -> Retention | None:
    """What a worker is asked to remove, as it is.

    Raises:
        UsageError: It is something else.
    """
    if retention is not None and not isinstance(retention, Retention):
        raise UsageError(f"retention is {retention!r}: use Retention(after=..., executions=...)")
    return retention


class Retirement:
    """Goes through the store from its oldest instance to its newest, a few at a time, and begins again."""

    def __init__(self, storage: Storage, clock: Clock, retention: Retention) -> None:
        self._storage = storage
        self._clock = clock
        completed, ended = retention.after, retention.failed_after
        self._completed_us = None if completed is None else duration_us(completed)
        self._ended_us = self._completed_us if ended is None else duration_us(ended)
        self._executions = retention.executions
        self._after = 0
        self._rests_until = 0

    def next(self) -> Sequence[work.Item]:
        """What the next few instances bring; nothing while it rests, or when the store can't be read."""
        now = self._clock.monotonic_us()
        if now < self._rests_until:
            return ()
        try:
            lapsed = self._storage.lapsed(self._scan())
        except StorageError as error:
            _log.warning("looking for what need not be kept is put off: %s", error)
            return ()
        found = sorted([*self._trees(lapsed), *self._executions_of(lapsed)], key=_by_incarnation)
        if len(found) > RETIRED_MAX:
            found = found[:RETIRED_MAX]
            self._after = found[-1][0]
        elif lapsed.last is None:
            self._after = 0
            self._rests_until = now + REST_US
        else:
            self._after = lapsed.last
        return [item for _, item in found]

    def _scan(self) -> work.Scan:
        now = self._storage.now()
        return work.Scan(
            after=self._after,
            rows_max=LOOKED_AT_MAX,
            completed_before=None if self._completed_us is None else now - self._completed_us,
            ended_before=None if self._ended_us is None else now - self._ended_us,
            executions=self._executions,
        )

    @staticmethod
    def _trees(lapsed: work.Lapsed) -> list[Found]:
        return [(each, work.Delete(id=id_, incarnation=each)) for id_, each in lapsed.roots]

    def _executions_of(self, lapsed: work.Lapsed) -> list[Found]:
        gone = {incarnation for _, incarnation in lapsed.roots}
        keep = self._executions or 1
        return [
            (each, work.Prune(id=id_, keep=keep, incarnation=each)) for id_, each in lapsed.overlong if each not in gone
        ]


def _by_incarnation(found: Found) -> int:
    return found[0]
