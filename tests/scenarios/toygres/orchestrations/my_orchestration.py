"""The seed's orchestrations, block by block."""

from dataclasses import replace
from datetime import timedelta

from perdure import ActivityError, Backoff, ExternalEvent, OrchestrationContext, RetryPolicy, orchestration
from tests.scenarios.toygres import names
from tests.scenarios.toygres.activities.cms.my_cms_activity import my_cms_activity
from tests.scenarios.toygres.activities.my_activity import my_activity
from tests.scenarios.toygres.activity_types import MyActivityInput
from tests.scenarios.toygres.orchestration_types import MyInput, MyOutput

INSTANCE_DELETED = ExternalEvent[None]("InstanceDeleted")


@orchestration(name=names.CHILD_WORKFLOW)
async def child_workflow(ctx: OrchestrationContext, request: MyInput) -> MyOutput:
    result = await ctx.schedule_activity(my_activity, MyActivityInput(request.id))
    return MyOutput(request.id, [result.name])


@orchestration(name=names.BACKGROUND_WORKFLOW)
async def background_workflow(ctx: OrchestrationContext, request: MyInput) -> None:
    await ctx.schedule_activity(my_cms_activity, f"background {request.id}")


@orchestration(name=names.MY_WORKFLOW)
async def my_orchestration(ctx: OrchestrationContext, request: MyInput) -> MyOutput:
    ctx.trace_info(f"Starting orchestration: {request.id}")

    # Schedule an activity (basic)
    basic = await ctx.schedule_activity(my_activity, MyActivityInput("basic"))

    # Activity with retry and backoff
    retried = await ctx.schedule_activity(
        my_activity,
        MyActivityInput("unlucky"),
        retry=RetryPolicy(  # 5 attempts at most
            5,
            backoff=Backoff.exponential(2, multiplier=2.0, max=30),
            attempt_timeout=60,
        ),
    )

    # Sub-orchestration
    child = await ctx.schedule_sub_orchestration(child_workflow, MyInput("child"))

    # Start orchestration without waiting for completion: a unique ID for this instance
    ctx.schedule_orchestration(background_workflow, MyInput("detached"), instance_id=f"background-{request.id}")

    # Continues immediately - orchestration runs independently
    return MyOutput(request.id, [basic.name, retried.name, *child.results])


@orchestration(name=names.INSTANCE_WATCH)
async def instance_watch(ctx: OrchestrationContext) -> str:
    # Wait for 30 seconds OR deletion signal (whichever comes first)
    timer = ctx.schedule_timer(timedelta(seconds=30))
    deletion_signal = ctx.schedule_wait(INSTANCE_DELETED)

    winner_index, _ = await ctx.select2(timer, deletion_signal)

    if winner_index == 1:
        # Signal received
        ctx.trace_info("Received signal, exiting gracefully")
        return "deleted"
    # Timer fired, continue
    return f"still there at {ctx.utc_now():%H:%M:%S}"


@orchestration(name=names.LONG_RUNNING)
async def long_running(ctx: OrchestrationContext, request: MyInput) -> int:
    # Do one iteration of work
    await ctx.schedule_activity(my_cms_activity, f"iteration {request.iteration}")
    if request.iteration == 3:
        return request.iteration

    # Wait before next iteration
    await ctx.schedule_timer(timedelta(seconds=60))

    # Continue as new: restarts with fresh execution history
    return ctx.continue_as_new(replace(request, iteration=request.iteration + 1))


@orchestration(name=names.BEST_EFFORT)
async def best_effort(ctx: OrchestrationContext, how: str) -> str:
    if how == "critical":
        # Fail orchestration if activity fails
        return (await ctx.schedule_activity(my_activity, MyActivityInput("hopeless"))).name
    # Don't fail orchestration for non-critical operations
    try:
        await ctx.schedule_activity(my_activity, MyActivityInput("hopeless"))
    except ActivityError as error:
        ctx.trace_warn(f"Non-critical operation failed: {error}")
        # Continue despite error
    return "went on"
