"""Deploys a database server; checks first whether it is there."""

from perdure import ActivityContext, activity
from tests.typing.seed_layout import names
from tests.typing.seed_layout.activity_types import DeployInput, DeployOutput


@activity(name=names.DEPLOY)
async def deploy(ctx: ActivityContext, request: DeployInput) -> DeployOutput:
    ctx.trace_info("deploying", name=request.name)
    return DeployOutput(f"postgres://{request.name}", created=ctx.attempt == 1)
