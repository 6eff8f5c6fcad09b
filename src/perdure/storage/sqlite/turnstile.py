"""One at a time, from any event loop: who waits for a lent transaction must not block the loop of who has it.

Law kept here: the place goes to who has waited longest, and to nobody who has given up.
"""

import asyncio
import threading
from collections import deque


class Turnstile:
    """Lets one in at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = False
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._given: set[asyncio.Future[None]] = set()

    async def enter(self) -> None:
        """Wait for one's turn; `leave` must follow."""
        with self._lock:
            if not self._taken:
                self._taken = True
                return
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
        try:
            await turn
        except BaseException:
            with self._lock:
                is_mine = turn in self._given
                self._given.discard(turn)
                if turn in self._waiting:
                    self._waiting.remove(turn)
            if is_mine:
                self.leave()
            raise
        with self._lock:
            self._given.discard(turn)

    def leave(self) -> None:
        """Let the next one in; from any thread."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._taken = False
                    return
                turn = self._waiting.popleft()
                self._given.add(turn)
            try:
                turn.get_loop().call_soon_threadsafe(_tell, turn)
            except RuntimeError:
                # Its loop has closed: nobody waits any more.
                with self._lock:
                    self._given.discard(turn)
            else:
                return


def _tell(turn: "asyncio.Future[None]") -> None:
    if not turn.done():
        turn.set_result(None)
