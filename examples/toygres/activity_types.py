"""What activities take and return. Stored histories are read by these types: a new field comes last, with a default."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum


class RecordState(StrEnum):
    """What the CMS believes of a server or an image."""

    CREATING = "creating"
    RUNNING = "running"
    READY = "ready"
    FAILED = "failed"
    DELETING = "deleting"


class ServerState(StrEnum):
    """What the cluster sees of a server."""

    ABSENT = "absent"
    STARTING = "starting"
    READY = "ready"
    DEAD = "dead"


class JobState(StrEnum):
    """What the cluster sees of a job."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class VolumeRequest:
    """A server's data folder: empty, or a copy of an image."""

    server_id: str
    image_id: str | None = None


@dataclass(frozen=True)
class DeployRequest:
    server_id: str
    settings: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Readiness:
    """`detail` says why it is not ready."""

    state: ServerState
    detail: str = ""


@dataclass(frozen=True)
class Endpoint:
    """Where a server listens. The password is in `passfile`, and so in no history and no log."""

    host: str
    port: int
    user: str
    database: str
    passfile: str


@dataclass(frozen=True)
class HealthCheck:
    """One look at a server."""

    healthy: bool
    detail: str
    at: datetime
    latency: timedelta


@dataclass(frozen=True)
class HealthReport:
    server_id: str
    check: HealthCheck


@dataclass(frozen=True)
class ServerReservation:
    server_id: str
    name: str
    image_id: str | None = None


@dataclass(frozen=True)
class ServerStarted:
    """What is known of a server once it runs."""

    server_id: str
    endpoint: Endpoint
    postgres_version: str
    actor_id: str


@dataclass(frozen=True)
class ServerFailed:
    server_id: str
    error: str


@dataclass(frozen=True)
class ServerRecord:
    """A server's row in the CMS."""

    server_id: str
    name: str
    state: RecordState
    creation_id: str
    image_id: str | None = None
    endpoint: Endpoint | None = None
    postgres_version: str | None = None
    actor_id: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class BackupRequest:
    server_id: str
    image_id: str


@dataclass(frozen=True)
class BackupStatus:
    state: JobState
    size_bytes: int = 0
    detail: str = ""


@dataclass(frozen=True)
class ImageReservation:
    image_id: str
    name: str
    server_id: str


@dataclass(frozen=True)
class ImageReady:
    image_id: str
    size_bytes: int


@dataclass(frozen=True)
class ImageRecord:
    """An image's row in the CMS."""

    image_id: str
    name: str
    server_name: str
    state: RecordState
    size_bytes: int = 0
