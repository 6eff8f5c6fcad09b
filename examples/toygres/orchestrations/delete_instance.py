"""delete-instance: stop a server and remove every trace of it."""

from examples.toygres import names
from examples.toygres.activities.cms.servers import forget_server, mark_deleting
from examples.toygres.activities.servers import delete_postgres
from examples.toygres.types import INSTANCE_DELETED, DeleteInstanceInput, DeleteInstanceOutput, Step
from perdure import OrchestrationContext, orchestration


@orchestration(name=names.DELETE_INSTANCE, version="1.0.0")
async def delete_instance(ctx: OrchestrationContext, request: DeleteInstanceInput) -> DeleteInstanceOutput:
    """Say so in the CMS, tell the actor, remove the server, and free the name last."""
    ctx.trace_info("deleting", server=request.server_id, reason=request.reason)
    ctx.set_custom_status(Step.SAYING_GOODBYE)
    record = await ctx.schedule_activity(mark_deleting, request.server_id)
    if record is not None and record.actor_id is not None:
        ctx.raise_event(record.actor_id, INSTANCE_DELETED, request.reason)
    # Also without a record: whoever was here before may have come as far as that.
    ctx.set_custom_status(Step.REMOVING)
    await ctx.schedule_activity(delete_postgres, request.server_id)
    ctx.set_custom_status(Step.FORGETTING)
    await ctx.schedule_activity(forget_server, request.server_id)
    ctx.set_custom_status(Step.DELETED)
    return DeleteInstanceOutput(existed=record is not None)
