"""Chance that a seed repeats on every version of Python."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import TypeVar

from perdure.testing._clock import SeededEntropy

T = TypeVar("T")


class Dice:
    """Throws that depend on the seed alone."""

    def __init__(self, seed: int) -> None:
        self._bits = SeededEntropy(seed).bits

    def below(self, bound: int) -> int:
        """A number from 0 to below the bound."""
        return self._bits() % bound

    def chance(self, percent: int) -> bool:
        """True in so many of a hundred."""
        return self._bits() % 100 < percent

    def pick(self, choices: Sequence[T]) -> T:
        """One of them."""
        return choices[self._bits() % len(choices)]

    def some(self, choices: Sequence[T], most: int) -> tuple[T, ...]:
        """None to `most` different ones, in any order."""
        left = list(choices)
        return tuple(left.pop(self.below(len(left))) for _ in range(min(self.below(most + 1), len(left))))

    def weighted(self, weights: dict[str, int]) -> str:
        """A key, as likely as its weight."""
        bounds = list(accumulate(weights.values()))
        return list(weights)[bisect_right(bounds, self.below(bounds[-1]))]
