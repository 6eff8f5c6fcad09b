"""What several orchestrations do alike."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TypeVar

from examples.toygres import names
from examples.toygres.types import PERMIT_GRANTED, PERMITS, Acquire, Release
from perdure import ActivityError, DurableFuture, OrchestrationContext

T = TypeVar("T")


async def to_its_end(step: DurableFuture[T]) -> T:
    """Await an activity that is never left half done: a cancel waits until it has ended.

    A cancelled activity may still be running, and end after the one that undoes it. What makes something that has to be
    undone is awaited like this, so that the undoing comes after it.
    """
    try:
        return await asyncio.shield(step)
    except asyncio.CancelledError:
        with suppress(ActivityError):
            await step
        raise


@asynccontextmanager
async def create_permit(ctx: OrchestrationContext, patience: timedelta) -> AsyncIterator[None]:
    """Wait for one of the few permits that the semaphore has, and give it back in the end.

    Raises:
        TimeoutError: None came in time.
    """
    ctx.raise_event(names.CREATE_SEMAPHORE_ID, PERMITS, Acquire(ctx.instance_id))
    try:
        async with asyncio.timeout(patience.total_seconds()):
            await ctx.schedule_wait(PERMIT_GRANTED)
        yield
    finally:
        ctx.raise_event(names.CREATE_SEMAPHORE_ID, PERMITS, Release(ctx.instance_id))
