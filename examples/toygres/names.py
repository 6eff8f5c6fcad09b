"""Durable names, as `{package}::{kind}::{name}`, and the ids of instances. Histories know them: never change one."""

PACKAGE = "toygres"

CREATE_INSTANCE = "toygres::orchestration::create-instance"
DELETE_INSTANCE = "toygres::orchestration::delete-instance"
INSTANCE_ACTOR = "toygres::orchestration::instance-actor"
SYSTEM_PRUNER = "toygres::orchestration::system-pruner"
CREATE_IMAGE = "toygres::orchestration::create-image"
DELETE_IMAGE = "toygres::orchestration::delete-image"
BATCH_CREATE = "toygres::orchestration::batch-create"
CREATE_SEMAPHORE = "toygres::orchestration::create-semaphore"

PREPARE_VOLUME = "toygres::activity::prepare-volume"
DEPLOY_POSTGRES = "toygres::activity::deploy-postgres"
CHECK_READY = "toygres::activity::check-ready"
GET_ENDPOINT = "toygres::activity::get-endpoint"
TEST_CONNECTION = "toygres::activity::test-connection"
CHECK_HEALTH = "toygres::activity::check-health"
DELETE_POSTGRES = "toygres::activity::delete-postgres"
START_BACKUP = "toygres::activity::start-backup"
CHECK_BACKUP = "toygres::activity::check-backup"
REMOVE_IMAGE = "toygres::activity::remove-image"
PRUNE_SYSTEM = "toygres::activity::prune-system"
FIND_ENDED = "toygres::activity::find-ended"

RESERVE_SERVER = "toygres::activity::cms-reserve-server"
GET_SERVER = "toygres::activity::cms-get-server"
MARK_RUNNING = "toygres::activity::cms-mark-running"
MARK_FAILED = "toygres::activity::cms-mark-failed"
MARK_DELETING = "toygres::activity::cms-mark-deleting"
FORGET_SERVER = "toygres::activity::cms-forget-server"
RECORD_HEALTH = "toygres::activity::cms-record-health"
RESERVE_IMAGE = "toygres::activity::cms-reserve-image"
MARK_IMAGE_READY = "toygres::activity::cms-mark-image-ready"
FORGET_IMAGE = "toygres::activity::cms-forget-image"

CREATE_SEMAPHORE_ID = "create-semaphore"
SYSTEM_PRUNER_ID = "system-pruner"


def creation_id(server_id: str) -> str:
    """The instance that creates a server."""
    return f"create-{server_id}"


def deletion_id(server_id: str) -> str:
    """The instance that deletes a server."""
    return f"delete-{server_id}"


def actor_id(server_id: str) -> str:
    """The instance that watches a server."""
    return f"actor-{server_id}"


def image_creation_id(image_id: str) -> str:
    """The instance that makes an image."""
    return f"create-image-{image_id}"


def image_deletion_id(image_id: str) -> str:
    """The instance that deletes an image."""
    return f"delete-image-{image_id}"
