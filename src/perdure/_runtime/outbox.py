"""What activities bring, on its way to the engine: many entries for one wake-up."""

import asyncio
from collections.abc import Callable

from perdure._runtime.inbox import Entry


class Outbox:
    """Holds entries back until what is ready on the event loop has run. Every method runs on that loop.

    Args:
        loop: The loop.
        put: What takes the entries.
    """

    __slots__ = ("_entries", "_is_held", "_loop", "_put")

    def __init__(self, loop: asyncio.AbstractEventLoop, put: Callable[[list[Entry]], None]) -> None:
        self._loop = loop
        self._put = put
        self._entries: list[Entry] = []
        self._is_held = False

    def add(self, entry: Entry) -> None:
        """Tell the engine, together with whatever else comes in this round of the loop."""
        if not self._entries and not self._is_held:
            self._loop.call_soon(self.flush)
        self._entries.append(entry)

    def hold(self) -> None:
        """Whoever calls this will call `flush` in the same round, whatever happens."""
        self._is_held = True

    def flush(self) -> None:
        """Tell it now."""
        self._is_held = False
        if self._entries:
            entries, self._entries = self._entries, []
            self._put(entries)
