"""What stores have in common that let others share a transaction."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from perdure._work import ClientItem, Outcome, TaskDone

T = TypeVar("T")

LENT_US = 2_000_000
"""How long a transaction that a SQLite store lends may take by default, in microseconds: nobody else writes then."""

LENT_US_MAX = 5_000_000
"""The longest that can be asked for: a worker whose heartbeat can't be written is taken for dead after ten seconds."""


class Joins(Protocol):
    """A store in whose users' own transactions a client's items can be."""

    async def join(self, connection: Any, item: ClientItem, /) -> Outcome:
        """Make an item part of the transaction that the connection is in.

        Nothing is durable when it returns: the item is there if and only if that transaction commits, and those whom it
        concerns hear of it then. A refused item leaves the transaction as it was.

        Raises:
            UsageError: The connection is of no kind that the store knows, or leads elsewhere, or is in no transaction.
            StorageError: As the failure means.
        """
        ...


class Loan(Protocol):
    """A transaction for one attempt of an activity, whose commit carries that one's end."""

    @property
    def connection(self) -> Any:
        """What the activity is given."""
        ...

    @property
    def is_lost(self) -> bool:
        """Whether the store could not be reached through it: what the activity then says of that is not its doing."""
        ...

    async def open(self) -> None:
        """Make the connection ready.

        Raises:
            StorageError: It can't be had.
        """
        ...

    def guarded(self, function: Callable[[Any], T]) -> Callable[[Any], T]:
        """The same function, for a thread that may go on with the connection when nobody waits any more."""
        ...

    async def land(self, done: TaskDone, worker: int) -> Outcome:
        """Commit, together with the end of the task. A refusal (fenced, not_owner) has rolled back.

        Raises:
            OutcomeUnknownError: It is there, or not.
            StorageUnavailableError: Nothing has happened.
            UsageError: The activity has ended the transaction itself.
            StorageError: The store refuses what the activity has done; nothing of it has happened.
        """
        ...

    async def drop(self) -> None:
        """Let nothing have happened; harmless after `land`."""
        ...


async def uninterrupted(work: Awaitable[T]) -> T:
    """The result of work that ends before anybody hears of a cancellation: half of it would be left to nobody."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                continue
        if not task.cancelled():
            # Whoever is cancelled does not want to know.
            task.exception()
        raise
