"""A worker's own client speaks to storage through the worker's engine."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from perdure._client.requests import Bridge, Desk, Ending, Inbox
from perdure._ports import Incarnations
from perdure._work import Item, Outcome
from perdure.storage.base import Inspector

T = TypeVar("T")

READERS = 4


class EngineGateway:
    """A `Gateway` over an engine's inbox."""

    def __init__(self, inbox: Inbox[Any], inspector: Inspector, incarnations: Incarnations) -> None:
        self._desk = Desk(inbox)
        self._inspector = inspector
        self._incarnations = incarnations
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="perdure-read")

    @property
    def inspector(self) -> Inspector:
        """The read side."""
        return self._inspector

    def draw_incarnation(self) -> int:
        """A fresh incarnation for a start."""
        return self._incarnations.draw()

    def draw_id(self) -> str:
        """A fresh instance id: a UUID of version 7."""
        return self._incarnations.draw_id()

    def submit(self, item: Item) -> "asyncio.Future[Outcome]":
        """Have an item committed."""
        return self._desk.submit(item)

    def ending(self, instance_id: str, incarnation: int | None = None) -> "asyncio.Future[Ending]":
        """Wait for an instance's end."""
        return self._desk.ending(instance_id, incarnation)

    async def news(self, instance_id: str) -> "asyncio.Future[None]":
        """A future that is done when the instance may have changed after this returned."""
        return await self._desk.news(instance_id)

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
        self._desk.closed = True

    def end_readers(self) -> None:
        """Wait for the reads under way; after `close`."""
        self._readers.shutdown()
