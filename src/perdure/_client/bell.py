"""Wakes an event loop from another thread.

`call_soon_threadsafe` does that too, at three times the price: it makes a handle with a context for each call, and the
loop reads what woke it until an exception says that there is no more.
"""

from __future__ import annotations

import socket
from threading import get_ident
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

_RINGS_HEARD_AT_ONCE = 64


class Bell:
    """Has something called on a loop, at least once behind each ring.

    Args:
        loop: The running loop.
        answer: What is called.
    """

    __slots__ = ("_answer", "_far", "_loop", "_may_listen", "_near", "_thread")

    def __init__(self, loop: asyncio.AbstractEventLoop, answer: Callable[[], None]) -> None:
        self._loop = loop
        self._answer = answer
        self._thread = get_ident()
        self._may_listen = True
        self._near: socket.socket | None = None
        self._far: socket.socket | None = None

    def ring(self) -> None:
        """Wake the loop, from any thread; one that has closed hears nothing."""
        far = self._far
        try:
            if get_ident() == self._thread:
                # Who looks whether its loop has anything to do must find that.
                self._loop.call_soon_threadsafe(self._answer)
            elif far is None:
                self._loop.call_soon_threadsafe(self._listen)
            else:
                far.send(b"\0")
        except (OSError, RuntimeError):
            # It has closed, or was rung so often that it will hear without this.
            return

    def close(self) -> None:
        """Answer once more, and let go of the loop. Called on it, or when it has closed."""
        self._may_listen = False
        if self._near is not None and self._far is not None:
            if not self._loop.is_closed():
                self._loop.remove_reader(self._near)
                self._answer()
            self._near.close()
            self._far.close()

    def _listen(self) -> None:
        """Answer, and from now on hear what is rung by the short way, where there is one."""
        if self._may_listen:
            self._may_listen = False
            near, far = socket.socketpair()
            near.settimeout(0)
            far.settimeout(0)
            try:
                self._loop.add_reader(near, self._hear, near)
            except NotImplementedError:
                # Not every loop watches sockets: Windows' own does not.
                near.close()
                far.close()
            else:
                self._near, self._far = near, far
        self._answer()

    def _hear(self, near: socket.socket) -> None:
        near.recv(_RINGS_HEARD_AT_ONCE)
        self._answer()
