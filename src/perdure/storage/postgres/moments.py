"""The store's time: the server's, as heard with every answer, carried on in between by this machine's steady clock.

Law kept here: it never goes back, and between two answers it is never ahead of the server's.
"""

import threading

from perdure._ports import Clock


class ServerTime:
    """What the server's clock says, asked or reckoned. Threads may share it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._offset_us = 0
        self._last_us = 0

    def heard(self, now_us: int) -> int:
        """The server has just said that it is `now_us`; returns the store's time."""
        with self._lock:
            # It was so when the answer left, so reckoning from now on stays behind by the way of the answer.
            self._offset_us = now_us - self._clock.monotonic_us()
            self._last_us = max(self._last_us, now_us)
            return self._last_us

    def now_us(self) -> int:
        """The store's time, reckoned."""
        with self._lock:
            self._last_us = max(self._last_us, self._clock.monotonic_us() + self._offset_us)
            return self._last_us
