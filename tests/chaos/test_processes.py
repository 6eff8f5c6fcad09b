"""Workers die, stand still past their lease, and leave, many times over; nobody outside can tell by what is stored."""

from tests.chaos.processes import run


async def test_workers_that_are_killed_paused_and_sent_away_lose_nothing_and_record_nothing_twice(tmp_path):
    totals = await run(tmp_path, seed=1, kills=40, pauses=3, leaves=5)
    assert (totals.kills, totals.pauses, totals.leaves) == (40, 3, 5)
    assert totals.activities == 48 * 6
