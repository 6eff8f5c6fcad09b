"""Servers are made and deleted: real ones, several at once, with a name and a port each."""

import pytest

from examples.toygres.orchestrations.batch_create import batch_create
from examples.toygres.orchestrations.create_instance import create_instance
from examples.toygres.types import CreateInstanceInput
from perdure import OrchestrationCancelledError, OrchestrationError
from tests.toygres.planes import RESULT_S, reached

FIVE = [f"shard-{number}" for number in range(1, 6)]


async def test_five_are_made_at_once_and_all_are_deleted(plane):
    plane.start()
    async with plane.client() as client:
        batch = client.get_handle(plane.begin("POST", "/api/batches", {"prefix": "shard", "count": 5}), batch_create)
        progress = await batch.result(timeout=RESULT_S)
        shown = (await batch.status()).custom_status

        assert sorted(progress.created) == FIVE
        assert progress.failed == {}
        assert sorted(shown["created"]) == FIVE
        assert len({plane.record(name).endpoint for name in FIVE}) == 5
        for name in FIVE:
            with plane.connect(name) as connection:
                assert connection.execute("SHOW port").fetchone() == (str(plane.record(name).endpoint.port),)

        deletions = [client.get_handle(plane.begin("DELETE", f"/api/servers/{name}")) for name in FIVE]
        for deletion in deletions:
            assert (await deletion.result(timeout=RESULT_S)) == {"existed": True}
        for name in (f"actor-{deletion.instance_id.removeprefix('delete-')}" for deletion in deletions):
            await client.get_handle(name).result(timeout=RESULT_S)
    assert plane.leftovers() == []


async def test_a_create_that_fails_says_why_and_cleans_up(plane):
    plane.start()
    wrong = {"name": "orders", "settings": {"shared_buffers": "a lot"}}
    async with plane.client() as client:
        creation = client.get_handle(plane.begin("POST", "/api/servers", wrong))

        with pytest.raises(OrchestrationError, match=r'died at its start(.|\n)*shared_buffers.*"a lot"'):
            await creation.result(timeout=RESULT_S)

    assert plane.leftovers() == []
    assert (await plane.finish("POST", "/api/servers", {"name": "orders"}))["name"] == "orders"


async def test_a_name_that_is_taken_stays_with_its_server(plane):
    plane.start()
    await plane.finish("POST", "/api/servers", {"name": "orders"})
    before = plane.holdings()
    async with plane.client() as client:
        request = CreateInstanceInput("orders-again", "orders")
        # Not over HTTP, which would look first.
        second = await client.start_orchestration(create_instance, request, instance_id="create-orders-again")

        with pytest.raises(OrchestrationError, match="there is a server named 'orders' already"):
            await second.result(timeout=RESULT_S)

    assert plane.ask("POST", "/api/servers", {"name": "orders"})[0] == 409
    assert plane.holdings() == before
    with plane.connect("orders") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


async def test_a_delete_stops_what_is_still_being_made(plane):
    plane.start()
    async with plane.client() as client:
        creation = client.get_handle(plane.begin("POST", "/api/servers", {"name": "orders"}))
        await reached(creation, lambda status: status.custom_status == "preparing the volume")

        assert plane.begin("DELETE", "/api/servers/orders") == creation.instance_id

        with pytest.raises(OrchestrationCancelledError):
            await creation.result(timeout=RESULT_S)
    assert plane.leftovers() == []
