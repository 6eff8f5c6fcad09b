"""Tasks that the programs of these tests start and forget."""

import asyncio


def in_background(coroutine, **options):
    """Start a task that only the orchestration's loop holds."""
    return asyncio.create_task(coroutine, **options)
