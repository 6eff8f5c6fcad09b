"""What is asked of Perdure itself, with the worker's client."""

from datetime import timedelta

from examples.toygres import names
from examples.toygres.activities import QUICKLY
from perdure import ActivityContext, InstanceNotFoundError, InstanceOpenError, Status, activity

_CLOSED = [status for status in Status if status.is_closed]


@activity(name=names.PRUNE_SYSTEM, retry=QUICKLY)
async def prune_system(ctx: ActivityContext, keep: timedelta) -> int:
    """Delete what was closed for longer than `keep`, with its children and histories; returns how many."""
    before = ctx.scheduled_at - keep
    old: list[str] = []
    page = await ctx.client.list_instances(status=_CLOSED)
    while True:
        # Children go with their parents.
        old += [each.instance_id for each in page.items if each.updated_at < before and each.parent_id is None]
        if page.next is None:
            break
        page = await ctx.client.list_instances(status=_CLOSED, after=page.next)
    return sum([await _delete(ctx, instance_id) for instance_id in old])


async def _delete(ctx: ActivityContext, instance_id: str) -> int:
    try:
        return await ctx.client.delete(instance_id)
    except (InstanceNotFoundError, InstanceOpenError):
        # Deleted before, or started anew; or a child that it left behind is at work: another time.
        return 0


@activity(name=names.FIND_ENDED, retry=QUICKLY)
async def find_ended(ctx: ActivityContext, instance_ids: list[str]) -> list[str]:
    """Which of these have ended, or are gone."""
    return [each for each in instance_ids if await _has_ended(ctx, each)]


async def _has_ended(ctx: ActivityContext, instance_id: str) -> bool:
    try:
        return (await ctx.client.get_status(instance_id)).is_closed
    except InstanceNotFoundError:
        return True
