"""The engine's port to whatever runs activities, and its bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from perdure import _work as work

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perdure._runtime.activities import Activities
    from perdure._runtime.attempts import TaskKey

DELIVERIES_MAX = 5
"""How many workers may die with an instance's turn, or with an activity, before it is set aside."""

TURNS_PER_COMMIT_MAX = 1_000
CROWD = 200
CROWDED_US = 200_000
"""How long no instances are asked for while so many wait here for their turn already."""
POLL_US = 100_000
"""How often the engine looks whether another process has written, while it has nothing to do."""
POLL_FAST_US = 4_000
"""The same while there has been work, or another process has written, within the last second."""
FAST_FOR_US = 1_000_000
DUE_US_MIN = 1_000
"""The shortest wait for what falls due: a store's time stands still while its clock, set back, catches up."""
SAFETY_CLAIM_US = 1_000_000
"""How often the engine asks for work without a reason, so that a lost wake-up costs no more than this."""
MAINTENANCE_US = 500_000


class Hands(Protocol):
    """The port to whatever runs activities."""

    def start(self, tasks: list[work.ClaimedTask]) -> None:
        """Run these."""
        ...

    def cancel(self, keys: list[TaskKey]) -> None:
        """These are no longer wanted."""
        ...

    def keep(self, waiting_max: int) -> None:
        """Give back what waits for a slot, but for so many."""
        ...

    def stop(self, keys: list[TaskKey]) -> None:
        """These shall end, and their outcomes are wanted."""
        ...

    def begin(self, begun: dict[TaskKey, int]) -> None:
        """That these are about to be called is durable, since these moments of the store: they may be."""
        ...

    def renounce(self, keys: Sequence[TaskKey]) -> None:
        """These may not be called."""
        ...

    def lose(self) -> None:
        """The worker has lost its place in the store."""
        ...

    def flush(self) -> None:
        """The round is over: carry over what was said in it, to whoever waits for an answer too."""
        ...


class ActivityHands:
    """Carries the engine's orders to the activities of its worker.

    Args:
        activities: These.
        post: Has a function called with an argument where the activities are: at once, or on their event loop.
        flush: What is done at the end of a round.
    """

    def __init__(
        self, activities: Activities, post: Callable[[Callable[[Any], None], Any], None], flush: Callable[[], None]
    ) -> None:
        self._activities = activities
        self._post = post
        self.flush = flush

    def start(self, tasks: list[work.ClaimedTask]) -> None:
        self._post(self._activities.accept, tasks)

    def cancel(self, keys: list[TaskKey]) -> None:
        self._post(self._activities.cancel, keys)

    def stop(self, keys: list[TaskKey]) -> None:
        self._post(self._activities.stop, keys)

    def keep(self, waiting_max: int) -> None:
        self._post(self._activities.keep, waiting_max)

    def begin(self, begun: dict[TaskKey, int]) -> None:
        self._post(self._activities.begin, begun)

    def renounce(self, keys: Sequence[TaskKey]) -> None:
        self._post(self._activities.renounce, keys)

    def lose(self) -> None:
        self._post(lambda _: self._activities.lose(), None)


class Settings(Struct, frozen=True, kw_only=True):
    """The bounds of one worker."""

    slots: int
    worker_name: str
    deliveries_max: int = DELIVERIES_MAX
    serves: work.Serves = work.Serves()
