"""A worker's own client speaks to storage through the worker's engine."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from perdure._client.requests import Bridge, DeskGateway, Inbox
from perdure._ports import Incarnations
from perdure.storage.base import Inspector

T = TypeVar("T")

READERS = 4


class EngineGateway(DeskGateway):
    """A `Gateway` over an engine's inbox."""

    def __init__(self, inbox: Inbox[Any], inspector: Inspector, incarnations: Incarnations) -> None:
        super().__init__(inbox, inspector, incarnations)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="perdure-read")

    async def read(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a method of the inspector off the event loop."""
        self._desk.refuse_if_closed()
        return await asyncio.get_running_loop().run_in_executor(self._readers, function, *arguments)

    def flush(self) -> None:
        """Wake whoever was answered; called by the engine at the end of its round."""
        self._desk.flush()

    @property
    def bridge(self) -> "Bridge":
        """The bridge to the running loop, for whoever else has something to carry there: one wake-up serves all."""
        return self._desk.bridge()

    def close(self) -> None:
        """Take no more requests."""
        self._desk.close()

    def hang_up(self) -> None:
        """The engine has ended: nobody is answered any more."""
        self._desk.hang_up()

    def end_readers(self) -> None:
        """Wait for the reads under way; after `close`."""
        self._readers.shutdown()
