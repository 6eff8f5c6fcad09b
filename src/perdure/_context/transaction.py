"""What a store lends that has its users' tables in the same SQLite file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class Transaction(Protocol):
    """A write transaction on the SQLite file of a store, lent for a limited time.

    Tables of your own live beside the store's; those of the store can be read and not changed. Calls block for as long
    as SQLite takes. Nobody else writes to the file meanwhile, no worker either, so it ends by itself after its time: it
    is rolled back, and the next call raises `TimeoutError`. Use it in one task or thread at a time.

    Example:
        async with client.transaction() as tx:
            tx.execute("INSERT INTO orders (id, cents) VALUES (?, ?)", (order.id, order.cents))
            await client.start_orchestration(checkout, order, instance_id=order.id, connection=tx)
    """

    def execute(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = (), /) -> list[tuple[Any, ...]]:
        """The rows of a statement (or of several, divided by semicolons), all of them.

        Raises:
            TimeoutError: The time is over; nothing of the transaction has happened.
            UsageError: The transaction has ended, or the statement would end it or change what is not yours.
            StorageUnavailableError: SQLite can't write now (locked, full); nothing has happened.
            apsw.Error: What SQLite says of the statement; the transaction goes on without it.
        """
        ...

    def executemany(self, sql: str, rows: Iterable[Sequence[Any] | Mapping[str, Any]], /) -> None:
        """The same statement for each row of values."""
        ...
