"""The actor of a server looks at it, notices when it dies, and writes that down."""

import signal
from pathlib import Path

from examples.toygres.types import ActorStatus
from tests.toygres.planes import reached


def _unhealthy(status):
    return status.custom_status is not None and not status.custom_status_as(ActorStatus).healthy


def _shared_memory_ids():
    """The system's pieces of shared memory, where the system tells."""
    table = Path("/proc/sysvipc/shm")
    return {line.split()[1] for line in table.read_text().splitlines()[1:]} if table.exists() else set()


async def test_a_server_that_is_killed_is_noticed_recorded_shown_and_can_be_deleted(plane):
    plane.start()
    await plane.finish("POST", "/api/servers", {"name": "orders"})
    record, postmaster = plane.record("orders"), plane.postmaster("orders")
    pid_file = plane.site.folder / "cluster" / "servers" / record.server_id / "data" / "postmaster.pid"
    memory = pid_file.read_text().splitlines()[6].split()[1]

    postmaster.send_signal(signal.SIGKILL)

    async with plane.client() as client:
        status = await reached(client.get_handle(record.actor_id), _unhealthy)
    seen = status.custom_status_as(ActorStatus)
    with plane.cms() as cms:
        looks = cms.list_health(record.server_id)
    # Refused by nobody, or cut off by a server that was just then on its way out.
    assert "connection" in seen.detail
    assert seen.failures_in_a_row >= 1
    assert [each.healthy for each in looks].count(False) >= 1
    assert any(each.at == seen.at and each.detail == seen.detail for each in looks)
    (shown,) = plane.ask("GET", "/api/servers")[1]
    assert shown["health"]["healthy"] is False
    assert shown["actor"]["instance_id"] == record.actor_id
    page = plane.ask("GET", "/")[1]
    assert "unhealthy" in page
    assert record.creation_id in page

    await plane.finish("DELETE", "/api/servers/orders")
    assert plane.leftovers() == []
    assert memory not in _shared_memory_ids()
