"""instance-actor: watches one server for as long as there is one.

1.1.0 looks at once when it is asked to, and counts failures in a row. An actor that runs 1.0.0 becomes one when it next
continues as new, which is after every round.
"""

from dataclasses import replace

from examples.toygres import names
from examples.toygres.activities.cms.servers import get_server, record_health
from examples.toygres.activities.connections import check_health
from examples.toygres.activity_types import HealthReport
from examples.toygres.types import CHECK_NOW, INSTANCE_DELETED, ActorStatus, InstanceActorInput
from perdure import OrchestrationContext, orchestration


@orchestration(name=names.INSTANCE_ACTOR, version="1.1.0")
async def instance_actor(ctx: OrchestrationContext, state: InstanceActorInput) -> int:
    """Look, record, and wait until it is time, or somebody asks, or the server goes; returns how often it looked."""
    record = await ctx.schedule_activity(get_server, state.server_id)
    if record is None or record.endpoint is None:
        return state.iteration
    health = await ctx.schedule_activity(check_health, record.endpoint)
    await ctx.schedule_activity(record_health, HealthReport(state.server_id, health))
    failures = 0 if health.healthy else state.failures_in_a_row + 1
    iteration = state.iteration + 1
    if failures:
        ctx.trace_warn("unhealthy", server=state.server_id, detail=health.detail, failures=failures)
    ctx.set_custom_status(ActorStatus(health.healthy, health.detail, health.at, iteration, failures))
    timer = ctx.schedule_timer(state.every)
    deleted = ctx.schedule_wait(INSTANCE_DELETED)
    asked = ctx.schedule_wait(CHECK_NOW)
    match await ctx.select(deleted, timer, asked):
        case 0, reason:
            ctx.trace_info("the server goes", server=state.server_id, reason=reason)
            return iteration
    return ctx.continue_as_new(replace(state, iteration=iteration, failures_in_a_row=failures))
