"""A stored message that can't be read holds its instance, however often workers died with it, and no other waits."""

from pathlib import Path

import apsw
import pytest

from perdure import (
    Client,
    InstanceStatus,
    OrchestrationContext,
    OrchestrationHandle,
    OrchestrationTerminatedError,
    Registry,
    Runtime,
    Status,
    orchestration,
)
from perdure.storage.base import SUSPECT_DELIVERIES


@orchestration(name="measure")
async def measure(ctx: OrchestrationContext, text: str) -> int:
    return len(text)


def tear(path: Path, deliveries: int) -> None:
    """Let the start of "sick" end in its middle, and so many workers have had it."""
    connection = apsw.Connection(str(path))
    connection.execute(
        "UPDATE messages SET body = substr(body, 1, 20) "
        "WHERE incarnation = (SELECT incarnation FROM instances WHERE id = 'sick')"
    )
    connection.execute("UPDATE instances SET deliveries = ? WHERE id = 'sick'", (deliveries,))
    connection.close()


async def until_held(handle: OrchestrationHandle) -> InstanceStatus:
    async for seen in handle.watch():
        if seen.status is Status.HELD:
            return seen
    raise AssertionError(seen)


@pytest.mark.parametrize("deliveries", [1, SUSPECT_DELIVERIES, SUSPECT_DELIVERIES + 2])
async def test_a_torn_start_message_holds_its_instance_and_no_other_waits(tmp_path, deliveries):
    url = f"sqlite:///{tmp_path / 'store.db'}"
    async with Client(url) as client:
        await client.start_orchestration(measure, "long", instance_id="sick")
        await client.start_orchestration(measure, "short", instance_id="well")
    tear(tmp_path / "store.db", deliveries)

    async with Runtime(url, Registry(measure)) as runtime:
        well, sick = runtime.client.get_handle("well"), runtime.client.get_handle("sick")
        assert await well.result() == len("short")
        assert "can't be read" in (await until_held(sick)).held_because

        await sick.terminate()
        with pytest.raises(OrchestrationTerminatedError):
            await sick.result()
