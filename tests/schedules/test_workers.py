"""Schedules on real stores, with several workers, and from synchronous code."""

import asyncio

import pytest

from perdure import (
    Cron,
    InstanceNotFoundError,
    OrchestrationContext,
    RegistrationError,
    Registry,
    Runtime,
    SyncClient,
    orchestration,
)
from tests.schedules.slots import start_each_slot_once, told

FOR_EVER = Cron("0 0 1 1 *")


@pytest.mark.parametrize("workers", [1, 3])
async def test_each_slot_is_started_once_however_many_workers_there_are(workers, tmp_path):
    await start_each_slot_once(f"sqlite:///{tmp_path / 'shop.db'}", workers)


async def test_a_name_of_what_every_worker_has_can_not_be_taken():
    @orchestration(name="perdure::orchestration::schedule")
    async def mine(ctx: OrchestrationContext) -> None: ...

    with pytest.raises(RegistrationError, match="two orchestrations are named 'perdure::orchestration::schedule'"):
        async with Runtime("memory://", Registry(mine)):
            raise AssertionError("it opened")


def test_synchronous_code_has_the_same_verbs(tmp_path):
    url = f"sqlite:///{tmp_path / 'shop.db'}"

    async def run_triggered(run_id: str) -> str:
        async with Runtime(url, Registry(told)) as runtime:
            return await runtime.client.get_handle(run_id, told).result()

    with SyncClient(url) as client:
        schedule = client.schedules.create("yearly", told, "later", when=FOR_EVER, paused=True, note="not yet")
        assert schedule.status().when == FOR_EVER
        assert [each.schedule_id for each in client.schedules.list().items] == ["yearly"]
        schedule.resume("now")
        run = client.schedules.get("yearly").trigger()
        schedule.update(inputs=("hello",))
        assert asyncio.run(run_triggered(run.instance_id)) == "later"
        assert schedule.status().last_run in {None, run.instance_id}
        schedule.pause("enough")
        schedule.delete()
        assert client.schedules.list().items == []
        with pytest.raises(InstanceNotFoundError):
            schedule.status()
        assert repr(schedule) == "<SyncScheduleHandle 'yearly'>"
