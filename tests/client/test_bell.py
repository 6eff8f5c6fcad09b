"""An event loop is woken from other threads, however often and by whichever way it can be, until it has closed."""

import asyncio
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from perdure._client.bell import Bell
from perdure._client.requests import Desk

TWICE = 2
"""The first ring goes another way than those behind it."""

MORE_THAN_ARE_KEPT = 10_000


class LoopWithoutSockets(asyncio.SelectorEventLoop):
    """As Windows' own."""

    def add_reader(self, fd, callback, *args):
        raise NotImplementedError


LOOPS = pytest.mark.parametrize("make_loop", [asyncio.SelectorEventLoop, LoopWithoutSockets])


async def _bell_that_was_rung(answer) -> Bell:
    bell = Bell(asyncio.get_running_loop(), answer)
    Visitor(bell).leave()
    await asyncio.sleep(0)
    return bell


class Visitor:
    """Rings from a thread of its own."""

    def __init__(self, bell: Bell, times: int = 1) -> None:
        self._bell = bell
        self._times = times
        self._thread = threading.Thread(target=self._ring)
        self._thread.start()

    def _ring(self) -> None:
        for _ in range(self._times):
            self._bell.ring()

    def leave(self) -> None:
        self._thread.join()


@LOOPS
def test_a_ring_from_another_thread_is_answered(make_loop):
    async def program() -> None:
        # given
        answered = asyncio.Event()
        bell = Bell(asyncio.get_running_loop(), answered.set)
        for _ in range(TWICE):
            # when
            answered.clear()
            visitor = Visitor(bell)
            # then
            await answered.wait()
            visitor.leave()
        bell.close()

    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(program())


async def test_rings_that_a_busy_loop_does_not_hear_are_answered_when_it_listens():
    # given
    answers = []
    answered = asyncio.Event()

    def answer() -> None:
        answers.append(len(answers))
        answered.set()

    bell = await _bell_that_was_rung(answer)
    answers.clear(), answered.clear()
    # when the loop stands still meanwhile
    Visitor(bell, MORE_THAN_ARE_KEPT).leave()
    # then
    await answered.wait()
    assert 1 <= len(answers) < MORE_THAN_ARE_KEPT
    bell.close()


async def test_a_ring_from_the_loop_s_own_thread_is_answered_in_the_next_round():
    # given
    answers = []
    bell = Bell(asyncio.get_running_loop(), lambda: answers.append("here"))
    # when
    bell.ring()
    # then
    assert answers == []
    await asyncio.sleep(0)
    assert answers == ["here"]
    bell.close()


async def test_what_was_rung_for_last_is_answered_when_the_bell_is_taken_away():
    # given
    answers = []
    bell = await _bell_that_was_rung(lambda: answers.append("here"))
    answers.clear()
    Visitor(bell).leave()
    # when
    bell.close()
    # then
    assert answers == ["here"]


@LOOPS
def test_a_loop_that_has_closed_is_not_woken(make_loop):
    # given
    answers = []

    async def program() -> Bell:
        return await _bell_that_was_rung(lambda: answers.append("here"))

    with asyncio.Runner(loop_factory=make_loop) as runner:
        bell = runner.run(program())
    answers.clear()
    # when
    bell.ring()
    Visitor(bell).leave()
    bell.close()
    Visitor(bell).leave()
    # then
    assert answers == []


class Nowhere:
    """An inbox of which nothing is taken."""

    def put(self, entries) -> None:
        pass


def _open_sockets() -> list[str]:
    found = []
    for each in list(Path("/proc/self/fd").iterdir()):
        with suppress(OSError):
            found.append(str(each.readlink()))
    return sorted(each for each in found if each.startswith("socket:"))


@pytest.mark.skipif(sys.platform != "linux", reason="only there it can be seen what is open")
def test_a_desk_takes_its_bells_away_from_every_loop_that_has_asked():
    # given a loop that has closed, one that runs in a thread, and one that hangs up
    before = _open_sockets()
    desk = Desk(Nowhere())

    async def ask() -> None:
        heard = asyncio.Event()
        desk.bridge().post(lambda _: heard.set(), None)
        await asyncio.to_thread(desk.flush)
        await heard.wait()

    async def hang_up() -> None:
        await ask()
        desk.hang_up()

    asyncio.run(ask())
    elsewhere = asyncio.new_event_loop()
    thread = threading.Thread(target=elsewhere.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(ask(), elsewhere).result()
    # when
    asyncio.run(hang_up())
    # then
    elsewhere.call_soon_threadsafe(elsewhere.stop)
    thread.join()
    elsewhere.close()
    assert _open_sockets() == before
