"""Workers that die between two databases: everything that goes from one to the other happens once, and in order."""

import pytest

from tests.chaos.shard_worker import POINTS
from tests.chaos.shards import die_at, run


@pytest.mark.parametrize("point", POINTS)
async def test_whoever_dies_between_two_databases_loses_nothing_and_does_nothing_twice(urls, tmp_path, point):
    totals = await die_at(point, urls, tmp_path, times=3)
    assert (totals.deaths, totals.errands) == (3, 3)


async def test_workers_that_are_killed_at_any_time_lose_nothing_and_do_nothing_twice(urls, tmp_path):
    totals = await run(urls, tmp_path, seed=1, kills=12)
    assert (totals.kills, totals.errands) == (12, 12)
