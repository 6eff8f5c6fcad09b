"""Two versions of the actor side by side: an instance under way moves to the latest when it continues as new."""

from examples.toygres import names
from examples.toygres.types import ActorStatus
from tests.toygres.planes import RESULT_S, reached


async def test_an_actor_under_way_moves_to_the_latest_version_and_keeps_its_state(plane):
    plane.start("--pin", "instance-actor=1.0.0")
    await plane.finish("POST", "/api/servers", {"name": "orders"})
    async with plane.client() as client:
        actor = client.get_handle(plane.record("orders").actor_id)
        # Until its first turn an execution has no version.
        old = await reached(actor, lambda status: status.execution_id > 2 and status.version is not None)
        plane.kill()
        assert old.version == "1.0.0"

        plane.start()
        new = await reached(actor, lambda status: status.version == "1.1.0")

        assert new.instance_id == old.instance_id
        assert new.execution_id > old.execution_id
        later = await reached(actor, lambda status: _iteration(status) > _iteration(old))
        assert later.custom_status_as(ActorStatus).healthy
        page = await client.list_instances(name=names.INSTANCE_ACTOR, version="1.0.0")
        assert not page.items
        await plane.finish("DELETE", "/api/servers/orders")
        assert await actor.result(timeout=RESULT_S) >= _iteration(later)
    assert plane.leftovers() == []


def _iteration(status):
    return 0 if status.custom_status is None else status.custom_status_as(ActorStatus).iteration
