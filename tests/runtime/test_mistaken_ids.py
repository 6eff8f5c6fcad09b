"""A mistaken id or registry is refused at the call, in words; no other instance hears of it."""

import pytest

from perdure import OrchestrationContext, Registry, Runtime, UsageError, activity, orchestration
from perdure.testing import Environment


@activity
async def echo(number: int) -> int:
    return number


@orchestration
async def parent(ctx: OrchestrationContext) -> int:
    return await ctx.schedule_activity(echo, 1)


@pytest.mark.parametrize("instance_id", [7, None, parent])
async def test_an_instance_id_that_is_no_string_is_refused_by_every_verb(instance_id):
    async with Environment(Registry(echo, parent)) as env:
        client = env.client
        for ask in (
            lambda: client.raise_event(instance_id, "event", 1),
            lambda: client.cancel(instance_id),
            lambda: client.terminate(instance_id),
            lambda: client.delete(instance_id),
            lambda: client.get_status(instance_id),
        ):
            with pytest.raises(UsageError, match="instance id must be a string"):
                await ask()


def test_a_runtime_takes_a_registry():
    with pytest.raises(UsageError, match=r"Runtime\(url, Registry\(\.\.\.\)\)"):
        Runtime("memory://", [echo])  # type: ignore[arg-type]  # the mistake
