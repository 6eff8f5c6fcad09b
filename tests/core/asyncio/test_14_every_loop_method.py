"""Every public name of an event loop answers: it works, answers quietly, or is refused with the call and the cure."""

import asyncio
from typing import Any

import pytest

from perdure import OrchestrationContext, orchestration
from perdure._core.forbidden import CURES, QUIET, REFUSED
from perdure._core.loop import OrchestrationLoop
from perdure.errors import ForbiddenCallError
from tests.core.harness import Conversation

NAMES = sorted(name for name in dir(asyncio.AbstractEventLoop) if not name.startswith("_"))
REFUSALS = [(name, CURES[cure]) for cure, names in REFUSED.items() for name in names]


@pytest.mark.parametrize("name", NAMES)
def test_it_is_answered_by_our_loop(name: str) -> None:
    assert getattr(OrchestrationLoop, name) is not getattr(asyncio.AbstractEventLoop, name), (
        f"asyncio's loops have {name} on this version of Python: say in forbidden.py how it is to answer"
    )


@pytest.mark.parametrize(("name", "cure"), REFUSALS, ids=[name for name, _ in REFUSALS])
def test_it_is_refused_with_its_cure(name: str, cure: str) -> None:
    @orchestration
    async def calling(ctx: OrchestrationContext) -> None:
        getattr(asyncio.get_running_loop(), name)(None)

    with pytest.raises(ForbiddenCallError) as refusal:
        Conversation(calling).start()

    where = calling.fn.__code__.co_firstlineno + 2
    assert str(refusal.value) == (
        f"loop.{name}() was called in an orchestration. {cure} "
        f"It is at tests/core/asyncio/test_14_every_loop_method.py:{where}."
    )


def test_probing_is_harmless() -> None:
    answers: dict[str, Any] = {}

    @orchestration
    async def probing(ctx: OrchestrationContext) -> None:
        loop = asyncio.get_running_loop()
        for name in QUIET["sync"]:
            answers[name] = getattr(loop, name)()
        for name in QUIET["async"]:
            answers[name] = await getattr(loop, name)()
        loop.slow_callback_duration = 1.0
        answers["slow_callback_duration"] = loop.slow_callback_duration
        answers["debug"] = loop.get_debug()
        answers["running"] = (loop.is_running(), loop.is_closed())

    Conversation(probing, always_replay=False).start()

    assert answers.pop("running") == (True, False)
    assert answers.pop("slow_callback_duration") == 1.0
    assert set(answers.values()) <= {None, False}


LIBRARY_CALLS = {
    "to_thread": lambda: asyncio.to_thread(print),
    "open_connection": lambda: asyncio.open_connection("localhost", 1),
    "start_server": lambda: asyncio.start_server(print, "localhost", 1),
    "create_subprocess_exec": lambda: asyncio.create_subprocess_exec("true"),
    "create_subprocess_shell": lambda: asyncio.create_subprocess_shell("true"),
}


@pytest.mark.parametrize("call", LIBRARY_CALLS.values(), ids=LIBRARY_CALLS)
def test_asyncios_own_functions_are_refused_too(call: Any) -> None:
    @orchestration
    async def calling(ctx: OrchestrationContext) -> None:
        await call()

    with pytest.raises(ForbiddenCallError, match="Do it in an activity|Put the work in an activity"):
        Conversation(calling).start()


def test_a_loop_within_the_loop_is_refused() -> None:
    @orchestration
    async def nesting(ctx: OrchestrationContext) -> None:
        coroutine = asyncio.sleep(0)
        try:
            asyncio.get_running_loop().run_until_complete(coroutine)
        finally:
            coroutine.close()

    with pytest.raises(ForbiddenCallError, match="already runs on its own loop"):
        Conversation(nesting).start()


def test_a_loop_that_nobody_executes_knows_no_timers() -> None:
    loop = OrchestrationLoop()

    with pytest.raises(NotImplementedError):
        loop.timer_created(None)
    with pytest.raises(NotImplementedError):
        loop.timer_cancelled(None)
    with pytest.raises(RuntimeError, match="outside a stage"):
        loop.run_ready()
