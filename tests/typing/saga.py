"""A saga: each step puts its undoing on a stack, which runs backwards unless all went well."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import assert_type

from perdure import (
    ActivityContext,
    ActivityError,
    Backoff,
    NonRetryableError,
    OrchestrationContext,
    Registry,
    RetryAfter,
    RetryPolicy,
    activity,
    orchestration,
    run,
)


@dataclass
class Trip:
    traveller: str
    cents: int


@dataclass
class Booked:
    flight: str
    hotel: str


class CardDeclinedError(NonRetryableError):
    """The bank said no."""


@activity
async def book_flight(ctx: ActivityContext, trip: Trip) -> str:
    return f"flight of {trip.traveller}, {ctx.idempotency_key}"


@activity(retry=RetryPolicy(5, backoff=Backoff.exponential(2, multiplier=2.0, max=30), attempt_timeout=60))
async def book_hotel(trip: Trip, nights: int = 1) -> str:
    return f"hotel of {trip.traveller} for {nights}"


@activity(retry=RetryPolicy(3))
def charge(ctx: ActivityContext, trip: Trip) -> None:
    if trip.cents > 100_000:
        raise CardDeclinedError(trip.traveller)
    if ctx.attempt == 1:
        raise RetryAfter(30)


@activity
async def cancel_booking(booking: str) -> None: ...


@orchestration(version="1.1.0")
async def book_trip(ctx: OrchestrationContext, trip: Trip) -> Booked | None:
    async def undo(booking: str) -> None:
        await ctx.schedule_activity(cancel_booking, booking)

    try:
        async with AsyncExitStack() as undoing:
            flight = await ctx.schedule_activity(book_flight, trip)
            undoing.push_async_callback(undo, flight)
            hotel = await ctx.schedule_activity(book_hotel, trip, 3, tag="hotels")
            undoing.push_async_callback(undo, hotel)
            await ctx.schedule_activity(charge, trip, retry=RetryPolicy(3), priority=5)
            undoing.pop_all()
    except ActivityError as error:
        if not error.caused_by(CardDeclinedError):
            raise
        ctx.trace_warn("card declined", traveller=trip.traveller)
        return None
    assert_type(flight, str)
    assert_type(hotel, str)
    return Booked(flight, hotel)


registry = Registry(book_flight, book_hotel, charge, cancel_booking, book_trip)


async def call_it_in_a_unit_test() -> None:
    assert_type(await book_flight(Trip("Ada", 5)), str)
    assert_type(await book_hotel(Trip("Ada", 5), nights=2), str)
    await charge(Trip("Ada", 5))


def main() -> None:
    assert_type(run(book_trip, Trip("Ada", 5), registry=registry), Booked | None)
