"""Starts and events in transactions of the user's own, and the transactions that a SQLite store lends."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from perdure._client.opened import Opened
from perdure._types import duration_us
from perdure.errors import UsageError
from perdure.storage.lending import LENT_US, LENT_US_MAX, uninterrupted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from perdure import _work as work
    from perdure._client.requests import Gateway
    from perdure._context.transaction import Transaction
    from perdure._types import Duration, OnConflict
    from perdure.storage.lending import Joins

    Submit: TypeAlias = Callable[[work.ClientItem], Awaitable[work.Outcome]]


class Transactions(Opened):
    """The part of a client that lends transactions."""

    @asynccontextmanager
    async def transaction(self, *, timeout: Duration = LENT_US / 1e6) -> AsyncGenerator[Transaction]:
        """A transaction of the store's SQLite file, for tables of your own in it, and for starts and events with them.

        It is committed at the end of the block, durable then, and rolled back if the block raises. It holds the one
        writer of the file from the beginning, so that workers wait: do what takes long before it.

        Args:
            timeout: After this time, in seconds or as a timedelta, it is rolled back by itself; at most 5 seconds.

        Raises:
            UsageError: The store is no SQLite file (on PostgreSQL pass a connection of your own), or the time too long.
            StorageUnavailableError: The writer could not be had in time; try again.
            OutcomeUnknownError: The disk failed in the commit: it is there or not.
            TimeoutError: The block took longer than the transaction lasts; nothing of it has happened.

        Example:
            async with client.transaction() as tx:
                tx.execute("UPDATE stock SET left = left - 1 WHERE item = ?", (item,))
                await client.start_orchestration(ship, item, connection=tx)
        """
        gateway = self._opened()
        limit_us = duration_us(timeout, "timeout")
        if not 0 < limit_us <= LENT_US_MAX:
            raise UsageError(
                f"timeout is {timeout!r}: use more than 0 and at most {LENT_US_MAX / 1e6:g} seconds, because nobody "
                "else writes to the store meanwhile"
            )
        lend = getattr(gateway.inspector, "lend", None)
        if hasattr(gateway, "shards"):
            raise UsageError(
                "this store lies on several shards, and a transaction is in one database: write to your own tables in "
                "an activity, or on PostgreSQL pass a connection to the database of the instance (connection=)"
            )
        if lend is None:
            raise UsageError(
                "only a store in a SQLite file lends transactions: on PostgreSQL pass a connection of your own to "
                "start_orchestration and raise_event (connection=)"
            )
        lent = lend(limit_us)
        try:
            await lent.open()
            yield lent.theirs
        except BaseException:
            await uninterrupted(asyncio.to_thread(lent.roll_back))
            raise
        await uninterrupted(asyncio.to_thread(lent.commit))


def joining(gateway: Gateway, connection: Any) -> Submit:
    """How items get into the transaction of a connection.

    Raises:
        UsageError: No connection can be used with this store.
    """
    store: Any = gateway.inspector
    if not hasattr(store, "join"):
        raise UsageError("connection= needs a store in PostgreSQL or in a SQLite file: one in memory has none")
    joins: Joins = store
    return partial(joins.join, connection)


def check_conflict(on_conflict: OnConflict) -> None:
    """Refuse what would hold up a running instance until somebody's transaction ends.

    Raises:
        UsageError: It would.
    """
    if on_conflict == "terminate_and_restart":
        raise UsageError(
            'on_conflict="terminate_and_restart" can\'t be part of your transaction, which would hold up the running '
            'instance and its worker until it ends: terminate it first, and use "restart_if_closed"'
        )
