"""Whatever an activity does, it fails itself and nothing else."""

import asyncio
import logging
import os
import sys
import threading
from pathlib import Path

import pytest

from perdure import (
    ActivityContext,
    ActivityError,
    Backoff,
    OrchestrationContext,
    OrchestrationError,
    Registry,
    RetryPolicy,
    Runtime,
    activity,
    orchestration,
)
from perdure.testing import Environment


@activity(name="fine")
async def fine() -> str:
    return "fine"


async def outcome_of(definition, *inputs) -> str:
    """How an orchestration sees this activity end, with another one beside it that must not notice."""

    @orchestration(name="look")
    async def look(ctx: OrchestrationContext) -> str:
        try:
            bad = ctx.schedule_activity(definition, *inputs)
            assert await ctx.schedule_activity(fine) == "fine"
            return str(await bad)
        except ActivityError as error:
            return f"{error.error.type}: {error.error.message}"

    async with Runtime("memory://", Registry(definition, fine, look)) as runtime:
        result = await (await runtime.client.start_orchestration(look)).result()
        again = await (await runtime.client.start_orchestration(look)).result()
        assert again == result
        return result


def down(number: int) -> int:
    return down(number + 1) + 1


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError])
async def test_exceptions_that_end_programs_fail_the_attempt(error):
    @activity(name="bad")
    async def bad() -> str:
        raise error("enough")

    assert "enough" in await outcome_of(bad)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, StopIteration])
async def test_the_same_in_a_thread(error):
    @activity(name="bad")
    def bad() -> str:
        raise error("enough")

    assert "enough" in await outcome_of(bad)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])
async def test_they_end_one_in_a_thread_as_they_end_any_other(error, caplog):
    runs = []

    @activity(name="bad", retry=RetryPolicy(3, backoff=Backoff.none()))
    async def bad() -> str:
        runs.append("on the loop")
        raise error("enough")

    @activity(name="bad", retry=RetryPolicy(3, backoff=Backoff.none()))
    def bad_in_thread() -> str:
        runs.append("in a thread")
        raise error("enough")

    there, here = await outcome_of(bad_in_thread), await outcome_of(bad)

    assert there == here
    assert there.startswith(f"builtins.{error.__name__}: enough: ")
    assert runs == ["in a thread"] * 2 + ["on the loop"] * 2
    assert "failed to run" not in caplog.text


async def test_sys_exit_is_a_failure():
    @activity(name="bad")
    async def bad() -> str:
        sys.exit(3)

    assert "SystemExit: 3: it asks the whole process to end" in await outcome_of(bad)


async def test_endless_recursion_is_a_failure():
    @activity(name="bad")
    async def bad() -> int:
        return down(0)

    @activity(name="bad")
    def bad_in_thread() -> int:
        return down(0)

    assert "RecursionError" in await outcome_of(bad)
    assert "RecursionError" in await outcome_of(bad_in_thread)


async def test_a_plain_function_that_returns_a_coroutine_is_told_to_be_async():
    async def real() -> str:
        return "never"

    @activity(name="bad")
    def bad() -> str:
        return real()  # type: ignore[return-value]  # the mistake under test

    assert "make it an `async def`" in await outcome_of(bad)


async def test_a_base_exception_group_is_a_failure():
    @activity(name="bad")
    async def bad() -> str:
        raise BaseExceptionGroup("several", [KeyboardInterrupt(), ValueError("odd")])

    assert "odd" in await outcome_of(bad)


async def test_a_failed_task_group_is_a_failure_and_its_tasks_are_gone():
    @activity(name="bad")
    async def bad() -> str:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.Event().wait())
            raise ValueError("odd")

    assert "odd" in await outcome_of(bad)


async def test_one_that_cancels_itself_fails_and_is_not_run_again():
    runs = 0

    @activity(name="bad")
    async def bad() -> str:
        nonlocal runs
        runs += 1
        task = asyncio.current_task()
        assert task is not None
        task.cancel("by my own hand")
        await asyncio.Event().wait()
        return "never"

    assert "by my own hand" in await outcome_of(bad)
    assert runs == 2


async def test_an_error_class_that_can_not_be_made_again_is_recorded():
    class Odd(Exception):
        def __init__(self, *, needed: str) -> None:
            self.needed = needed

        def __reduce__(self):
            raise TypeError("not this one")

    @activity(name="bad")
    async def bad() -> str:
        raise Odd(needed="x")

    assert "Odd" in await outcome_of(bad)


