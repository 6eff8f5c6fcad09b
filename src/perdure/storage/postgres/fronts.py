"""Where a worker begins to look for work while removed rows can't be forgotten.

A claim looks from the beginning of an index, over the entries of rows that were removed. Where somebody keeps those and
there are many, it begins where the last claim has left off.

Law kept here: a claim that begins there finds all that has come within the last second, and whatever else it passes
over is found by the next that begins at the beginning, a second later at most.
"""

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from typing import NamedTuple

from perdure._ports import Clock
from perdure._work import ClaimedTask
from perdure.storage.postgres.arrays import bigint, bigints

REMOVED_MIN = 10_000
"""How many removed rows a table must have for claims to begin behind them; so many cost one about 3 milliseconds."""

WHOLE_LOOK_US = 900_000
"""How often a claim begins at the beginning all the same, in microseconds; an idle worker claims once a second."""

IN_FLIGHT_US = 1_000_000
"""How long a commit may take, in microseconds, for what it adds to be found at once."""

PRIORITIES_MAX = 100
"""Of how many priorities it is remembered how far the line was looked at; of others all is."""

_FIRST, _LAST = -(1 << 63), (1 << 63) - 1


class Bounds(NamedTuple):
    """Where the statements of a claim begin, as they are bound with it."""

    due: bytes | None
    line: tuple[bytes, bytes, bytes, bytes]
    """Priorities, and since when of each; and ranges of priorities of which all is looked at, by both their ends."""
    delayed: bytes | None
    deadlines: bytes | None
    ahead: tuple[bytes | None, bytes | None]
    """Up to where there is no timer to wait for, and no deadline."""


WHOLE = Bounds(
    due=bigint(_FIRST),
    line=(bigints([]), bigints([]), bigints([_FIRST]), bigints([_LAST])),
    delayed=bigint(_FIRST),
    deadlines=bigint(_FIRST),
    ahead=(bigint(_FIRST), bigint(_FIRST)),
)


class Front:
    """How far one worker has looked."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next_whole_us = 0
        self._is_whole = True
        self._due = self._delayed = self._deadlines = _FIRST
        self._line = {0: _FIRST}
        self._timer_ahead = self._deadline_ahead = _FIRST
        # To look for them would be to walk over all that was removed behind them, for each.
        self._own_timers: list[int] = []

    def adds(self, fire_ats: Iterable[int]) -> None:
        """A commit of the worker adds timers."""
        for fire_at in fire_ats:
            self._due = min(self._due, fire_at)
            if fire_at <= self._timer_ahead:
                heappush(self._own_timers, fire_at)

    def next_timer(self, now: int) -> int | None:
        """When the next of the worker's own timers fires for which nobody looks, if it is still there."""
        while self._own_timers and self._own_timers[0] <= now:
            heappop(self._own_timers)
        return self._own_timers[0] if self._own_timers else None

    def bounds(self) -> Bounds:
        """Where the next claim begins."""
        self._is_whole = self._clock.monotonic_us() >= self._next_whole_us
        if self._is_whole:
            return WHOLE
        return Bounds(
            due=bigint(self._due),
            line=(bigints(list(self._line)), bigints(list(self._line.values())), *self._between()),
            delayed=bigint(self._delayed),
            deadlines=bigint(self._deadlines),
            ahead=(bigint(self._timer_ahead), bigint(self._deadline_ahead)),
        )

    def _between(self) -> tuple[bytes, bytes]:
        """The ranges of priorities of which nothing is known, by their lowest and highest ones."""
        known = sorted(self._line)
        return bigints([_FIRST, *(each + 1 for each in known)]), bigints([*(each - 1 for each in known), _LAST])

    def saw_instances(self, now: int, dues: Sequence[int], found: int) -> None:
        """The claim has brought instances for which something has been due since then, of so many that it found."""
        if self._is_whole:
            self._next_whole_us = self._clock.monotonic_us() + WHOLE_LOOK_US
        if dues or not found:
            # What is left of these comes again.
            self._due = min([now - IN_FLIGHT_US, *dues])

    def saw_tasks(self, now: int, tasks: Sequence[ClaimedTask], found: int) -> None:
        """The claim has brought tasks, in their order, of so many that it found."""
        recent = now - IN_FLIGHT_US
        known = {*self._line, *(task.priority for task in tasks)}
        if found <= len(tasks):
            self._delayed = self._deadlines = recent
            self._line = dict.fromkeys(known, recent)
        elif tasks:
            # What is left of the line comes behind the last of them.
            last = tasks[-1]
            self._line |= {priority: recent for priority in known if priority > last.priority}
            self._line[last.priority] = min(last.scheduled_at, recent)
        if len(self._line) > PRIORITIES_MAX:
            self._line = {0: self._line[0]}

    def saw_ahead(self, timer: int | None, deadline: int | None) -> None:
        """The first timer that there is from the bounds on, and the first deadline."""
        if self._is_whole:
            self._own_timers.clear()
        self._timer_ahead = _LAST if timer is None else timer - 1
        self._deadline_ahead = _LAST if deadline is None else deadline - 1


class Fronts:
    """How far the workers of a handle have looked; they are told apart as long as that matters.

    Args:
        clock: Tells when it is time to begin at the beginning.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._of: dict[int, Front] | None = None

    def heed(self, removed: int) -> None:
        """So many removed rows are kept by somebody."""
        if removed < REMOVED_MIN:
            self._of = None
        elif self._of is None:
            self._of = {}

    def of(self, worker: int | None) -> Front | None:
        """The front of a worker; None where its claims look at everything."""
        if self._of is None or worker is None:
            return None
        return self._of.setdefault(worker, Front(self._clock))
