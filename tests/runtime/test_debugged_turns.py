"""A turn that somebody steps through may take longer than its limit; one that is only measured may not."""

import sys
import threading

import pytest

from perdure import HeldError, OrchestrationContext, Registry, Runtime, orchestration
from perdure._client.handle import result_unless_held

LIMIT_S = 0.05
LONG_S = 1.0


def dawdle(tracer):
    frame = sys._getframe()
    frame.f_trace = tracer
    try:
        threading.Event().wait(LONG_S)
    finally:
        frame.f_trace = None


class Coverage:
    """As far as the watchdog can tell, the tracer of coverage.py."""

    __module__ = "coverage.tracer"

    def __call__(self, *_): ...


@orchestration(name="debugged")
async def debugged(ctx: OrchestrationContext) -> str:
    dawdle(lambda *_: None)
    return "stepped through"


@orchestration(name="measured")
async def measured(ctx: OrchestrationContext) -> str:
    dawdle(Coverage())
    return "measured"


async def test_under_a_debugger_there_is_no_limit():
    async with Runtime("memory://", Registry(debugged), turn_limit=LIMIT_S) as runtime:
        handle = await runtime.client.start_orchestration(debugged)
        assert await result_unless_held(handle) == "stepped through"


async def test_under_coverage_there_is():
    async with Runtime("memory://", Registry(measured), turn_limit=LIMIT_S) as runtime:
        handle = await runtime.client.start_orchestration(measured)
        with pytest.raises(HeldError, match="(?s)TurnLimitError.*in dawdle"):
            await result_unless_held(handle)
