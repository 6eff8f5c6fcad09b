"""Creates an instance and starts the actor that watches it."""

from perdure import ActivityError, Backoff, OrchestrationContext, RetryPolicy, orchestration
from tests.typing.seed_layout import names
from tests.typing.seed_layout.activities.connection import test_connection
from tests.typing.seed_layout.activities.deploy import deploy
from tests.typing.seed_layout.activity_types import DeployInput
from tests.typing.seed_layout.orchestration_types import ActorInput, CreateInstanceInput, CreateInstanceOutput
from tests.typing.seed_layout.orchestrations.instance_actor import instance_actor


@orchestration(name=names.CREATE_INSTANCE, version="1.0.0")
async def create_instance_1_0_0(ctx: OrchestrationContext, request: CreateInstanceInput) -> CreateInstanceOutput:
    deployed = await ctx.schedule_activity(deploy, DeployInput(request.name, request.password))
    return CreateInstanceOutput(deployed.connection, "")


@orchestration(name=names.CREATE_INSTANCE, version="1.0.1")
async def create_instance(ctx: OrchestrationContext, request: CreateInstanceInput) -> CreateInstanceOutput:
    deployed = await ctx.schedule_activity(
        deploy,
        DeployInput(request.name, request.password),
        retry=RetryPolicy(5, backoff=Backoff.exponential(2, multiplier=2.0, max=30), attempt_timeout=60),
    )
    for _ in range(60):
        if await ctx.schedule_activity(test_connection, deployed.connection):
            break
        await ctx.schedule_timer(5)
    actor_id = ctx.schedule_orchestration(instance_actor, ActorInput(request.name), instance_id=f"actor-{request.name}")
    try:
        await ctx.schedule_activity("toygres::activity::announce", request.name, returns=bool)
    except ActivityError as error:
        ctx.trace_warn(f"Non-critical operation failed: {error}")
    return CreateInstanceOutput(deployed.connection, actor_id)
