"""One activity over many items: so many at a time, and as many as a policy wants.

Laws kept here: an item is asked for when its turn has come and not before, so ten thousand items, ten at a time, are
ten tasks; what is no longer needed is given up before the outcome is told.

Idea: the completion policies of AWS Lambda's durable `map`, and asyncio's own structured concurrency.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from perdure._context import MapPolicy, MapResult
from perdure.errors import ActivityError, MapError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perdure._context import DurableFuture

_SKIPPED: Any = object()


def check_map(max_concurrency: object, policy: object, items: object) -> None:
    """Refuse what no map can be made of.

    Raises:
        UsageError: An option has a value that can't be used, or there are no items.
    """
    if isinstance(items, str | bytes) or not isinstance(items, Iterable):
        raise UsageError(f"ctx.map takes an iterable of inputs, one for each activity, not {items!r:.80}")
    if max_concurrency is not None and (type(max_concurrency) is not int or max_concurrency < 1):
        raise UsageError(f"max_concurrency is {max_concurrency!r}: use a whole number, 1 or more; or leave it out")
    if policy is not None and not isinstance(policy, MapPolicy):
        raise UsageError(f"policy is {policy!r}: use a MapPolicy, such as MapPolicy(max_failures=3)")


class Map:
    """A map under way."""

    def __init__(self, items: Sequence[Any], most: int | None, policy: MapPolicy | None) -> None:
        self._items = items
        self._most = len(items) if most is None else most
        self._policy = policy or MapPolicy(max_failures=0)
        self._outcomes: list[Any] = [_SKIPPED] * len(items)
        self._running: dict[asyncio.Future[Any], int] = {}
        self._ended: deque[asyncio.Future[Any]] = deque()
        self._news = asyncio.Event()
        self._next = 0
        self._succeeded = self._failed = 0
        self._first_failure: ActivityError | None = None

    async def run(self, schedule: Callable[[Any], DurableFuture[Any]]) -> ActivityError | None:
        """Run until the policy is met, or can't be; whatever still runs then is given up.

        Returns the first failure if there were more than the policy allows, or too many for what it wants.
        """
        try:
            while not self._is_over():
                while self._next < len(self._items) and len(self._running) < self._most:
                    future = schedule(self._items[self._next])
                    self._running[future] = self._next
                    self._next += 1
                    future.add_done_callback(self._note)
                await self._news.wait()
                self._news.clear()
                self._take_in()
        finally:
            for left in self._running:
                left.remove_done_callback(self._note)
                left.cancel()
        return self._first_failure if self._is_lost() else None

    def results(self) -> list[Any]:
        """The results, if all succeeded."""
        return self._outcomes

    def outcome(self) -> MapResult[Any]:
        """What came of each item."""
        skipped = tuple(index for index, outcome in enumerate(self._outcomes) if outcome is _SKIPPED)
        return MapResult(tuple(None if outcome is _SKIPPED else outcome for outcome in self._outcomes), skipped)

    def _is_over(self) -> bool:
        wanted = self._policy.min_successful
        if wanted is not None and self._succeeded >= wanted:
            return True
        return self._is_lost() or self._succeeded + self._failed == len(self._items)

    def _is_lost(self) -> bool:
        most, wanted = self._policy.max_failures, self._policy.min_successful
        if wanted is not None and self._succeeded >= wanted:
            return False
        if most is not None and self._failed > most:
            return True
        return wanted is not None and len(self._items) - self._failed < wanted

    def _note(self, future: asyncio.Future[Any]) -> None:
        self._ended.append(future)
        self._news.set()

    def _take_in(self) -> None:
        while self._ended and not self._is_over():
            future = self._ended.popleft()
            index = self._running.pop(future)
            try:
                self._outcomes[index] = future.result()
                self._succeeded += 1
            except ActivityError as error:
                self._outcomes[index] = error
                self._failed += 1
                self._first_failure = self._first_failure or error


async def run_map(
    items: Sequence[Any],
    most: int | None,
    policy: MapPolicy | None,
    schedule: Callable[[Any], DurableFuture[Any]],
) -> Any:
    """The results of all items, or with a policy what came of each.

    Raises:
        ActivityError: One failed, and there is no policy.
        MapError: More failed than the policy allows.
    """
    if policy is not None and policy.min_successful is not None and policy.min_successful > len(items):
        raise UsageError(f"min_successful is {policy.min_successful:,}, and there are {len(items):,} items")
    under_way = Map(items, most, policy)
    failure = await under_way.run(schedule)
    if policy is None:
        if failure is not None:
            raise failure
        return under_way.results()
    result = under_way.outcome()
    if failure is not None:
        raise MapError(failure.error, result) from failure
    return result
