"""Images in the CMS."""

from examples.toygres import names
from examples.toygres.activities import QUICKLY
from examples.toygres.activity_types import ImageReady, ImageReservation
from examples.toygres.resources import Resources
from perdure import ActivityContext, activity


@activity(name=names.RESERVE_IMAGE, retry=QUICKLY)
def reserve_image(ctx: ActivityContext, reservation: ImageReservation) -> None:
    """Take the name for an image of a server that runs; raises `NameTakenError` or `UnknownRecordError`."""
    ctx.state(Resources).cms.reserve_image(reservation)


@activity(name=names.MARK_IMAGE_READY, retry=QUICKLY)
def mark_image_ready(ctx: ActivityContext, image: ImageReady) -> None:
    ctx.state(Resources).cms.mark_image_ready(image.image_id, image.size_bytes)


@activity(name=names.FORGET_IMAGE, retry=QUICKLY)
def forget_image(ctx: ActivityContext, image_id: str) -> None:
    """Free the name."""
    ctx.state(Resources).cms.forget_image(image_id)
