"""The time of a handle on a store.

Law kept here: it never goes back, so that nothing that was due is not due any more, and no lease gets shorter.
"""

import threading

from perdure._ports import Clock


class ForwardClock:
    """The wall time of a clock, which stands still while the clock is behind what it has said already.

    Threads may share it.
    """

    __slots__ = ("_clock", "_last_us", "_lock")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last_us = 0
        self._lock = threading.Lock()

    def now_us(self) -> int:
        """Microseconds since 1970 in UTC."""
        now = self._clock.now_us()
        # What has been said already needs no lock to be said again: it only ever grows.
        if now > self._last_us:
            with self._lock:
                self._last_us = max(self._last_us, now)
        return self._last_us
