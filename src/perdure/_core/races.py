"""Races: the first of several awaitables, and the end of the others.

Laws kept here: exactly one arm wins, and a loser consumes no external event. Among coroutines the first that ends
cancels the others at once, before asyncio runs another callback: two that are ready in the same run would both end, and
what the second has read would be lost.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Generic, TypeVar

from perdure._core.asks import DurableFuture
from perdure.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

T = TypeVar("T")


class Race(Generic[T]):
    """One race. Arms that are futures or tasks run already; coroutines are started here, in their order."""

    def __init__(self, awaitables: Sequence[Awaitable[T]], where: str | None) -> None:
        for awaitable in awaitables:
            _check(awaitable)
        self._where = where
        self._winner: asyncio.Future[T] | None = None
        self._decision: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting_to_start: dict[int, Awaitable[T]] = {}
        self._arms = [self._arm(index, awaitable) for index, awaitable in enumerate(awaitables)]

    async def winner(self) -> tuple[int, T]:
        """Wait for the first arm that ends, cancel the others, and return its place and its result.

        Of several that have ended already the first in their order wins. Raises what the winner raises. When this wait
        is cancelled all arms are.
        """
        try:
            self._watch()
            await self._decision
        except BaseException:
            self._winner = None
            self._cancel_losers()
            raise
        arm = self._winner
        assert arm is not None  # noqa: S101 - a decision is a winner
        return self._arms.index(arm), arm.result()

    def _arm(self, index: int, awaitable: Awaitable[T]) -> asyncio.Future[T]:
        if asyncio.isfuture(awaitable):
            return awaitable
        self._waiting_to_start[index] = awaitable
        return asyncio.create_task(self._run(index))

    async def _run(self, index: int) -> T:
        try:
            return await self._waiting_to_start.pop(index)
        finally:
            self._decide(self._arms[index])

    def _watch(self) -> None:
        for arm in self._arms:
            if arm.done():
                self._decide(arm)
                return
        for arm in self._arms:
            arm.add_done_callback(self._decide)

    def _decide(self, arm: asyncio.Future[T]) -> None:
        if not self._decision.done():
            self._decision.set_result(None)
            self._winner = arm
            self._cancel_losers()

    def _cancel_losers(self) -> None:
        for arm in self._arms:
            if arm is not self._winner:
                arm.remove_done_callback(self._decide)
                if isinstance(arm, DurableFuture) and arm.lost_at is None:
                    arm.lost_at = self._where
                arm.cancel()
        for awaitable in self._waiting_to_start.values():
            if inspect.iscoroutine(awaitable):
                # It will never run now; left alone, Python would warn that it was never awaited.
                awaitable.close()


def _check(awaitable: object) -> None:
    if isinstance(awaitable, DurableFuture):
        if awaitable.cancelled():
            awaitable.refuse("handed to select")
    elif not inspect.isawaitable(awaitable):
        raise UsageError(f"ctx.select takes what can be awaited, not {awaitable!r}")
