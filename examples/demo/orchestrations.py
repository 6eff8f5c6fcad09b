"""What happens to an order: plain asyncio code that survives the death of its process at any line.

Perdure writes down the outcome of every activity, timer and event. When a worker dies, the next one runs the
function again from its first line and feeds it the outcomes that are written down, up to where it was. That is why the
code here touches nothing but `ctx`: everything that could turn out otherwise the second time is an activity.
"""

from contextlib import AsyncExitStack
from datetime import timedelta

from examples.demo.activities import OutOfStockError, charge, mail, refund, release, reserve, ship
from examples.demo.orders import Order, Outcome, Verdict
from examples.demo.world import CardDeclinedError
from perdure import ActivityError, ExternalEvent, OrchestrationContext, orchestration

APPROVAL = ExternalEvent[Verdict]("approval")
"""Sent by a manager; the type is checked at both ends."""

WAITING = "waiting for approval"
"""The custom status of an order that waits for a manager."""


@orchestration
async def fulfil(ctx: OrchestrationContext, order: Order, patience: timedelta) -> Outcome:
    """Sell what was ordered, or leave no trace of having tried; in both cases tell the customer."""
    try:
        outcome = await _sell(ctx, order, patience)
    except ActivityError as error:
        outcome = _explain(error)
    await ctx.schedule_activity(mail, order, outcome)
    return outcome


async def _sell(ctx: OrchestrationContext, order: Order, patience: timedelta) -> Outcome:
    """Reserve, charge, wait for approval, ship. Whatever was done is undone, backwards, unless the parcel leaves."""
    async with AsyncExitStack() as undoing:
        await ctx.schedule_activity(reserve, order)
        undoing.push_async_callback(ctx.schedule_activity, release, order)

        await ctx.schedule_activity(charge, order)
        undoing.push_async_callback(ctx.schedule_activity, refund, order)

        if order.needs_approval:
            ctx.set_custom_status(WAITING)
            match await ctx.select2(ctx.schedule_wait(APPROVAL), ctx.schedule_timer(patience)):
                case 0, Verdict(approved=False):
                    return Outcome.REFUSED
                case 1, _:
                    return Outcome.TIMED_OUT

        await ctx.schedule_activity(ship, order)
        undoing.pop_all()
        return Outcome.SHIPPED


def _explain(error: ActivityError) -> Outcome:
    """The outcome that an activity's failure means; one that means nothing to us fails the order."""
    if error.caused_by(OutOfStockError):
        return Outcome.OUT_OF_STOCK
    if error.caused_by(CardDeclinedError):
        return Outcome.DECLINED
    raise error
