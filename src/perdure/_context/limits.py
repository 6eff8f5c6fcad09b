"""Limits by key: how many may be under way at a time, and how many may begin within a span of time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final, final

from perdure._types import check_name, duration_us
from perdure.errors import LimitError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager
    from typing import Any

    from perdure._types import Duration

LIMIT_COUNT_MAX = 10_000
"""The largest concurrency and the largest rate of a limit."""


@final
class Limit:
    """A limit by key, kept by the store for all workers together: for activities, and for sections of orchestrations.

    At most `concurrency` activities and sections with the key are under way at a time, and at most `rate` of them begin
    within any `per`. Whoever comes too early waits in line, first come first served, and is told when its turn has
    come. What holds a place is known by its row: an activity's is free again when the activity ends, waits for its next
    attempt, or its worker dies; a section's when it is left, or when its instance ends.

    What has the same key may declare different numbers, as two releases do during a deployment: those count that were
    declared last, also for what waits already.

    Args:
        key: What is limited, a name; or a function that says it for the inputs of an activity (not for a section).
        concurrency: How many at a time, 1 to 10,000; None for any number.
        rate: How many may begin within `per`, 1 to 10,000; each attempt counts. None for any number.
        per: The span of time that `rate` is about, in seconds or as a timedelta; 1 second by default.

    Raises:
        UsageError: The key is no name and no function, a number is none, or there is neither of the two.
        LimitError: A number is too large.

    Example:
        @activity(limit=Limit("smtp", concurrency=5, rate=100, per=60))
        async def send(mail: Mail) -> None: ...

        @activity(limit=Limit(lambda order: f"tenant:{order.tenant}", concurrency=2))
        async def charge(order: Order) -> str: ...
    """

    __slots__ = ("concurrency", "key", "per_us", "rate")

    def __init__(
        self,
        key: str | Callable[..., str],
        /,
        concurrency: int | None = None,
        *,
        rate: int | None = None,
        per: Duration = 1.0,
    ) -> None:
        if not callable(key):
            check_name("limit key", key)
        if concurrency is None and rate is None:
            raise UsageError(f"the limit {key!r} limits nothing: give it concurrency=, rate=, or both")
        per_us = duration_us(per, what="per")
        if per_us == 0:
            raise UsageError("per is 0, in which nothing can begin: use a longer span of time")
        self.key: Final = key
        self.concurrency: Final = _count("concurrency", concurrency)
        self.rate: Final = _count("rate", rate)
        self.per_us: Final = per_us

    def key_of(self, inputs: Sequence[Any]) -> str:
        """The key for an activity with these inputs.

        Raises:
            UsageError: The key is a function that did not give a name.
        """
        return check_name("limit key", self.key(*inputs)) if callable(self.key) else self.key

    def __repr__(self) -> str:
        numbers = "" if self.concurrency is None else f", concurrency={self.concurrency}"
        if self.rate is not None:
            numbers += f", rate={self.rate}, per={self.per_us / 1e6:g}"
        return f"Limit({self.key!r}{numbers})"


def _count(what: str, count: int | None) -> int | None:
    if count is None:
        return None
    if type(count) is not int or count < 1:
        raise UsageError(
            f"{what} is {count!r}: use a whole number from 1 to {LIMIT_COUNT_MAX:,}, or None for any number"
        )
    if count > LIMIT_COUNT_MAX:
        raise LimitError(f"{what} is {count:,}; the largest is {LIMIT_COUNT_MAX:,}")
    return count


class Limiting(ABC):
    """The verb of the context by which a section of an orchestration holds a place of a limit."""

    __slots__ = ()

    @abstractmethod
    def limit(
        self,
        key: str | Limit,
        concurrency: int | None = None,
        /,
        *,
        rate: int | None = None,
        per: Duration = 1.0,
    ) -> AbstractAsyncContextManager[None]:
        """Wait for a place of a limit by key, and hold it for a whole section of the orchestration.

        The place belongs to the instance, whichever worker runs it, also while it is held, suspended, or waits for
        weeks. It is free again, at once for whoever is next in line, when the section is left, by whatever way, and
        when the execution ends by whatever way: a continue-as-new, a cancel, a terminate, a delete.

        Args:
            key: The key, or a `Limit` that says all.
            concurrency: How many sections and activities with the key may be under way at a time.
            rate: How many of them may begin within `per`.
            per: A span of time, in seconds or as a timedelta.

        Raises:
            UsageError: As for `Limit`, or its key is a function.

        Example:
            async with ctx.limit("gpu-cluster", 5):
                await ctx.schedule_activity(reserve, job)
                await ctx.schedule_activity(train, job)
        """
