"""What the shop speaks of: orders, how they can end, and the stock they come from."""

import csv
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

HERE = Path(__file__).parent

APPROVAL_ABOVE_CENTS = 50_000
"""Orders that cost more than this have to be approved by a manager."""


@dataclass(frozen=True, slots=True)
class Order:
    """One row of orders.csv. A plain dataclass is all that Perdure needs to carry it from process to process."""

    id: str
    customer: str
    item: str
    units: int
    cents: int
    card: str
    manager: str

    @property
    def needs_approval(self) -> bool:
        return self.cents > APPROVAL_ABOVE_CENTS


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a manager says about an expensive order."""

    approved: bool
    by: str


class Outcome(StrEnum):
    """How an order ends. The customer is told in a mail, and it is the result of the orchestration."""

    SHIPPED = "shipped"
    OUT_OF_STOCK = "out of stock"
    DECLINED = "card declined"
    REFUSED = "refused by a manager"
    TIMED_OUT = "not approved in time"


def read_orders(path: Path = HERE / "orders.csv") -> list[Order]:
    """The orders of a CSV file, in its order."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Order(
                id=row["id"],
                customer=row["customer"],
                item=row["item"],
                units=int(row["units"]),
                cents=int(row["cents"]),
                card=row["card"],
                manager=row["manager"],
            )
            for row in csv.DictReader(file)
        ]


def read_stock(path: Path = HERE / "stock.csv") -> dict[str, int]:
    """The units of each item that are on the shelves in the morning."""
    with path.open(encoding="utf-8", newline="") as file:
        return {row["item"]: int(row["units"]) for row in csv.DictReader(file)}
