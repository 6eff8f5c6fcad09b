"""Exceptions that nobody looked at are reported once, at the end, live only; never by the collector."""

import asyncio
import gc

import pytest

from perdure import OrchestrationContext, orchestration
from tests.core.harness import Conversation, replayed


@orchestration
async def careless(ctx: OrchestrationContext) -> None:
    async def fail(reason: str) -> None:
        raise ValueError(reason)

    asyncio.create_task(fail("nobody looks"))  # noqa: RUF006 - the point
    looked_at = asyncio.create_task(fail("somebody looks"))
    await asyncio.wait([looked_at])
    looked_at.exception()
    future = asyncio.get_running_loop().create_future()
    future.set_exception(ValueError("a future's own"))
    await ctx.schedule_activity("a")


def test_they_are_reported_once_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    talk = Conversation(careless)
    talk.start()
    assert talk.execution.warnings == []

    talk.complete(2)
    gc.collect()

    assert talk.execution.warnings == ["task Task-2 failed and nobody looked: ValueError: nobody looks"]
    assert caplog.records == []


def test_a_replay_reports_nothing() -> None:
    talk = Conversation(careless)
    talk.start()
    talk.complete(2)

    assert replayed(talk.stage, careless, talk.history).warnings == []


def test_the_collector_reports_nothing_of_an_execution_that_was_dropped(caplog: pytest.LogCaptureFixture) -> None:
    talk = Conversation(careless)
    talk.start()
    talk.drop()
    del talk
    gc.collect()

    assert caplog.records == []
