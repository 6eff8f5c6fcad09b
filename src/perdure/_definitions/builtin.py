"""The activity by which an orchestration looks at another: every worker has it, see `with_built_ins`."""

from typing import Any

from perdure._context import ActivityContext, Key
from perdure._definitions.decorators import activity
from perdure._retry import ATTEMPTS_MAX, Backoff, RetryPolicy
from perdure.errors import InstanceNotFoundError

WHILE_STORE_IS_AWAY = RetryPolicy(ATTEMPTS_MAX, backoff=Backoff.exponential(0.1, max=10))
"""Infrastructure never fails an orchestration: the question is asked until the store answers."""


@activity(name="perdure::activity::read-value", retry=WHILE_STORE_IS_AWAY)
async def read_value(ctx: ActivityContext, instance_id: str, key: str) -> Any:
    """The value under a key of another instance's KV store; None if there is none, or no such instance."""
    try:
        return await ctx.client.get_handle(instance_id).kv(Key(key))
    except InstanceNotFoundError:
        return None
