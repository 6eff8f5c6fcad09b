"""The ports: the only place where Perdure reads a clock or draws randomness.

Everything else receives a `Clock` and an `Entropy`, so a test or a simulation can own time and chance.
"""

import os
import random
import time
from typing import Protocol

_EPOCH_2020_MS = 1_577_836_800_000
_SEQUENCE_BITS = 22
_CHANCE_BITS = 52
_CHANCE_MASK = (1 << _CHANCE_BITS) - 1
_TOKEN_BYTES = 16
_TOKENS_AT_ONCE = 256

# Whoever asks the operating system lets go of the interpreter's lock, and has to wait for it if another thread wants it
# too: the engine and the event loop would take turns at every start of an orchestration. So many are drawn at once;
# `pop` gives each to one thread only, and a child that was forked begins with none.
_tokens: list[bytes] = []
os.register_at_fork(after_in_child=_tokens.clear)


class Clock(Protocol):
    """Wall-clock and monotonic time, in microseconds."""

    def now_us(self) -> int:
        """Microseconds since 1970 in UTC."""
        ...

    def monotonic_us(self) -> int:
        """Microseconds that never go back; only differences mean something."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now_us(self) -> int:
        """Microseconds since 1970 in UTC."""
        return time.time_ns() // 1000

    def monotonic_us(self) -> int:
        """Microseconds that never go back."""
        return time.monotonic_ns() // 1000


class Entropy(Protocol):
    """Where randomness comes from."""

    def token(self) -> bytes:
        """Sixteen bytes that nobody can guess."""
        ...

    def fraction(self) -> float:
        """A number in [0, 1), for jitter."""
        ...


class SystemEntropy:
    """The operating system's randomness."""

    def token(self) -> bytes:
        """Sixteen bytes that nobody can guess."""
        try:
            return _tokens.pop()
        except IndexError:
            drawn = os.urandom(_TOKENS_AT_ONCE * _TOKEN_BYTES)
            first, *others = [drawn[at : at + _TOKEN_BYTES] for at in range(0, len(drawn), _TOKEN_BYTES)]
            _tokens.extend(others)
            return first

    def fraction(self) -> float:
        """A number in [0, 1), for jitter."""
        return random.random()  # noqa: S311 - jitter is no secret


def drawn_at_us(incarnation: int) -> int:
    """When an incarnation was drawn, to a millisecond, in microseconds since 1970 in UTC."""
    return ((incarnation >> _SEQUENCE_BITS) + _EPOCH_2020_MS) * 1000


def first_drawn_at(us: int) -> int:
    """The lowest incarnation that can be drawn at a moment, in microseconds since 1970 in UTC, or after it."""
    return max(us // 1000 - _EPOCH_2020_MS, 0) << _SEQUENCE_BITS


class Incarnations:
    """Draws incarnations: 63-bit ids that rise with time, so rows of one period share pages of a B-tree.

    41 bits of milliseconds since 2020, then 22 bits that start at random in each millisecond and rise within it. Two
    processes that meet in one number are told apart by the storage, which refuses the second.
    """

    __slots__ = ("_clock", "_entropy", "_ms", "_sequence")

    def __init__(self, clock: Clock, entropy: Entropy) -> None:
        self._clock = clock
        self._entropy = entropy
        self._ms = 0
        self._sequence = 0

    def draw(self) -> int:
        """The next incarnation, larger than any drawn here before."""
        ms = self._clock.now_us() // 1000 - _EPOCH_2020_MS
        if ms > self._ms:
            self._ms = ms
            self._sequence = int(self._entropy.fraction() * (1 << (_SEQUENCE_BITS - 1)))
        else:
            self._sequence += 1
            if self._sequence >> _SEQUENCE_BITS:
                self._ms += 1
                self._sequence = 0
        return (self._ms << _SEQUENCE_BITS) | self._sequence

    def draw_id(self) -> str:
        """A UUID of version 7 (RFC 9562) as text, larger than any drawn here before.

        From the left: 48 bits of milliseconds, the version, 12 bits of the sequence within them, the variant, the other
        10 bits of the sequence, and 52 random ones.
        """
        drawn = self.draw()
        chance = int.from_bytes(self._entropy.token()[:8], "big") & _CHANCE_MASK
        ms, sequence = (drawn >> _SEQUENCE_BITS) + _EPOCH_2020_MS, drawn & ((1 << _SEQUENCE_BITS) - 1)
        number = ms << 80 | 7 << 76 | sequence >> 10 << 64 | 2 << 62 | (sequence & 0x3FF) << _CHANCE_BITS | chance
        digits = number.to_bytes(16, "big").hex()
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
