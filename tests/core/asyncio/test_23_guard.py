"""The guard flags clocks, chance and blocking calls at their line, in turns of watched orchestrations only."""

import functools
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from perdure import Orchestration, OrchestrationContext, orchestration
from perdure._runtime.guard import TOOL_IDS, Guard
from perdure.errors import ForbiddenCallError
from tests.core.asyncio import guarded
from tests.core.harness import Conversation, kinds

MONITORING: Any = getattr(sys, "monitoring", None)
needs_monitoring = pytest.mark.skipif(MONITORING is None, reason="sys.monitoring came with Python 3.12")


@pytest.fixture
def guard() -> Iterator[Guard]:
    guard = Guard()
    yield guard
    guard.close()


def calling(call: Callable[[], object]) -> "Orchestration[..., Any]":
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        call()
        await ctx.schedule_activity("a")

    return program


@needs_monitoring
@pytest.mark.parametrize(("name", "call"), [*guarded.CALLS.items(), *guarded.ALIASED.items()])
def test_a_forbidden_call_is_refused_at_its_line_with_its_cure(
    guard: Guard, name: str, call: Callable[[], object]
) -> None:
    program = calling(call)
    guard.watch([program])

    with pytest.raises(ForbiddenCallError) as refusal:
        Conversation(program).start()

    line = call.__code__.co_firstlineno
    assert f"{name}() was called in an orchestration" in str(refusal.value)
    assert f"guarded.py:{line}). " in str(refusal.value)
    assert str(refusal.value).endswith(".")


@needs_monitoring
@pytest.mark.parametrize(
    "call",
    [guarded.two_levels_deep, guarded.Clocked, lambda: guarded.Clocked.method(None)],
    ids=["deep", "init", "method"],
)
def test_helpers_of_the_same_package_are_followed(guard: Guard, call: Callable[[], object]) -> None:
    program = calling(call)
    guard.watch([program])

    with pytest.raises(ForbiddenCallError, match="time.time"):
        Conversation(program).start()


@needs_monitoring
@pytest.mark.parametrize("call", guarded.HARMLESS.values(), ids=guarded.HARMLESS)
def test_there_is_no_false_alarm(guard: Guard, call: Callable[[], object], caplog: pytest.LogCaptureFixture) -> None:
    program = calling(call)
    guard.watch([program])
    caplog.set_level(logging.WARNING)

    assert kinds(Conversation(program).start()) == ["act a"]


@needs_monitoring
def test_what_the_context_offers_is_no_false_alarm(guard: Guard) -> None:
    @orchestration
    async def proper(ctx: OrchestrationContext) -> None:
        ctx.utc_now()
        ctx.new_guid()
        ctx.random.shuffle([1, 2, 3])
        ctx.logger.warning("in a turn")
        await ctx.schedule_activity("a")

    guard.watch([proper])

    assert kinds(Conversation(proper).start()) == ["act a"]


@needs_monitoring
def test_swallowing_the_error_changes_nothing(guard: Guard) -> None:
    @orchestration
    async def swallowing(ctx: OrchestrationContext) -> None:
        with suppress(Exception):
            time.time()
        await ctx.schedule_activity("a")

    guard.watch([swallowing])

    with pytest.raises(ForbiddenCallError, match=r"time.time\(\)"):
        Conversation(swallowing).start()


@needs_monitoring
def test_code_nested_in_an_orchestration_is_watched(guard: Guard) -> None:
    @orchestration
    async def nesting(ctx: OrchestrationContext) -> None:
        def inner() -> list[float]:
            return [time.time() for _ in range(1)]

        inner()

    guard.watch([nesting])

    with pytest.raises(ForbiddenCallError, match="inner"):
        Conversation(nesting).start()


@needs_monitoring
def test_an_orchestration_behind_a_decorator_is_watched(guard: Guard) -> None:
    def decorated(fn: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(fn)
        async def wrapper(ctx: OrchestrationContext) -> None:
            await fn(ctx)

        return wrapper

    @orchestration
    @decorated
    async def clocked(ctx: OrchestrationContext) -> None:
        time.time()

    guard.watch([clocked])

    with pytest.raises(ForbiddenCallError):
        Conversation(clocked).start()


@needs_monitoring
def test_outside_a_turn_the_same_code_may_call_anything_and_is_still_flagged_inside(guard: Guard) -> None:
    program = calling(guarded.one_level_deep)
    guard.watch([program])
    with pytest.raises(ForbiddenCallError):
        Conversation(program).start()

    assert guarded.one_level_deep() > 0

    with pytest.raises(ForbiddenCallError):
        Conversation(program).start()


@needs_monitoring
def test_while_an_execution_is_dropped_nothing_is_flagged(guard: Guard) -> None:
    ended: list[float] = []

    @orchestration
    async def measuring(ctx: OrchestrationContext) -> None:
        try:
            await ctx.schedule_activity("a")
        finally:
            ended.append(time.time())

    guard.watch([measuring])
    talk = Conversation(measuring, always_replay=False)
    talk.start()
    talk.drop()

    assert len(ended) == 1


@needs_monitoring
def test_a_clean_place_is_looked_at_once(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    from perdure._runtime import guard as module  # noqa: PLC0415 - the module behind the class

    looked: list[object] = []
    judge = module._judge  # noqa: SLF001 - counted here
    monkeypatch.setattr(module, "_judge", lambda called, first: looked.append(called) or judge(called, first))

    @orchestration
    async def busy(ctx: OrchestrationContext) -> None:
        for number in range(100):
            str(number)
        await ctx.schedule_activity("a")

    guard.watch([busy])
    Conversation(busy).start()

    assert looked.count(str) == 1
    assert len(looked) <= 4


@needs_monitoring
def test_a_closed_guard_sees_nothing_and_a_new_one_sees_again() -> None:
    program = calling(time.time)
    first = Guard()
    first.watch([program])
    first.close()
    first.close()
    assert kinds(Conversation(program).start()) == ["act a"]

    second = Guard()
    second.watch([program, program])
    with pytest.raises(ForbiddenCallError):
        Conversation(program).start()
    second.close()


@needs_monitoring
def test_guards_of_one_process_share_one_tool() -> None:
    first, second = Guard(), Guard()
    taken = [tool for tool in TOOL_IDS if MONITORING.get_tool(tool) == "perdure"]
    first.close()
    program = calling(time.time)
    second.watch([program])

    assert len(taken) == 1
    with pytest.raises(ForbiddenCallError):
        Conversation(program).start()
    second.close()
    assert all(MONITORING.get_tool(tool) is None for tool in TOOL_IDS)


@needs_monitoring
def test_without_a_free_tool_it_does_without() -> None:
    for tool in TOOL_IDS:
        MONITORING.use_tool_id(tool, "another")
    guard = Guard()
    program = calling(time.time)
    guard.watch([program])

    assert not guard.active
    assert kinds(Conversation(program).start()) == ["act a"]
    guard.close()
    for tool in TOOL_IDS:
        MONITORING.free_tool_id(tool)


@needs_monitoring
def test_with_the_first_tool_taken_it_takes_the_other() -> None:
    MONITORING.use_tool_id(TOOL_IDS[0], "another")
    guard = Guard()

    assert MONITORING.get_tool(TOOL_IDS[1]) == "perdure"
    guard.close()
    MONITORING.free_tool_id(TOOL_IDS[0])


@pytest.mark.skipif(MONITORING is not None, reason="this is what Python 3.11 does")
def test_without_monitoring_it_does_without() -> None:
    guard = Guard()
    guard.watch([calling(time.time)])
    guard.close()

    assert not guard.active
