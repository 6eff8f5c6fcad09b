"""The world outside the shop: a bank with its moods, and managers with their habits.

Everything here follows from an order alone, so it can be said beforehand how each order has to end.
"""

from collections.abc import Mapping

from examples.demo.ledger import Kind
from examples.demo.orders import Order, Outcome, Verdict
from perdure import NonRetryableError

# The last four digits of cards that misbehave. All others are fine.
DECLINED_CARD = "0002"
BUSY_CARD = "0119"
SILENT_CARD = "0341"

BUSY_TIMES = 2
"""How often the bank is busy before it charges a `BUSY_CARD`."""

MANAGERS = {"Ada Obi": True, "Grace Lindqvist": True, "Kofi Mensah": False, "Rui Costa": None}
"""Who approves (True), who refuses (False), and who is on holiday (None)."""

EFFECTS: Mapping[Outcome, frozenset[Kind]] = {
    Outcome.SHIPPED: frozenset({Kind.RESERVE, Kind.CHARGE, Kind.SHIP, Kind.MAIL}),
    Outcome.OUT_OF_STOCK: frozenset({Kind.MAIL}),
    Outcome.DECLINED: frozenset({Kind.RESERVE, Kind.RELEASE, Kind.MAIL}),
    Outcome.REFUSED: frozenset({Kind.RESERVE, Kind.CHARGE, Kind.REFUND, Kind.RELEASE, Kind.MAIL}),
    Outcome.TIMED_OUT: frozenset({Kind.RESERVE, Kind.CHARGE, Kind.REFUND, Kind.RELEASE, Kind.MAIL}),
}
"""What an order that ended so must have left in the books, each exactly once, and nothing else."""


class CardDeclinedError(NonRetryableError):
    """The bank says no, and will say it again: `NonRetryableError` keeps Perdure from asking twice."""


class BankBusyError(Exception):
    """The bank has no time now. An ordinary exception, so the activity's retry policy tries again."""


def ask_bank(card: str, attempt: int) -> None:
    """What the bank says before it takes the money."""
    if card == DECLINED_CARD:
        raise CardDeclinedError(f"the card ending in {card} was declined")
    if card == BUSY_CARD and attempt <= BUSY_TIMES:
        raise BankBusyError(f"the bank is busy (attempt {attempt})")


def hear_bank(card: str, attempt: int) -> None:
    """What becomes of the bank's answer once it has taken the money: the nastiest failure is a lost one."""
    if card == SILENT_CARD and attempt == 1:
        raise ConnectionError("the bank has charged the card, and its answer was lost on the way")


def verdict_of(order: Order) -> Verdict | None:
    """What the manager of this order says about it; None if there will never be an answer."""
    approved = MANAGERS[order.manager]
    return None if approved is None else Verdict(approved=approved, by=order.manager)


def expected_outcome(order: Order, stock: Mapping[str, int]) -> Outcome:
    """How this order has to end. Of what is on the shelves at all there is enough for everybody."""
    if not stock[order.item]:
        return Outcome.OUT_OF_STOCK
    if order.card == DECLINED_CARD:
        return Outcome.DECLINED
    if not order.needs_approval:
        return Outcome.SHIPPED
    verdict = verdict_of(order)
    if verdict is None:
        return Outcome.TIMED_OUT
    return Outcome.SHIPPED if verdict.approved else Outcome.REFUSED
