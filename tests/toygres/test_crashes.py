"""The control plane is killed in the middle of its work; the next one goes on, and nothing is left behind."""

import signal

import pytest

from examples.toygres.orchestrations.batch_create import batch_create
from examples.toygres.types import BatchProgress, Step
from tests.toygres.planes import RESULT_S, reached

STEPS = list(Step)


def _has_come_to(step):
    """Whether an instance is at this step; the quick ones may be over before anybody sees them."""
    return lambda status: status.custom_status is not None and STEPS.index(status.custom_status) >= STEPS.index(step)


@pytest.mark.parametrize("step", [Step.PREPARING_VOLUME, Step.STARTING, Step.WAITING_UNTIL_READY, Step.TESTING])
async def test_killed_while_a_server_is_made(plane, step):
    plane.start()
    async with plane.client() as client:
        creation = client.get_handle(plane.begin("POST", "/api/servers", {"name": "orders"}))
        await reached(creation, _has_come_to(step))
        plane.kill()
        # The first takes so long that it is certainly not over.
        assert step is not Step.PREPARING_VOLUME or (await creation.status()).custom_status == step

        plane.start()
        server = await creation.result(timeout=RESULT_S)

    folder = plane.site.folder / "cluster" / "servers" / server["server_id"]
    assert {each.name for each in folder.iterdir()} == {"data", "lock", "log", "pgpass"}
    assert [each.name for each in (plane.site.folder / "cluster" / "ports").iterdir()] == [
        str(plane.record("orders").endpoint.port)
    ]
    assert f"process {plane.postmaster('orders').pid}" in plane.leftovers()
    with plane.connect("orders") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    await plane.finish("DELETE", "/api/servers/orders")
    assert plane.leftovers() == []


@pytest.mark.parametrize("step", [Step.SAYING_GOODBYE, Step.REMOVING, Step.FORGETTING])
async def test_killed_while_a_server_is_deleted(plane, step):
    plane.start()
    await plane.finish("POST", "/api/servers", {"name": "orders"})
    async with plane.client() as client:
        deletion = client.get_handle(plane.begin("DELETE", "/api/servers/orders"))
        await reached(deletion, _has_come_to(step))
        plane.kill()

        plane.start()
        await deletion.result(timeout=RESULT_S)
    assert plane.leftovers() == []


async def test_killed_while_a_server_that_hangs_is_stopped(plane):
    plane.start()
    await plane.finish("POST", "/api/servers", {"name": "orders"})
    postmaster = plane.postmaster("orders")
    postmaster.send_signal(signal.SIGSTOP)
    async with plane.client() as client:
        deletion = client.get_handle(plane.begin("DELETE", "/api/servers/orders"))
        await reached(deletion, _has_come_to(Step.REMOVING))
        plane.kill()
        assert (await deletion.status()).custom_status == Step.REMOVING
        postmaster.send_signal(signal.SIGCONT)

        plane.start()
        await deletion.result(timeout=RESULT_S)
    assert plane.leftovers() == []


async def test_killed_again_and_again_while_five_are_made(plane):
    plane.start()
    kills = 0
    async with plane.client() as client:
        batch = client.get_handle(plane.begin("POST", "/api/batches", {"prefix": "shard", "count": 5}), batch_create)
        while True:
            before = kills
            status = await reached(
                batch,
                lambda status: status.is_closed or len(_created(status)) >= before,  # noqa: B023 - used at once
            )
            if status.is_closed:
                break
            plane.kill()
            kills += 1
            plane.start()
        progress = await batch.result()

    assert kills >= 4
    assert sorted(progress.created) == [f"shard-{number}" for number in range(1, 6)]
    for name in progress.created:
        with plane.connect(name) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    assert sorted(each.split()[0] for each in plane.holdings()) == ["name"] * 5 + ["ports"] * 5 + ["servers"] * 5
    for name in progress.created:
        await plane.finish("DELETE", f"/api/servers/{name}")
    assert plane.leftovers() == []


async def test_servers_outlive_a_control_plane_that_is_stopped_or_killed(plane):
    plane.start()
    await plane.finish("POST", "/api/servers", {"name": "orders"})

    code = plane.stop()

    assert code in {0, -signal.SIGTERM}
    with plane.connect("orders") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    plane.start()
    async with plane.client() as client:
        actor = client.get_handle(plane.record("orders").actor_id)
        looks = (await actor.status()).execution_id
        await reached(actor, lambda status: status.execution_id > looks)


def _created(status):
    return [] if status.custom_status is None else status.custom_status_as(BatchProgress).created
