"""Images in the cluster."""

from examples.toygres import names
from examples.toygres.activities import QUICKLY, UNTIL_IDLE
from examples.toygres.activity_types import BackupRequest, BackupStatus, JobState
from examples.toygres.resources import Resources
from perdure import ActivityContext, activity


@activity(name=names.START_BACKUP, retry=UNTIL_IDLE)
def start_backup(ctx: ActivityContext, request: BackupRequest) -> None:
    """Begin to copy a server, if that was not begun."""
    ctx.raise_if_cancelled()
    ctx.state(Resources).cluster.start_backup(request.server_id, request.image_id)


@activity(name=names.CHECK_BACKUP, retry=QUICKLY)
def check_backup(ctx: ActivityContext, image_id: str) -> BackupStatus | None:
    """What came of the copy; None while it is made."""
    backup = ctx.state(Resources).cluster.backup(image_id)
    return None if backup.state is JobState.RUNNING else backup


@activity(name=names.REMOVE_IMAGE, retry=UNTIL_IDLE)
def remove_image(ctx: ActivityContext, image_id: str) -> None:
    ctx.state(Resources).cluster.remove_image(image_id)
