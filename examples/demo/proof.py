"""What the books say about the day, and everything that is wrong with them.

This reads the ledger and the two CSV files and nothing of Perdure's. Only the last step, `compare`, looks at what
Perdure says about the same orders.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from examples.demo.ledger import Kind
from examples.demo.orders import Order, Outcome
from examples.demo.world import EFFECTS, expected_outcome

# What each effect of an order must have changed in the books: units on the shelf and cents in the till, per unit and
# cent of the order.
_SIGNS: Mapping[Kind, tuple[int, int]] = {
    Kind.RESERVE: (-1, 0),
    Kind.CHARGE: (0, 1),
    Kind.SHIP: (0, 0),
    Kind.REFUND: (0, -1),
    Kind.RELEASE: (1, 0),
    Kind.MAIL: (0, 0),
}

# The same attempt again can only mean that its worker died: a failed one would have been followed by the next number.
_COUNTS = """
SELECT
    (SELECT count(*) FROM attempts),
    (SELECT count(DISTINCT key || '/' || attempt) - count(DISTINCT key) FROM attempts),
    (SELECT count(*) - count(DISTINCT key || '/' || attempt) FROM attempts),
    (SELECT count(*) FROM attempts JOIN effects USING (key) WHERE attempts.id > effects.after_attempt),
    (SELECT count(DISTINCT worker) FROM attempts),
    (SELECT count(*) FROM effects),
    (SELECT cents FROM till)
"""


@dataclass(frozen=True, slots=True)
class Row:
    """An effect as the books have it."""

    order_id: str
    kind: Kind
    units: int
    cents: int
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """All that the ledger says, read once."""

    effects: Mapping[str, Sequence[Row]]
    """By order."""
    stock: Mapping[str, int]
    attempts: int
    retried: int
    """Attempts after a failure."""
    repeated: int
    """Attempts that were made again because a worker died in them."""
    already_done: int
    """Attempts that found their effect in the ledger and left it at that."""
    workers: int
    recorded: int
    till_cents: int

    def sum_cents(self, kind: Kind) -> int:
        return sum(row.cents for rows in self.effects.values() for row in rows if row.kind is kind)

    @property
    def happened_once(self) -> int:
        """How many effects happened exactly once for their order."""
        times = Counter((row.order_id, row.kind) for rows in self.effects.values() for row in rows)
        return sum(count == 1 for count in times.values())

    def orders_with(self, kind: Kind) -> set[str]:
        """The orders for which this was done."""
        return {order_id for order_id, rows in self.effects.items() if any(row.kind is kind for row in rows)}

    def outcome_of(self, order: Order) -> Outcome | None:
        """How the order ended, by the mail to its customer; None if there was no mail, or more than one."""
        mails = [row for row in self.effects.get(order.id, ()) if row.kind is Kind.MAIL]
        return Outcome(mails[0].note) if len(mails) == 1 else None


def read_books(path: Path) -> Books:
    """Read the ledger in one transaction."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("BEGIN")
        effects: dict[str, list[Row]] = {}
        for order_id, kind, units, cents, note in connection.execute(
            "SELECT order_id, kind, units, cents, note FROM effects ORDER BY rowid"
        ):
            effects.setdefault(order_id, []).append(Row(order_id, Kind(kind), units, cents, note))
        stock = dict(connection.execute("SELECT item, units FROM stock"))
        attempts, retried, repeated, already_done, workers, recorded, cents = connection.execute(_COUNTS).fetchone()
    return Books(
        effects=effects,
        stock=stock,
        attempts=attempts,
        retried=retried,
        repeated=repeated,
        already_done=already_done,
        workers=workers,
        recorded=recorded,
        till_cents=cents,
    )


def find_violations(books: Books, orders: Sequence[Order], stock: Mapping[str, int]) -> list[str]:
    """Everything in the books that should not be so, in words; empty if the day is proved.

    Args:
        books: The ledger at the end of the day.
        orders: All orders that were placed.
        stock: The units on the shelves in the morning.
    """
    found = [f"{order_id}: effects of an order that nobody placed" for order_id in _strangers(books, orders)]
    for order in orders:
        found += _wrong_with(order, books, expected_outcome(order, stock))
    found += _stock_lost(books, orders, stock)
    found += _money_lost(books, orders)
    return found


def compare(books: Books, orders: Sequence[Order], results: Mapping[str, object]) -> list[str]:
    """Where Perdure says something else about an order than the books do."""
    return [
        f"{order.id}: the books say {_said(books.outcome_of(order))}, Perdure says {_said(results.get(order.id))}"
        for order in orders
        if results.get(order.id) != books.outcome_of(order)
    ]


def _strangers(books: Books, orders: Sequence[Order]) -> list[str]:
    return sorted(books.effects.keys() - {order.id for order in orders})


def _wrong_with(order: Order, books: Books, expected: Outcome) -> Iterator[str]:
    rows = books.effects.get(order.id, ())
    times = Counter(row.kind for row in rows)
    yield from (f"{order.id}: {kind} happened {count} times" for kind, count in times.items() if count > 1)
    outcome = books.outcome_of(order)
    if not times[Kind.MAIL]:
        yield f"{order.id}: lost, its customer never heard how it ended"
    if outcome is not None and outcome is not expected:
        yield f"{order.id}: ended as {_said(outcome)}, and should have as {_said(expected)}"
    needed = EFFECTS[outcome or expected]
    yield from (f"{order.id}: {kind} never happened" for kind in sorted(needed - times.keys() - {Kind.MAIL}))
    yield from (f"{order.id}: {kind} should not have happened" for kind in sorted(times.keys() - needed))
    for row in rows:
        units, cents = _SIGNS[row.kind]
        if (row.units, row.cents) != (units * order.units, cents * order.cents):
            yield f"{order.id}: {row.kind} changed {row.units} units and {row.cents} cents"


def _stock_lost(books: Books, orders: Sequence[Order], stock: Mapping[str, int]) -> Iterator[str]:
    shipped: Counter[str] = Counter()
    sent = books.orders_with(Kind.SHIP)
    for order in orders:
        if order.id in sent:
            shipped[order.item] += order.units
    for item, units in stock.items():
        left = books.stock.get(item, 0)
        if left + shipped[item] != units:
            yield f"{item}: {units} in the morning, {left} left and {shipped[item]} shipped"


def _money_lost(books: Books, orders: Sequence[Order]) -> Iterator[str]:
    sent = books.orders_with(Kind.SHIP)
    shipped = sum(order.cents for order in orders if order.id in sent)
    if books.till_cents != shipped:
        yield f"{books.till_cents} cents are in the till, and {shipped} cents' worth was shipped"
    balance = books.sum_cents(Kind.CHARGE) + books.sum_cents(Kind.REFUND)
    if books.till_cents != balance:
        yield f"{books.till_cents} cents are in the till, and charges less refunds are {balance}"


def _said(outcome: object) -> str:
    return "nothing" if outcome is None else repr(str(outcome))
