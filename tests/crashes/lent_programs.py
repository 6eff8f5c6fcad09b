"""Canonical orchestrations that begin and go on in transactions of a user's own, and whose activities have some."""

from perdure import ActivityContext, OrchestrationContext, activity, orchestration
from tests.crashes.programs import MAIL


@activity(transactional=True)
async def book(ctx: ActivityContext, place: int) -> int:
    ctx.connection.execute("INSERT INTO bookings VALUES (?)", (place,))
    return place


@orchestration
async def booking(ctx: OrchestrationContext) -> list[int]:
    paid = await ctx.schedule_wait(MAIL)
    return [paid, await ctx.schedule_activity(book, 1)]
