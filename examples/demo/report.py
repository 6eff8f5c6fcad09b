"""What the demo says: a progress line while it runs, and plain words at the end."""

import sys
from collections.abc import Mapping, Sequence

from examples.demo.ledger import Kind
from examples.demo.orders import Order, Outcome
from examples.demo.proof import Books

_WIDTH = 30

_MEANING = {
    Outcome.SHIPPED: "charged once, sent once",
    Outcome.OUT_OF_STOCK: "nothing was reserved or charged",
    Outcome.DECLINED: "what was reserved went back to the shelf",
    Outcome.REFUSED: "refunded, and back to the shelf",
    Outcome.TIMED_OUT: "a durable timer ended the wait; refunded, and back to the shelf",
}


class Progress:
    """One line that is written over again and again; a line per quarter where nobody looks at a terminal."""

    def __init__(self) -> None:
        self._live = sys.stdout.isatty()
        self._quarter = 0

    def show(self, done: int, total: int, kills: int) -> None:
        """Say how far it is."""
        bar = ("#" * (_WIDTH * done // total)).ljust(_WIDTH, ".")
        text = f"[{bar}] {done:,} of {total:,} effects, worker killed {kills} times"
        if self._live:
            print(f"\r{text} ", end="", flush=True)
        elif 4 * done // total > self._quarter:
            self._quarter = 4 * done // total
            print(text, flush=True)

    def end(self) -> None:
        """Leave the line."""
        if self._live:
            print()


def describe_orders(orders: Sequence[Order], books: Books) -> str:
    """How the orders ended."""
    ended = [books.outcome_of(order) for order in orders]
    return _table([
        ("orders", len(orders), "each an orchestration of its own"),
        *((f"  {outcome}", ended.count(outcome), _MEANING[outcome]) for outcome in Outcome),
        ("  lost", ended.count(None), "never heard of again"),
        ("refunded", len(books.orders_with(Kind.REFUND)), "of those that were charged and not shipped"),
    ])  # fmt: skip


def describe_work(books: Books, kills: int) -> str:
    """What it took."""
    return _table([
        ("worker killed", kills, f"by SIGKILL; {books.workers} processes did the work, one after another"),
        ("activities attempted", books.attempts, "each written down before it was tried"),
        ("  tried again", books.retried, "because the bank was busy, or its answer was lost"),
        ("  repeated after kills", books.repeated, "because the worker died before the outcome was on the disk"),
        ("  already done", books.already_done, "of these; the ledger knew the key and did nothing"),
    ])  # fmt: skip


def describe_books(orders: Sequence[Order], books: Books, stock: Mapping[str, int], agreed: int) -> str:
    """The balances; they are the same on both sides if all is well."""
    sent = books.orders_with(Kind.SHIP)
    units = sum(order.units for order in orders if order.id in sent)
    worth = sum(order.cents for order in orders if order.id in sent)
    charged, refunded = books.sum_cents(Kind.CHARGE), -books.sum_cents(Kind.REFUND)
    left = sum(books.stock.values())
    return _table([
        ("effects exactly once", books.happened_once, f"of {books.recorded:,} in the ledger"),
        ("stock conserved", sum(stock.values()), f"units in the morning; {left:,} left + {units:,} shipped"),
        ("money conserved", _money(books.till_cents), (
            f"in the till; {_money(charged)} charged - {_money(refunded)} refunded; {_money(worth)} worth shipped"
        )),
        ("Perdure agrees", agreed, f"of {len(orders):,} times on how an order ended"),
    ])  # fmt: skip


def _table(rows: Sequence[tuple[str, int | str, str]]) -> str:
    return "\n".join(f"  {name:<26}{_shown(value):>10}  {words}" for name, value, words in rows)


def _shown(value: int | str) -> str:
    return f"{value:,}" if isinstance(value, int) else value


def _money(cents: int) -> str:
    return f"{cents / 100:,.2f}"
