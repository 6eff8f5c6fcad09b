"""system-pruner: one for the whole system, without end, that deletes old instances."""

from dataclasses import replace

from examples.toygres import names
from examples.toygres.activities.instances import prune_system
from examples.toygres.types import SystemPrunerInput
from perdure import ActivityError, OrchestrationContext, orchestration


@orchestration(name=names.SYSTEM_PRUNER, version="1.0.0")
async def system_pruner(ctx: OrchestrationContext, state: SystemPrunerInput) -> None:
    """Prune, wait, begin anew."""
    deleted = 0
    try:
        deleted = await ctx.schedule_activity(prune_system, state.keep)
    except ActivityError as error:
        ctx.trace_warn("could not prune; the next round will", error=error)
    state = replace(state, iteration=state.iteration + 1, deleted=state.deleted + deleted)
    ctx.set_custom_status({"rounds": state.iteration, "deleted": state.deleted})
    await ctx.schedule_timer(state.every)
    ctx.continue_as_new(state)
