"""The effects on the world, one activity each.

An activity is where the outside world may be touched. Perdure keeps its outcome in history and never runs it again
once that is on the disk. But a worker can die after the effect and before that commit, and then the activity runs once
more: so each of these asks the ledger first, with `ctx.idempotency_key`, which is the same at every attempt.

They are plain `def` functions because `sqlite3` blocks; Perdure runs them in a pool of threads.
"""

from examples.demo.ledger import Effect, Kind, Ledger, NotInStockError
from examples.demo.orders import Order, Outcome
from examples.demo.world import ask_bank, hear_bank
from perdure import ActivityContext, Backoff, NonRetryableError, RetryPolicy, activity

PATIENTLY = RetryPolicy(5, backoff=Backoff.exponential(0.05, max=1, jitter=0.5))


class OutOfStockError(NonRetryableError):
    """There is not enough of the item, and trying again at once would not change that."""


@activity(retry=PATIENTLY)
def reserve(ctx: ActivityContext, order: Order) -> None:
    """Take the units from the shelf."""
    try:
        _act(ctx, Kind.RESERVE, order, units=-order.units)
    except NotInStockError as error:
        raise OutOfStockError(str(error)) from error


@activity(retry=PATIENTLY)
def release(ctx: ActivityContext, order: Order) -> None:
    """Put the units back: undoes `reserve`."""
    _act(ctx, Kind.RELEASE, order, units=order.units)


@activity(retry=PATIENTLY)
def charge(ctx: ActivityContext, order: Order) -> None:
    """Take the money; the bank may decline, be busy, or take it and never answer."""
    effect = Effect(
        key=ctx.idempotency_key,
        order_id=order.id,
        kind=Kind.CHARGE,
        item=order.item,
        cents=order.cents,
        note=order.card,
    )
    ledger = ctx.state(Ledger)
    number = ledger.note_attempt(effect, ctx.attempt)
    ask_bank(order.card, ctx.attempt)
    ledger.apply(effect, number)
    hear_bank(order.card, ctx.attempt)


@activity(retry=PATIENTLY)
def refund(ctx: ActivityContext, order: Order) -> None:
    """Give the money back: undoes `charge`."""
    _act(ctx, Kind.REFUND, order, cents=-order.cents)


@activity(retry=PATIENTLY)
def ship(ctx: ActivityContext, order: Order) -> None:
    """Hand the parcel to the carrier."""
    _act(ctx, Kind.SHIP, order)


@activity(retry=PATIENTLY)
def mail(ctx: ActivityContext, order: Order, outcome: Outcome) -> None:
    """Tell the customer how the order ended."""
    _act(ctx, Kind.MAIL, order, note=outcome)


def _act(ctx: ActivityContext, kind: Kind, order: Order, *, units: int = 0, cents: int = 0, note: str = "") -> None:
    """Note the attempt, then make the effect if it was not made before."""
    effect = Effect(
        key=ctx.idempotency_key, order_id=order.id, kind=kind, item=order.item, units=units, cents=cents, note=note
    )
    ledger = ctx.state(Ledger)
    number = ledger.note_attempt(effect, ctx.attempt)
    ledger.apply(effect, number)
