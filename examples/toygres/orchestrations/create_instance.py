"""create-instance: from a name to a server that answers, or to no trace of one."""

import asyncio

from examples.toygres import names
from examples.toygres.activities.cms.servers import mark_failed, mark_running, reserve_server
from examples.toygres.activities.connections import test_connection, url_of
from examples.toygres.activities.servers import check_ready, deploy_postgres, get_endpoint, prepare_volume
from examples.toygres.activity_types import (
    DeployRequest,
    Readiness,
    ServerFailed,
    ServerReservation,
    ServerStarted,
    ServerState,
    VolumeRequest,
)
from examples.toygres.cms import NameTakenError
from examples.toygres.orchestrations.delete_instance import delete_instance
from examples.toygres.orchestrations.instance_actor import instance_actor
from examples.toygres.orchestrations.steps import create_permit
from examples.toygres.types import (
    CreateInstanceInput,
    CreateInstanceOutput,
    DeleteInstanceInput,
    InstanceActorInput,
    Step,
)
from perdure import OrchestrationContext, OutcomeError, orchestration

STARTS_MAX = 3
"""How often a server is started that dies at its start: another program may have taken its port in that moment."""


class ServerDiedError(Exception):
    """The server can't be started; the message is the end of its log."""


@orchestration(name=names.CREATE_INSTANCE, version="1.0.0")
async def create_instance(ctx: OrchestrationContext, request: CreateInstanceInput) -> CreateInstanceOutput:
    """Reserve the name, wait for a permit, make the server, and hand it to its actor; undo it all if that fails."""
    ctx.trace_info("creating", name=request.name, server=request.server_id)
    try:
        ctx.set_custom_status(Step.RESERVING)
        # What makes something that has to be undone has ended before it is undone: a cancel waits for it.
        await ctx.schedule_activity(reserve_server, _reservation(request), on_cancel="wait")
        ctx.set_custom_status(Step.WAITING_FOR_PERMIT)
        async with create_permit(ctx, request.pace.permit_patience):
            created = await _create(ctx, request)
    except (OutcomeError, ServerDiedError, TimeoutError, asyncio.CancelledError) as error:
        await _clean_up(ctx, request, error)
        raise
    ctx.schedule_orchestration(
        instance_actor,
        InstanceActorInput(request.server_id, request.pace.health_every),
        instance_id=created.actor_id,
    )
    ctx.set_custom_status(Step.RUNNING)
    return created


async def _create(ctx: OrchestrationContext, request: CreateInstanceInput) -> CreateInstanceOutput:
    ctx.set_custom_status(Step.PREPARING_VOLUME)
    volume = VolumeRequest(request.server_id, request.image_id)
    await ctx.schedule_activity(prepare_volume, volume, on_cancel="wait")
    await _start(ctx, request)
    ctx.set_custom_status(Step.TESTING)
    endpoint = await ctx.schedule_activity(get_endpoint, request.server_id)
    version = await ctx.schedule_activity(test_connection, endpoint)
    actor_id = names.actor_id(request.server_id)
    await ctx.schedule_activity(mark_running, ServerStarted(request.server_id, endpoint, version, actor_id))
    return CreateInstanceOutput(request.server_id, request.name, url_of(endpoint), version, actor_id)


async def _start(ctx: OrchestrationContext, request: CreateInstanceInput) -> None:
    readiness = Readiness(ServerState.ABSENT)
    for _ in range(STARTS_MAX):
        ctx.set_custom_status(Step.STARTING)
        await ctx.schedule_activity(deploy_postgres, DeployRequest(request.server_id, request.settings))
        ctx.set_custom_status(Step.WAITING_UNTIL_READY)
        readiness = await _wait_until_ready(ctx, request)
        if readiness.state is ServerState.READY:
            return
        ctx.trace_warn("died at its start", server=request.server_id, log=readiness.detail)
    raise ServerDiedError(f"server {request.name!r} died at its start, {STARTS_MAX} times. {readiness.detail}")


async def _wait_until_ready(ctx: OrchestrationContext, request: CreateInstanceInput) -> Readiness:
    pace = request.pace
    return await ctx.poll_until(check_ready, request.server_id, every=pace.ready_every, timeout=pace.ready_patience)


async def _clean_up(ctx: OrchestrationContext, request: CreateInstanceInput, error: BaseException) -> None:
    """Leave nothing behind. What goes wrong with that is logged, as whoever waits wants to hear the first error."""
    ctx.trace_warn("cleaning up", server=request.server_id, error=error)
    if isinstance(error, OutcomeError) and error.caused_by(NameTakenError):
        return
    ctx.set_custom_status(Step.CLEANING_UP)
    why = str(error) or type(error).__name__
    try:
        await ctx.schedule_activity(mark_failed, ServerFailed(request.server_id, why))
        await ctx.schedule_sub_orchestration(delete_instance, DeleteInstanceInput(request.server_id, why))
    except OutcomeError as another:
        ctx.trace_error("could not clean up", server=request.server_id, error=another)


def _reservation(request: CreateInstanceInput) -> ServerReservation:
    return ServerReservation(request.server_id, request.name, request.image_id)
