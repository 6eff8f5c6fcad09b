"""Who waits for a lent transaction: one at a time, in order, and nobody waits for who has given up."""

import asyncio

import pytest

from perdure.storage.sqlite.turnstile import Turnstile


async def _wait(turnstile, name, order):
    await turnstile.enter()
    order.append(name)


async def _let_all_run():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_they_come_in_one_after_the_other_in_order():
    turnstile, order = Turnstile(), []
    await turnstile.enter()
    waiting = [asyncio.create_task(_wait(turnstile, name, order)) for name in "abc"]
    await _let_all_run()
    assert order == []
    for count in (1, 2, 3):
        turnstile.leave()
        await _let_all_run()
        assert order == list("abc")[:count]
    await asyncio.gather(*waiting)


async def test_who_gives_up_is_passed_over():
    turnstile, order = Turnstile(), []
    await turnstile.enter()
    impatient, patient = (asyncio.create_task(_wait(turnstile, name, order)) for name in "ab")
    await _let_all_run()
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    turnstile.leave()
    await patient
    assert order == ["b"]


async def test_who_gives_up_in_the_moment_of_his_turn_passes_it_on():
    turnstile, order = Turnstile(), []
    await turnstile.enter()
    impatient, patient = (asyncio.create_task(_wait(turnstile, name, order)) for name in "ab")
    await _let_all_run()
    turnstile.leave()
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    await patient
    assert order == ["b"]


def test_who_waits_on_a_loop_that_has_closed_is_passed_over():
    turnstile = Turnstile()

    async def wait_in_vain():
        await turnstile.enter()
        waiting = turnstile.enter()
        waiting.send(None)
        return waiting

    forgotten = asyncio.run(wait_in_vain())
    turnstile.leave()
    asyncio.run(turnstile.enter())
    forgotten.close()
