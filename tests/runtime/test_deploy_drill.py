"""A deployment under load: workers of one release are replaced by workers of the next, one by one, on one file."""

from tests.runtime.deploy_drill import replace_workers_one_by_one


async def test_workers_are_replaced_one_by_one_under_load_and_nothing_fails_or_goes_back(database, spawn):
    await replace_workers_one_by_one(database, spawn)
