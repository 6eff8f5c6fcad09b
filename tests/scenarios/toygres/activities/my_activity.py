"""An idempotent activity: it looks first whether its work has been done."""

from perdure import ActivityContext, activity
from tests.scenarios.toygres import names
from tests.scenarios.toygres.activity_types import MyActivityInput, MyActivityOutput

done: dict[str, str] = {}
"""Stands for the world: what has been done, by name."""


@activity(name=names.MY_ACTIVITY)
async def my_activity(ctx: ActivityContext, request: MyActivityInput) -> MyActivityOutput:
    ctx.trace_info(f"Starting activity: {request.name}")

    # CRITICAL: Check idempotency first - has this already been done?
    if request.name in done:
        ctx.trace_info("Already completed, returning cached result")
        return MyActivityOutput(request.name, done_before=True)

    # Perform actual work
    if request.name.startswith("unlucky") and ctx.attempt < 3:
        raise ConnectionError(f"Failed: {request.name}")
    if request.name == "hopeless":
        raise RuntimeError("Failed: hopeless")
    done[request.name] = ctx.idempotency_key

    ctx.trace_info("Activity completed successfully")
    return MyActivityOutput(request.name, done_before=False)
