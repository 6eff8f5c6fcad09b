"""What goes wrong in a simulated world, drawn from the seed: each class of fault is on or off, at a rate of its own."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perdure.testing._dice import Dice

CALL_FAULTS = {
    "refused": 8,
    "unknown though applied": 6,
    "unknown and lost": 4,
    "hangs before": 4,
    "answers late": 4,
    "killed before": 1,
    "killed after": 1,
    "paused before": 2,
    "paused after": 2,
}
"""Faults of a call of the store, and how likely they are among each other."""

WORLD_FAULTS = {
    "killed": 3,
    "paused": 3,
    "shut down": 3,
    "store's clock forward": 2,
    "store's clock back": 2,
    "worker's clock moved": 2,
}
"""Faults that happen to a worker or to all, at any moment."""

SHARD_FAULTS = {"shard away": 3, "courier stands still": 3}
"""Faults that happen besides where a store lies on several databases."""

WAKE_FAULTS = ("wake-up lost", "wake-up late", "wake-up for nothing")
_NEVER_UNKNOWN = {
    "parcels",
    "lowest_parcel",
    "history",
    "changed",
    "get_many",
    "still_open",
    "get",
    "images",
    "find",
    "read_history",
    "workers",
    "applied",
    "lend",
}
_NEVER = 1 << 60


class Faults:
    """The faults of one seed. `happened` counts them by their names."""

    def __init__(
        self, dice: Dice, allowed: frozenset[str] | None = None, mishaps: dict[str, int] = WORLD_FAULTS
    ) -> None:
        def chosen(names: dict[str, int]) -> dict[str, int]:
            drawn = {name: weight for name, weight in names.items() if dice.chance(75)}
            return {name: weight for name, weight in drawn.items() if allowed is None or name in allowed}

        self._dice = dice
        self._calls = chosen(CALL_FAULTS)
        self._world = chosen(mishaps)
        self._wakes = [name for name in chosen(dict.fromkeys(WAKE_FAULTS, 1)) if dice.chance(60)]
        self.gap = dice.pick((3, 5, 8, 12, 25))
        self.pace_us = dice.pick((300_000, 1_000_000, 3_000_000, 10_000_000))
        self.happened: Counter[str] = Counter()
        self._countdown = 1 + dice.below(2 * self.gap) if self._calls else _NEVER
        self.healed = False

    def heal(self) -> None:
        """From now on nothing goes wrong any more."""
        self.healed = True
        self._countdown = _NEVER
        self._wakes = []

    def of_call(self, operation: str) -> str | None:
        """The fault of the call that is being made, if it has one."""
        self._countdown -= 1
        if self._countdown:
            return None
        self._countdown = 1 + self._dice.below(2 * self.gap)
        name = self._dice.weighted(self._calls)
        if operation in _NEVER_UNKNOWN and "unknown" in name:
            name = "refused"
        self.happened[name] += 1
        return name

    def of_world(self) -> str | None:
        """What happens next to a worker or to all; None when this world has no such faults."""
        if not self._world:
            return None
        name = self._dice.weighted(self._world)
        self.happened[name] += 1
        return name

    def of_reading(self) -> bool:
        """Whether a courier that has read an outbox stands still."""
        if self.healed or "courier stands still" not in self._world or not self._dice.chance(10):
            return False
        self.happened["courier stands still"] += 1
        return True

    def of_wake_up(self) -> str | None:
        """The fault of a wake-up, if it has one."""
        if not self._wakes or not self._dice.chance(20):
            return None
        name = self._dice.pick(self._wakes)
        self.happened[name] += 1
        return name
