"""How many activities a worker takes upon itself, beside which there may be others.

Law kept here: what a worker keeps waiting it expects to begin within a moment; all else is in the store, for whoever
has a slot first. Handing an activity over costs several times as much as running one that does nothing.
"""

from perdure._registry import Registry
from perdure._runtime.hands import TURNS_PER_COMMIT_MAX, Hands

BACKLOG_ALONE_MAX = 10_000
"""Activities that a worker keeps in memory while no other worker lives."""

BACKLOG_MAX = 1_000
"""How many a worker keeps waiting at most beside others; fewer if they would wait longer than a quarter of a second."""

CLAIM_BESIDE_MAX = 250
"""Instances that a worker asks for at once beside others: what one leaves, another has before its own are done."""

_MOMENT_US = 250_000
_TICK_US = 50_000
"""How often the pace is looked at; what is remembered of it fades by a third each time, but not while nothing runs."""
_KEPT = 2 / 3


class Capacity:
    """The capacity of one worker, by the pace at which its slots become free again."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.is_alone = True
        self.busy = 0
        """How many it has, those that run among them."""
        self._since = self._next_look = 0
        self._moments_us = slots * _MOMENT_US
        self._ended = self._recently_ended = 0.0
        self._used_us = self._recently_used_us = 0.0

    @property
    def ahead(self) -> int:
        """How many may wait, because all slots together would end so many within a moment."""
        return min(int(self._ended * self._moments_us / max(self._used_us, 1.0)), BACKLOG_MAX)

    @property
    def total(self) -> int:
        """How many it takes, those that run among them."""
        return BACKLOG_ALONE_MAX if self.is_alone else self.slots + self.ahead

    @property
    def instances_max(self) -> int:
        """How many instances it asks for at once."""
        return TURNS_PER_COMMIT_MAX if self.is_alone else CLAIM_BESIDE_MAX

    def is_busy(self) -> bool:
        """Whether there are activities here."""
        return self.busy > 0

    def take(self, count: int, now_us: int) -> None:
        """So many more are here."""
        self._pass(now_us)
        self.busy += count

    def leave(self, count: int, now_us: int) -> None:
        """So many go back to the store."""
        self._pass(now_us)
        self.busy -= count

    def end(self, count: int, now_us: int) -> None:
        """So many have ended."""
        self.leave(count, now_us)
        self._recently_ended += count

    def _pass(self, now_us: int) -> None:
        """Count for how long slots have been in use."""
        self._recently_used_us += min(self.busy, self.slots) * (now_us - self._since)
        self._since = now_us

    def look(self, now_us: int, hands: Hands) -> None:
        """Look at the pace, where it is time to; give back what would wait here for long."""
        if now_us < self._next_look:
            return
        self._next_look = now_us + _TICK_US
        self._pass(now_us)
        if self._recently_used_us or self._recently_ended:
            self._used_us = self._used_us * _KEPT + self._recently_used_us
            self._ended = self._ended * _KEPT + self._recently_ended
            self._recently_used_us = self._recently_ended = 0.0
            # However quick they were, that shall not be what is thought of slow ones for long.
            self._ended = min(self._ended, BACKLOG_MAX * max(self._used_us, 1.0) / self._moments_us)
        self._give_back(self.ahead, hands)

    def share(self, workers: int, hands: Hands) -> None:
        """Give a newcomer, which has nothing to do, all that waits here. There are so many workers now."""
        was_alone, self.is_alone = self.is_alone, workers <= 1
        if was_alone:
            self._give_back(0, hands)

    def _give_back(self, waiting_max: int, hands: Hands) -> None:
        if not self.is_alone and self.busy - self.slots > 2 * self.ahead:
            hands.keep(waiting_max)


class Slots:
    """The slots that the turns of a round take for what they ask for and this worker can run at once.

    Attributes:
        left: How many more they may take.
        taken: How many are taken, and not yet those of activities that have begun.
        refused: Whether something could get none, and is for whoever claims it.
    """

    __slots__ = ("_names", "left", "refused", "taken")

    def __init__(self, registry: Registry, *, untagged: bool) -> None:
        # Asked for every activity: one that serves tags alone has none to give.
        self._names = frozenset((*registry.activities, *registry.activity_aliases) if untagged else ())
        self.left = 0
        self.taken = 0
        self.refused = False

    def take(self, activity_name: str) -> bool:
        """Take a slot for an activity of this name."""
        if self.left <= 0 or activity_name not in self._names:
            self.refused = True
            return False
        self.left -= 1
        self.taken += 1
        return True
