"""What several orchestrations do alike."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from examples.toygres import names
from examples.toygres.types import PERMIT_GRANTED, PERMITS, Acquire, Release
from perdure import OrchestrationContext


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
