"""create-image: a copy of a running server, from which others can be made."""

import asyncio

from examples.toygres import names
from examples.toygres.activities.cms.images import forget_image, mark_image_ready, reserve_image
from examples.toygres.activities.images import check_backup, remove_image, start_backup
from examples.toygres.activity_types import BackupRequest, BackupStatus, ImageReady, ImageReservation, JobState
from examples.toygres.cms import NameTakenError
from examples.toygres.types import CreateImageInput, CreateImageOutput, Step
from perdure import OrchestrationContext, OutcomeError, orchestration


class BackupFailedError(Exception):
    """The copy was not made; the message is the end of its log."""


@orchestration(name=names.CREATE_IMAGE, version="1.0.0")
async def create_image(ctx: OrchestrationContext, request: CreateImageInput) -> CreateImageOutput:
    """Reserve the name, have the copy made, and leave nothing if that fails."""
    try:
        ctx.set_custom_status(Step.RESERVING)
        reservation = ImageReservation(request.image_id, request.name, request.server_id)
        await ctx.schedule_activity(reserve_image, reservation, on_cancel="wait")
        ctx.set_custom_status(Step.BACKING_UP)
        backup_of = BackupRequest(request.server_id, request.image_id)
        await ctx.schedule_activity(start_backup, backup_of, on_cancel="wait")
        backup = await _wait_until_done(ctx, request)
        await ctx.schedule_activity(mark_image_ready, ImageReady(request.image_id, backup.size_bytes))
    except (OutcomeError, BackupFailedError, TimeoutError, asyncio.CancelledError) as error:
        await _clean_up(ctx, request, error)
        raise
    ctx.set_custom_status(Step.IMAGE_READY)
    return CreateImageOutput(request.image_id, backup.size_bytes)


async def _wait_until_done(ctx: OrchestrationContext, request: CreateImageInput) -> BackupStatus:
    backup = await ctx.poll_until(check_backup, request.image_id, every=request.poll_every, timeout=request.patience)
    if backup.state is JobState.FAILED:
        raise BackupFailedError(f"image {request.name!r} could not be made. {backup.detail}")
    return backup


async def _clean_up(ctx: OrchestrationContext, request: CreateImageInput, error: BaseException) -> None:
    if isinstance(error, OutcomeError) and error.caused_by(NameTakenError):
        return
    ctx.set_custom_status(Step.CLEANING_UP)
    try:
        await ctx.schedule_activity(remove_image, request.image_id)
        await ctx.schedule_activity(forget_image, request.image_id)
    except OutcomeError as another:
        ctx.trace_error("could not clean up", image=request.image_id, error=another)
