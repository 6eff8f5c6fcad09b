"""A deployment under load, and schedules: what holds on a file holds on a server."""

import pytest

from tests.runtime.deploy_drill import replace_workers_one_by_one
from tests.runtime.processes import programs
from tests.schedules.slots import start_each_slot_once


async def test_workers_are_replaced_one_by_one_under_load_and_nothing_fails_or_goes_back(url):
    async with programs() as spawn:
        await replace_workers_one_by_one(url, spawn)


@pytest.mark.parametrize("workers", [1, 3])
async def test_each_slot_is_started_once_however_many_workers_there_are(workers, url):
    await start_each_slot_once(url, workers)
