"""A parked execution is small, and what it no longer needs is let go of."""

import gc
import sys
import tracemalloc
from collections import deque

from perdure import OrchestrationContext, orchestration
from perdure._core.execution import Execution
from perdure._core.loop import OrchestrationLoop, alive
from perdure._core.stage import Stage
from tests.core.harness import START_US, Conversation, new_execution, started, work

PARKED = 500
BYTES_PER_PARKED_MAX = 2_000
"""Two frames, a task, a durable future, a context, and the frame object that the call site costs (168 bytes)."""


@orchestration
async def parked(ctx: OrchestrationContext) -> None:
    await ctx.schedule_activity("a")


def park(count: int) -> list[Execution]:
    stage, start = Stage(), started(parked)
    executions = []
    for _ in range(count):
        execution = new_execution(parked)
        with stage, stage.on(execution):
            execution.apply(work.Start(input=start.input), START_US, start)
        execution.take_events()
        executions.append(execution)
    return executions


def bytes_of_one_more() -> float:
    # Nobody is in it, but its table may have grown for another test, and is to grow for these.
    alive.clear()
    park(10)
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    executions = park(PARKED)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (after - before) / len(executions)


def test_a_parked_execution_has_less_than_two_kilobytes() -> None:
    # Whoever measures coverage makes frames larger.
    tracing = sys.gettrace()
    sys.settrace(None)
    try:
        measured = bytes_of_one_more()
    finally:
        sys.settrace(tracing)

    assert measured < BYTES_PER_PARKED_MAX


def test_executions_have_no_dict_and_no_queue_of_their_own() -> None:
    (execution,) = park(1)

    assert not vars(execution)
    held = [getattr(execution, name, None) for kind in (Execution, OrchestrationLoop) for name in kind.__slots__]
    assert not any(isinstance(each, deque | dict | list | set) for each in held)


def test_a_stage_lends_its_one_queue_for_a_turn() -> None:
    queues: list[int] = []

    @orchestration
    async def looking(ctx: OrchestrationContext) -> None:
        queues.append(id(ctx._execution.ready))  # noqa: SLF001 - whose queue it is, is what is tested

    one, other = Conversation(looking, always_replay=False), Conversation(looking, always_replay=False)
    other.stage = one.stage
    one.start()
    other.start()

    assert queues[0] == queues[1]
    assert one.execution.ready is None


def test_an_ask_that_is_written_down_lets_go_of_its_input() -> None:
    @orchestration
    async def asking(ctx: OrchestrationContext) -> None:
        await ctx.schedule_activity("a", "x" * 10_000)

    talk = Conversation(asking)
    (scheduled,) = talk.start()

    assert talk.execution.open[scheduled.id].wanted is None