async def test_hostile_settings_of_the_process_harm_no_engine(tmp_path):
    before = (Path.cwd(), sys.getrecursionlimit(), dict(os.environ))

    @activity(name="bad")
    async def bad() -> str:
        os.chdir(tmp_path)
        os.environ.clear()
        sys.setrecursionlimit(300)
        logging.disable(logging.CRITICAL)
        asyncio.set_event_loop_policy(None)
        return "changed"

    try:
        assert await outcome_of(bad) == "changed"
    finally:
        os.chdir(before[0])
        os.environ.update(before[2])
        sys.setrecursionlimit(before[1])
        logging.disable(logging.NOTSET)


async def test_one_that_blocks_the_event_loop_is_named_in_a_warning(caplog):
    warned = threading.Event()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "has been blocked" in record.getMessage():
                warned.set()

    @activity(name="blocking-one")
    async def blocking() -> bool:
        return warned.wait(20)

    @orchestration(name="look")
    async def look(ctx: OrchestrationContext) -> bool:
        return await ctx.schedule_activity(blocking)

    listener = Listener()
    logging.getLogger("perdure.runtime").addHandler(listener)
    try:
        async with Runtime("memory://", Registry(blocking, look)) as runtime:
            assert await (await runtime.client.start_orchestration(look)).result()
    finally:
        logging.getLogger("perdure.runtime").removeHandler(listener)
    warning = next(record.getMessage() for record in caplog.records if "has been blocked" in record.getMessage())
    assert "blocking-one" in warning
    assert "warned.wait(20)" in warning


async def test_orchestrations_go_on_while_an_activity_blocks_the_loop():
    ended = threading.Event()

    @activity(name="blocking-one")
    async def blocking() -> bool:
        return ended.wait(20)

    @orchestration(name="steps")
    async def steps(ctx: OrchestrationContext) -> int:
        for _ in range(10):
            await ctx.schedule_timer(0.001)
        ended.set()
        return 10

    @orchestration(name="look")
    async def look(ctx: OrchestrationContext) -> list[object]:
        return await asyncio.gather(ctx.schedule_activity(blocking), ctx.schedule_sub_orchestration(steps))

    async with Runtime("memory://", Registry(blocking, steps, look)) as runtime:
        assert await (await runtime.client.start_orchestration(look)).result() == [True, 10]


async def test_a_failure_beside_a_success_in_one_fan_out():
    @activity(name="odd")
    async def odd(number: int) -> int:
        if number % 2:
            raise ValueError(f"{number} is odd")
        return number

    @orchestration(name="fan")
    async def fan(ctx: OrchestrationContext) -> list[str]:
        outcomes = await asyncio.gather(
            *(ctx.schedule_activity(odd, number) for number in range(6)), return_exceptions=True
        )
        return [str(each.error.message if isinstance(each, ActivityError) else each) for each in outcomes]

    async with Environment(Registry(odd, fan)) as env:
        assert await env.run(fan) == ["0", "1 is odd", "2", "3 is odd", "4", "5 is odd"]


async def test_time_out_of_a_plain_activity_is_told_at_once_though_its_thread_goes_on():
    looked = threading.Event()

    @activity(name="slow")
    def slow(ctx: ActivityContext) -> bool:
        return looked.wait(20)

    @orchestration(name="look")
    async def look(ctx: OrchestrationContext) -> str:
        try:
            await ctx.schedule_activity(slow, retry=RetryPolicy(1, attempt_timeout=0.05))
        except TimeoutError as error:
            return str(error)
        return ""

    async with Runtime("memory://", Registry(slow, look)) as runtime:
        try:
            assert "0.05 s" in await (await runtime.client.start_orchestration(look)).result()
        finally:
            looked.set()


async def test_a_wrong_result_says_where():
    @activity(name="bad")
    async def bad() -> dict[str, list[int]]:
        return {"a": [1, "two"]}  # type: ignore[list-item]  # the mistake under test

    @orchestration(name="look")
    async def look(ctx: OrchestrationContext) -> object:
        return await ctx.schedule_activity(bad)

    async with Environment(Registry(bad, look)) as env:
        with pytest.raises(OrchestrationError, match="a"):
            await env.run(look)
