"""The time of a simulated world: what happens next, and when. Nothing waits; time jumps to the next happening."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Timeline:
    """Happenings in the order of their time, then of their announcement. All times are microseconds since the start."""

    __slots__ = ("_announced", "_happenings", "now", "steps")

    def __init__(self) -> None:
        self.now = 0
        self.steps = 0
        self._announced = 0
        self._happenings: list[tuple[int, int, Callable[[Any], object], Any]] = []

    def at(self, when: int, function: Callable[[Any], object], argument: Any = None) -> None:
        """Call `function(argument)` at this time, or as soon as possible if it is past."""
        self._announced += 1
        heappush(self._happenings, (when, self._announced, function, argument))

    def after(self, us: int, function: Callable[[Any], object], argument: Any = None) -> None:
        """Call `function(argument)` in so many microseconds."""
        self._announced += 1
        heappush(self._happenings, (self.now + us, self._announced, function, argument))

    def step(self, until: int) -> bool:
        """Let the next thing happen; when there is none up to `until`, time goes there and the answer is False."""
        happenings = self._happenings
        if not happenings or happenings[0][0] > until:
            self.now = max(self.now, until)
            return False
        when, _, function, argument = heappop(happenings)
        if when > self.now:  # noqa: PLR1730 - a call for each of them
            self.now = when
        self.steps += 1
        function(argument)
        return True
