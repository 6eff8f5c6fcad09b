"""delete-image: remove an image. Servers that were made from it are copies, and stay."""

from examples.toygres import names
from examples.toygres.activities.cms.images import forget_image
from examples.toygres.activities.images import remove_image
from examples.toygres.types import DeleteImageInput, Step
from perdure import OrchestrationContext, orchestration


@orchestration(name=names.DELETE_IMAGE, version="1.0.0")
async def delete_image(ctx: OrchestrationContext, request: DeleteImageInput) -> None:
    """Remove the copy, then free the name."""
    ctx.set_custom_status(Step.REMOVING)
    await ctx.schedule_activity(remove_image, request.image_id)
    ctx.set_custom_status(Step.FORGETTING)
    await ctx.schedule_activity(forget_image, request.image_id)
    ctx.set_custom_status(Step.DELETED)
