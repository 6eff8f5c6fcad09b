"""A handle is not the result, and says so to whoever takes it for one."""

import copy

import pytest

from perdure import OrchestrationContext, Registry, SyncClient, UsageError, orchestration
from perdure.testing import Environment


@orchestration(name="total")
async def total(ctx: OrchestrationContext) -> dict[str, int]:
    return {"cents": 7}


async def test_an_attribute_of_the_result_is_not_one_of_the_handle():
    async with Environment(Registry(total)) as env:
        handle = await env.client.start_orchestration(total, instance_id="i")
        with pytest.raises(
            AttributeError, match=r"no attribute 'cents': `await handle.result\(\)` is what the instance"
        ):
            _ = handle.cents  # type: ignore[attr-defined]  # the mistake
        assert repr(copy.copy(handle)) == "<OrchestrationHandle 'i'>"


@pytest.mark.parametrize("other", ["total", total.fn, Registry(total)])
async def test_the_type_of_a_result_is_said_by_a_definition(other):
    async with Environment(Registry(total)) as env:
        with pytest.raises(UsageError, match="get_handle takes a definition made with @orchestration, or none, not "):
            env.client.get_handle("i", other)


def test_nor_is_it_one_of_a_synchronous_handle(database):
    with SyncClient(database) as client:
        handle = client.start_orchestration("total", instance_id="i")
        with pytest.raises(AttributeError, match=r"no attribute 'cents': `handle.result\(\)` is what the instance"):
            _ = handle.cents  # type: ignore[attr-defined]  # the mistake
        assert repr(handle) == "<SyncHandle 'i'>"
