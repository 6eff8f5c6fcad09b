"""The collector is off inside turns, and as it was before on every way out."""

import asyncio
import gc
import sys
import threading
from collections.abc import Iterator

import pytest

from perdure import OrchestrationContext, orchestration
from perdure._core.stage import Stage, own_thread
from perdure.errors import ForbiddenCallError
from tests.core.harness import Conversation


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    yield
    gc.enable()


def test_it_is_off_in_a_turn_and_on_after_it() -> None:
    seen: list[bool] = []

    @orchestration
    async def looking(ctx: OrchestrationContext) -> None:
        seen.append(gc.isenabled())

    Conversation(looking, always_replay=False).start()

    assert seen == [False]
    assert gc.isenabled()


def test_it_stays_off_when_it_was_off_before() -> None:
    gc.disable()

    with Stage():
        pass

    assert not gc.isenabled()


def test_a_stage_inside_another_leaves_it_to_that() -> None:
    before = sys.get_asyncgen_hooks()

    with Stage():
        outside = sys.get_asyncgen_hooks()
        with Stage():
            pass
        assert not gc.isenabled()
        assert sys.get_asyncgen_hooks() == outside

    assert gc.isenabled()
    assert sys.get_asyncgen_hooks() == before


def test_a_thread_for_turns_keeps_its_hooks_and_has_the_collector_between_stages() -> None:
    before = sys.get_asyncgen_hooks()

    with own_thread():
        outside = sys.get_asyncgen_hooks()
        with Stage():
            assert not gc.isenabled()
            assert sys.get_asyncgen_hooks() == outside
        assert gc.isenabled()
        assert sys.get_asyncgen_hooks() == outside != before

    assert sys.get_asyncgen_hooks() == before


@pytest.mark.parametrize("error", [ForbiddenCallError("no"), SystemExit(), KeyboardInterrupt()])
def test_it_is_back_after_a_turn_that_raised(error: BaseException) -> None:
    @orchestration
    async def raising(ctx: OrchestrationContext) -> None:
        if isinstance(error, ForbiddenCallError):
            await asyncio.to_thread(print)
        raise error

    with pytest.raises(type(error)):
        Conversation(raising).start()

    assert gc.isenabled()


def test_it_is_back_when_the_last_of_several_threads_is_done() -> None:
    both_in, first_out = threading.Barrier(2), threading.Event()
    seen: list[bool] = []

    def first() -> None:
        with Stage():
            both_in.wait()
        first_out.set()

    def second() -> None:
        with Stage():
            both_in.wait()
            first_out.wait()
            seen.append(gc.isenabled())

    threads = [threading.Thread(target=target) for target in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert seen == [False]
    assert gc.isenabled()
