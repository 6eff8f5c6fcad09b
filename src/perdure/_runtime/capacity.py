"""How many activities a worker takes upon itself, beside which there may be others.

Law kept here: what a worker keeps waiting it expects to begin within a moment; all else is in the store, for whoever
has a slot first. Handing an activity over costs several times as much as running one that does nothing.
"""

from perdure._registry import Registry
from perdure._runtime.hands import Hands

BACKLOG_ALONE_MAX = 10_000
"""Activities that a worker keeps in memory while no other worker lives."""

BACKLOG_MAX = 1_000
"""How many a worker keeps waiting at most beside others; fewer if they would wait longer than a quarter of a second."""

_TICK_US = 50_000
"""How often it is looked how many have ended since; what is remembered of it fades by a fifth each time."""


class Capacity:
    """The capacity of one worker, by the pace at which its activities end."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.is_alone = True
        self.ended = 0
        """How many have ended since the last look."""
        self._recent = 0
        self._next_look = 0

    @property
    def ahead(self) -> int:
        """How many may wait, because so many have ended within a moment."""
        return min(self._recent, BACKLOG_MAX)

    @property
    def total(self) -> int:
        """How many it takes, those that run among them."""
        return BACKLOG_ALONE_MAX if self.is_alone else self.slots + self.ahead

    def look(self, now_us: int) -> None:
        """Look at the pace, where it is time to."""
        if now_us < self._next_look:
            return
        # Where nobody has looked for long, nothing has ended for long.
        fades = now_us < self._next_look + _TICK_US
        self._recent = (self._recent * 4 // 5 if fades else 0) + self.ended
        self.ended = 0
        self._next_look = now_us + _TICK_US

    def share(self, workers: int, busy: int, hands: Hands) -> None:
        """Give back what waits here for long, while a newcomer or whoever is quicker has nothing to do.

        There are so many workers now, and this one has so many activities, those that run among them.
        """
        was_alone, self.is_alone = self.is_alone, workers <= 1
        if not self.is_alone and busy - self.slots > 2 * self.ahead:
            hands.keep(0 if was_alone else self.ahead)


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
