"""Turns run from anywhere, and leave the thread as it was: its running loop, its current task, its hooks."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from perdure import OrchestrationContext, orchestration
from tests.core.harness import Conversation, kinds

Runner = Callable[[Coroutine[Any, Any, None]], None]


@orchestration
async def ordinary(ctx: OrchestrationContext) -> str:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(ctx.schedule_activity("a"))
        await asyncio.sleep(1)
    return f"{await task} in {asyncio.current_task().get_name()}"


def converse(talk: Conversation | None = None) -> Conversation:
    """Run it to its end, or from where it is."""
    talk = talk or Conversation(ordinary)
    if not talk.turns:
        talk.start()
        talk.complete(2, "done")
    assert kinds(talk.fire(3)) == ['done "done in root"']
    return talk


def in_debug_mode(program: Coroutine[Any, Any, None]) -> None:
    asyncio.run(program, debug=True)


def in_uvloop(program: Coroutine[Any, Any, None]) -> None:
    uvloop = pytest.importorskip("uvloop", reason="there is no uvloop for this platform")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(program)


def with_eager_tasks(program: Coroutine[Any, Any, None]) -> None:
    factory = getattr(asyncio, "eager_task_factory", None)

    async def main() -> None:
        if factory is not None:
            asyncio.get_running_loop().set_task_factory(factory)
        await asyncio.create_task(program)

    asyncio.run(main())


RUNNERS = [asyncio.run, in_debug_mode, in_uvloop, with_eager_tasks]


@pytest.mark.parametrize("runner", RUNNERS, ids=lambda runner: runner.__name__)
def test_inside_a_task_of_an_outer_loop(runner: Runner) -> None:
    seen: list[bool] = []

    async def main() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        converse()
        seen.append(asyncio.get_running_loop() is loop and asyncio.current_task() is task)
        await asyncio.sleep(0)

    runner(main())

    assert seen == [True]


@pytest.mark.parametrize("runner", RUNNERS, ids=lambda runner: runner.__name__)
def test_inside_a_callback_of_an_outer_loop(runner: Runner) -> None:
    seen: list[bool] = []

    async def main() -> None:
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def callback() -> None:
            converse()
            seen.append(asyncio.get_running_loop() is loop and asyncio.current_task() is None)
            done.set()

        loop.call_soon(callback)
        await done.wait()

    runner(main())

    assert seen == [True]


async def test_the_outer_task_is_current_again_after_a_turn_that_raised() -> None:
    @orchestration
    async def exiting(ctx: OrchestrationContext) -> None:
        raise SystemExit(3)

    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    with pytest.raises(SystemExit):
        Conversation(exiting).start()

    assert asyncio.get_running_loop() is loop
    assert asyncio.current_task() is task


def test_in_a_thread_without_a_loop() -> None:
    left: list[object] = []

    def work() -> None:
        converse()
        left.append(asyncio._get_running_loop())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert left == [None]


def test_a_suspended_execution_moves_between_threads() -> None:
    talk = Conversation(ordinary)
    talk.start()

    with ThreadPoolExecutor(max_workers=1) as elsewhere:
        elsewhere.submit(talk.complete, 2, "done").result()

    assert converse(talk).execution.ending is not None


def test_inside_a_turn_the_orchestrations_own_task_is_current() -> None:
    seen: list[object] = []

    @orchestration
    async def looking(ctx: OrchestrationContext) -> None:
        loop = asyncio.get_running_loop()
        seen.append((loop.is_running(), loop.is_closed(), asyncio.current_task().get_name()))

    async def main() -> None:
        Conversation(looking, always_replay=False).start()

    asyncio.run(main())

    assert seen == [(True, False, "root")]
