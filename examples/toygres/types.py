"""What orchestrations take, return, publish and tell each other.

Stored instances are read by these types for as long as they live: a new field comes last and has a default.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from perdure import ExternalEvent


@dataclass(frozen=True)
class Pace:
    """How often things are looked at, and for how long they are waited for. An orchestration reads no environment."""

    ready_every: timedelta = timedelta(seconds=1)
    ready_patience: timedelta = timedelta(minutes=5)
    permit_patience: timedelta = timedelta(hours=1)
    health_every: timedelta = timedelta(seconds=30)


class Step(StrEnum):
    """What a create-instance or delete-instance is at; its custom status."""

    RESERVING = "reserving the name"
    WAITING_FOR_PERMIT = "waiting for a permit"
    PREPARING_VOLUME = "preparing the volume"
    STARTING = "starting PostgreSQL"
    WAITING_UNTIL_READY = "waiting until it is ready"
    TESTING = "testing the connection"
    RUNNING = "running"
    CLEANING_UP = "cleaning up"
    SAYING_GOODBYE = "telling the actor"
    REMOVING = "removing the server"
    FORGETTING = "freeing the name"
    DELETED = "deleted"
    BACKING_UP = "backing up"
    IMAGE_READY = "ready"


@dataclass(frozen=True)
class CreateInstanceInput:
    """A server to create: `server_id` is unique for ever, `name` among the servers that exist."""

    server_id: str
    name: str
    image_id: str | None = None
    settings: dict[str, str] = field(default_factory=dict)
    pace: Pace = Pace()


@dataclass(frozen=True)
class CreateInstanceOutput:
    server_id: str
    name: str
    url: str
    postgres_version: str
    actor_id: str


@dataclass(frozen=True)
class DeleteInstanceInput:
    server_id: str
    reason: str


@dataclass(frozen=True)
class DeleteInstanceOutput:
    existed: bool


@dataclass(frozen=True)
class InstanceActorInput:
    """What an actor carries from one round to the next."""

    server_id: str
    every: timedelta
    iteration: int = 0
    # Since 1.1.0. It has a default, so that what 1.0.0 hands over at continue-as-new can be read.
    failures_in_a_row: int = 0


@dataclass(frozen=True)
class ActorStatus:
    """An actor's custom status: its last look at the server."""

    healthy: bool
    detail: str
    at: datetime
    iteration: int
    failures_in_a_row: int = 0


@dataclass(frozen=True)
class SystemPrunerInput:
    """Closed instances older than `keep` are deleted, `every` so often. `deleted` counts them, for ever."""

    keep: timedelta
    every: timedelta
    iteration: int = 0
    deleted: int = 0


@dataclass(frozen=True)
class CreateImageInput:
    """An image to make of a running server: `image_id` is unique for ever, `name` among the images that exist."""

    image_id: str
    name: str
    server_id: str
    poll_every: timedelta = timedelta(seconds=2)
    patience: timedelta = timedelta(hours=1)


@dataclass(frozen=True)
class CreateImageOutput:
    image_id: str
    size_bytes: int


@dataclass(frozen=True)
class DeleteImageInput:
    image_id: str


@dataclass(frozen=True)
class BatchCreateInput:
    """Servers to create at once, named `{prefix}-1` and so on."""

    prefix: str
    count: int
    settings: dict[str, str] = field(default_factory=dict)
    pace: Pace = Pace()


@dataclass(frozen=True)
class BatchProgress:
    """A batch's custom status, and in the end its result."""

    total: int
    created: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """Why, by name."""

    @property
    def is_complete(self) -> bool:
        """Whether every server was created or has failed."""
        return len(self.created) + len(self.failed) == self.total


@dataclass(frozen=True)
class SemaphoreState:
    """How many permits there are, who has one, and who waits for one, the first come first."""

    limit: int
    look_every: timedelta = timedelta(seconds=30)
    holders: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Acquire:
    """Asks for a permit."""

    instance_id: str


@dataclass(frozen=True)
class Release:
    """Gives a permit back, or no longer waits for one."""

    instance_id: str


INSTANCE_DELETED = ExternalEvent[str]("InstanceDeleted")
"""Tells an actor that its server goes, and why."""

CHECK_NOW = ExternalEvent[str]("CheckNow")
"""Asks an actor, from version 1.1.0 on, to look at once; says who asks."""

PERMITS = ExternalEvent[Acquire | Release]("permits")
"""What the semaphore hears."""

PERMIT_GRANTED = ExternalEvent[int]("create-permit")
"""What it answers: how many permits are left."""
