"""Watches one instance until it is deleted, with a history of one round."""

from dataclasses import replace

from perdure import OrchestrationContext, orchestration
from tests.typing.seed_layout import names
from tests.typing.seed_layout.activities.connection import test_connection
from tests.typing.seed_layout.orchestration_types import ActorInput


@orchestration(name=names.INSTANCE_ACTOR)
async def instance_actor(ctx: OrchestrationContext, state: ActorInput) -> None:
    healthy = await ctx.schedule_activity(test_connection, f"postgres://{state.name}")
    ctx.set_custom_status({"healthy": healthy, "iteration": state.iteration})
    timer = ctx.schedule_timer(30)
    deleted = ctx.schedule_wait(names.INSTANCE_DELETED)
    winner, _ = await ctx.select2(timer, deleted)
    if winner == 1:
        ctx.trace_info("Received signal, exiting gracefully")
        return
    ctx.continue_as_new(replace(state, iteration=state.iteration + 1))
