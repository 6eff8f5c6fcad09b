"""Servers in the cluster."""

from examples.toygres import names
from examples.toygres.activities import QUICKLY, UNTIL_IDLE
from examples.toygres.activity_types import DeployRequest, Endpoint, Readiness, ServerState, VolumeRequest
from examples.toygres.resources import Resources
from perdure import ActivityContext, activity

_CIVIL_ATTEMPTS = 3


@activity(name=names.PREPARE_VOLUME, retry=UNTIL_IDLE)
def prepare_volume(ctx: ActivityContext, request: VolumeRequest) -> None:
    """Make the data folder, empty or of an image; raises `NoImageError`."""
    ctx.raise_if_cancelled()
    ctx.state(Resources).cluster.prepare_volume(request.server_id, request.image_id)


@activity(name=names.DEPLOY_POSTGRES, retry=UNTIL_IDLE)
def deploy_postgres(ctx: ActivityContext, request: DeployRequest) -> None:
    """Start the server, if it does not run."""
    ctx.state(Resources).cluster.start(request.server_id, request.settings)


@activity(name=names.CHECK_READY, retry=QUICKLY)
def check_ready(ctx: ActivityContext, server_id: str) -> Readiness | None:
    """What came of its start; None while it starts."""
    readiness = ctx.state(Resources).cluster.readiness(server_id)
    return None if readiness.state is ServerState.STARTING else readiness


@activity(name=names.GET_ENDPOINT, retry=QUICKLY)
def get_endpoint(ctx: ActivityContext, server_id: str) -> Endpoint:
    return ctx.state(Resources).cluster.endpoint(server_id)


@activity(name=names.DELETE_POSTGRES, retry=UNTIL_IDLE)
def delete_postgres(ctx: ActivityContext, server_id: str) -> None:
    """Stop the server and remove all that it had; urgently, once asking civilly has not helped."""
    ctx.state(Resources).cluster.remove(server_id, urgently=ctx.attempt > _CIVIL_ATTEMPTS)
