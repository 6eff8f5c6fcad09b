"""Time and chance that a test owns: a clock that it moves, and entropy that a seed repeats on every Python version."""

import threading

from perdure.errors import UsageError

_START_US = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z
_MASK = (1 << 64) - 1


class ManualClock:
    """A clock that stands still until it is moved; wall-clock and monotonic time move together. Threads may share it.

    Args:
        now_us: Where it begins, in microseconds since 1970 in UTC; 2026-01-01 by default.

    Example:
        >>> clock = ManualClock(now_us=0)
        >>> clock.advance(1_500_000)
        1500000
        >>> clock.now_us(), clock.monotonic_us()
        (1500000, 1500000)
    """

    def __init__(self, now_us: int = _START_US) -> None:
        self._lock = threading.Lock()
        self._now_us = now_us
        self._monotonic_us = 0

    def now_us(self) -> int:
        """Microseconds since 1970 in UTC."""
        return self._now_us

    def monotonic_us(self) -> int:
        """Microseconds that never go back."""
        return self._monotonic_us

    def advance(self, us: int, /) -> int:
        """Move both clocks forward by microseconds; returns the new time."""
        with self._lock:
            self._now_us += us
            self._monotonic_us += us
            return self._now_us

    def set(self, now_us: int, /) -> None:
        """Set the wall clock, back too, as an operator may; monotonic time stays."""
        with self._lock:
            self._now_us = now_us


class SeededEntropy:
    """Entropy that the same seed repeats, on every version of Python (SplitMix64). Not for production.

    Example:
        >>> SeededEntropy(7).token() == SeededEntropy(7).token()
        True
    """

    def __init__(self, seed: int) -> None:
        if not isinstance(seed, int):
            raise UsageError(f"seed is {seed!r}: use a whole number")
        self._state = seed & _MASK

    def bits(self) -> int:
        """The next 64 random bits."""
        self._state = mixed = (self._state + 0x9E3779B97F4A7C15) & _MASK
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return mixed ^ (mixed >> 31)

    def token(self) -> bytes:
        """Sixteen bytes."""
        return self.bits().to_bytes(8, "big") + self.bits().to_bytes(8, "big")

    def fraction(self) -> float:
        """A number in [0, 1)."""
        return (self.bits() >> 11) / (1 << 53)
