"""instance-actor 1.0.0: frozen, for as long as an instance may run it. `instance_actor.py` has the latest."""

from dataclasses import replace

from examples.toygres import names
from examples.toygres.activities.cms.servers import get_server, record_health
from examples.toygres.activities.connections import check_health
from examples.toygres.activity_types import HealthReport
from examples.toygres.types import INSTANCE_DELETED, ActorStatus, InstanceActorInput
from perdure import OrchestrationContext, orchestration


@orchestration(name=names.INSTANCE_ACTOR, version="1.0.0")
async def instance_actor_1_0_0(ctx: OrchestrationContext, state: InstanceActorInput) -> int:
    """Look, record, and wait until it is time or the server goes; returns how often it looked."""
    record = await ctx.schedule_activity(get_server, state.server_id)
    if record is None or record.endpoint is None:
        return state.iteration
    health = await ctx.schedule_activity(check_health, record.endpoint)
    await ctx.schedule_activity(record_health, HealthReport(state.server_id, health))
    iteration = state.iteration + 1
    ctx.set_custom_status(ActorStatus(health.healthy, health.detail, health.at, iteration))
    match await ctx.select2(ctx.schedule_timer(state.every), ctx.schedule_wait(INSTANCE_DELETED)):
        case 1, reason:
            ctx.trace_info("the server goes", server=state.server_id, reason=reason)
            return iteration
    return ctx.continue_as_new(replace(state, iteration=iteration))
