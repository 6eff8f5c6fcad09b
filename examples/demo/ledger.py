"""The shop's books: stock, till, and every effect with the key that makes it happen once.

This is an ordinary SQLite database, opened by Python's own `sqlite3`. It stands for whatever your activities act upon:
a payment provider, a warehouse, another team's service. It knows nothing of Perdure and shares no transaction with it,
so a worker can die between the two. That is the gap which `Ledger.apply` closes, by looking for the key first.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

# Nothing but the key is unique in `effects`: if an effect happened twice under two keys, the books would show it.
_SCHEMA = """
CREATE TABLE stock (item TEXT PRIMARY KEY, units INTEGER NOT NULL CHECK (units >= 0));
CREATE TABLE till (cents INTEGER NOT NULL);
INSERT INTO till VALUES (0);

CREATE TABLE attempts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL,
    order_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    worker INTEGER NOT NULL
);

CREATE TABLE effects (
    key TEXT PRIMARY KEY,
    order_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    item TEXT NOT NULL,
    units INTEGER NOT NULL,
    cents INTEGER NOT NULL,
    note TEXT NOT NULL,
    after_attempt INTEGER NOT NULL
);

CREATE TRIGGER keep_attempts BEFORE DELETE ON attempts BEGIN SELECT RAISE(ABORT, 'attempts are kept'); END;
CREATE TRIGGER fix_attempts BEFORE UPDATE ON attempts BEGIN SELECT RAISE(ABORT, 'attempts never change'); END;
CREATE TRIGGER keep_effects BEFORE DELETE ON effects BEGIN SELECT RAISE(ABORT, 'effects are kept'); END;
CREATE TRIGGER fix_effects BEFORE UPDATE ON effects BEGIN SELECT RAISE(ABORT, 'effects never change'); END;
"""

_BUSY_S = 10.0


class Kind(StrEnum):
    """What can be done for an order."""

    RESERVE = "reserve"
    CHARGE = "charge"
    SHIP = "ship"
    REFUND = "refund"
    RELEASE = "release"
    MAIL = "mail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """A change of the books: `units` is added to the stock of `item`, `cents` to the till; both may be negative."""

    key: str
    order_id: str
    kind: Kind
    item: str
    units: int = 0
    cents: int = 0
    note: str = ""


class NotInStockError(Exception):
    """The shelf has fewer units than an effect would take from it."""


class Ledger:
    """The books, open in this process; its threads may share one `Ledger`."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        # Transactions are begun and ended by hand, in _transaction.
        self._connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        # With NORMAL, whatever was committed outlives the death of a process, which is what happens here. Only a power
        # cut could undo the last commits; books that must outlive that too want FULL.
        self._connection.execute("PRAGMA synchronous = NORMAL")

    @classmethod
    def create(cls, path: Path, stock: Mapping[str, int]) -> Self:
        """New books, with this stock and an empty till."""
        ledger = cls(path)
        ledger._connection.execute("PRAGMA journal_mode = WAL")
        ledger._connection.executescript(_SCHEMA)
        ledger._connection.executemany("INSERT INTO stock (item, units) VALUES (?, ?)", stock.items())
        return ledger

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def note_attempt(self, effect: Effect, attempt: int) -> int:
        """Write down that somebody is about to try this, whatever comes of it; returns the number of the entry."""
        with self._transaction() as connection:
            cursor = connection.execute(
                "INSERT INTO attempts (key, order_id, kind, attempt, worker) VALUES (?, ?, ?, ?, ?)",
                (effect.key, effect.order_id, effect.kind, attempt, os.getpid()),
            )
            assert cursor.lastrowid is not None  # noqa: S101 - sqlite3 sets it after every INSERT
            return cursor.lastrowid

    def apply(self, effect: Effect, after_attempt: int) -> bool:
        """Make the effect unless its key says that it was made before; returns whether it was new.

        Raises:
            NotInStockError: The shelf has too few units; nothing has changed.
        """
        with self._transaction() as connection:
            if connection.execute("SELECT 1 FROM effects WHERE key = ?", (effect.key,)).fetchone() is not None:
                return False
            connection.execute(
                "INSERT INTO effects (key, order_id, kind, item, units, cents, note, after_attempt)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    effect.key, effect.order_id, effect.kind, effect.item,
                    effect.units, effect.cents, effect.note, after_attempt,
                ),
            )  # fmt: skip
            connection.execute("UPDATE till SET cents = cents + ?", (effect.cents,))
            try:
                connection.execute("UPDATE stock SET units = units + ? WHERE item = ?", (effect.units, effect.item))
            except sqlite3.IntegrityError as error:
                raise NotInStockError(f"fewer than {-effect.units} of {effect.item!r} are left") from error
            return True

    def count_effects(self) -> int:
        """How many effects there are; the progress of the day."""
        with self._lock:
            count: int = self._connection.execute("SELECT count(*) FROM effects").fetchone()[0]
            return count

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
