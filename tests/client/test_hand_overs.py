"""Questions and what activities bring come to the engine together where that spares it rounds, at once elsewhere."""

import asyncio

from perdure._client.requests import Desk
from perdure._work import APPLIED, Resume


class Engine:
    """What was put into its inbox, piece by piece."""

    def __init__(self):
        self.pieces = []

    def put(self, entries):
        self.pieces.append(entries)

    def answer(self, desk, outcome=None):
        for request in self.pieces[-1]:
            request.resolve(APPLIED)
        if outcome is not None:
            desk.bridge().post(desk.bridge().bring, [outcome])
        desk.flush()


def _ask(desk):
    return desk.submit(Resume(id="order", reason=""))


async def test_what_is_asked_in_one_round_of_the_loop_comes_in_one_piece():
    # given
    engine = Engine()
    desk = Desk(engine)
    # when
    _ask(desk), _ask(desk)
    # then
    assert engine.pieces == []
    await asyncio.sleep(0)
    assert [len(piece) for piece in engine.pieces] == [2]


async def test_whoever_asks_alone_time_and_again_is_not_held_back():
    # given one question that was answered
    engine = Engine()
    desk = Desk(engine)
    first = _ask(desk)
    await asyncio.sleep(0)
    engine.answer(desk)
    await first
    # when the next are asked
    _ask(desk), _ask(desk)
    # then one is there already, and the other comes with the round
    assert [len(piece) for piece in engine.pieces] == [1, 1]
    await asyncio.sleep(0)
    assert [len(piece) for piece in engine.pieces] == [1, 1, 1]


async def test_of_several_who_were_answered_none_goes_ahead():
    # given
    engine = Engine()
    desk = Desk(engine)
    both = asyncio.gather(_ask(desk), _ask(desk))
    await asyncio.sleep(0)
    engine.answer(desk)
    await both
    # when
    _ask(desk), _ask(desk)
    # then
    await asyncio.sleep(0)
    assert [len(piece) for piece in engine.pieces] == [2, 2]


async def test_the_outcome_of_one_activity_goes_with_what_the_client_asks_that_was_answered_with_its_start():
    # given
    engine = Engine()
    desk = Desk(engine)
    started = _ask(desk)
    await asyncio.sleep(0)
    # when
    engine.answer(desk, "outcome of its first activity")
    await started
    _ask(desk)
    # then
    await asyncio.sleep(0)
    assert [len(piece) for piece in engine.pieces] == [1, 2]


async def test_outcomes_are_brought_at_once_when_there_are_several_or_nobody_was_answered():
    # given
    engine = Engine()
    bridge = Desk(engine).bridge()
    # when
    bridge.bring(["outcome"])
    bridge.has_answered = True
    bridge.bring(["outcome", "outcome"])
    # then
    assert [len(piece) for piece in engine.pieces] == [1, 2]
