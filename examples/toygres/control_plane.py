"""The control plane: a worker for everything of Toygres, and what may be asked of it. HTTP is one way to ask."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta

from examples.toygres import names
from examples.toygres.activity_types import HealthCheck, ImageRecord, RecordState, ServerRecord
from examples.toygres.cms import Cms, NameTakenError, UnknownRecordError
from examples.toygres.orchestrations.batch_create import BATCH_MAX, batch_create
from examples.toygres.orchestrations.create_image import create_image
from examples.toygres.orchestrations.create_instance import create_instance
from examples.toygres.orchestrations.create_semaphore import create_semaphore
from examples.toygres.orchestrations.delete_image import delete_image
from examples.toygres.orchestrations.delete_instance import delete_instance
from examples.toygres.orchestrations.system_pruner import system_pruner
from examples.toygres.registry import make_registry
from examples.toygres.resources import Site
from examples.toygres.types import (
    CHECK_NOW,
    BatchCreateInput,
    CreateImageInput,
    CreateInstanceInput,
    DeleteImageInput,
    DeleteInstanceInput,
    Pace,
    SemaphoreState,
    SystemPrunerInput,
)
from perdure import (
    Client,
    Event,
    InstanceClosedError,
    InstanceExistsError,
    InstanceNotFoundError,
    InstanceStatus,
    Runtime,
)

NAME_CHARS_MAX = 40
ORCHESTRATIONS_SHOWN = 50

_NAME = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")


class BadRequestError(ValueError):
    """What was asked for can't be; the message says why."""


@dataclass(frozen=True)
class Plan:
    """How a control plane shall work."""

    site: Site
    pace: Pace = field(default_factory=Pace)
    max_creates: int = 2
    """Servers that are made at a time. It counts when the semaphore is started for the first time."""

    prune_keep: timedelta = timedelta(hours=1)
    prune_every: timedelta = timedelta(minutes=1)
    version_policy: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ServerView:
    """A server as it is shown: its record, the last look at it, and the orchestrations behind it."""

    record: ServerRecord
    health: HealthCheck | None
    creation: InstanceStatus[object] | None
    actor: InstanceStatus[object] | None


class ControlPlane:
    """What may be asked. What changes something returns the id of the instance that does it, which has begun."""

    def __init__(self, client: Client, cms: Cms, plan: Plan) -> None:
        self._client = client
        self._cms = cms
        self._plan = plan

    async def start_endless(self) -> None:
        """See to it that the semaphore and the pruner run; of each there is one, however many control planes."""
        plan = self._plan
        # In use already: that is as it should be.
        with suppress(InstanceExistsError):
            await self._client.start_orchestration(
                create_semaphore,
                SemaphoreState(plan.max_creates),
                instance_id=names.CREATE_SEMAPHORE_ID,
                on_conflict="restart_if_closed",
            )
        with suppress(InstanceExistsError):
            await self._client.start_orchestration(
                system_pruner,
                SystemPrunerInput(plan.prune_keep, plan.prune_every),
                instance_id=names.SYSTEM_PRUNER_ID,
                on_conflict="restart_if_closed",
            )

    async def create_server(
        self, name: str, *, image: str | None = None, settings: Mapping[str, str] | None = None
    ) -> str:
        """Make a server, empty or of an image.

        Raises:
            BadRequestError: The name can't be one.
            NameTakenError: There is such a server.
            UnknownRecordError: There is no such image, or it is not ready.
        """
        _check_name(name)
        if await asyncio.to_thread(self._cms.find_server, name) is not None:
            raise NameTakenError(f"there is a server named {name!r} already")
        image_id = None if image is None else (await self._find_image(image)).image_id
        server_id = _new_id(name)
        request = CreateInstanceInput(server_id, name, image_id, dict(settings or {}), self._plan.pace)
        instance_id = names.creation_id(server_id)
        await self._client.start_orchestration(create_instance, request, instance_id=instance_id)
        return instance_id

    async def create_batch(self, prefix: str, count: int, *, settings: Mapping[str, str] | None = None) -> str:
        """Make several servers.

        Raises:
            BadRequestError: The names can't be ones, or there are too many.
        """
        _check_name(f"{prefix}-{count}")
        if not 1 <= count <= BATCH_MAX:
            raise BadRequestError(f"a batch has 1 to {BATCH_MAX} servers, not {count}")
        request = BatchCreateInput(prefix, count, dict(settings or {}), self._plan.pace)
        instance_id = f"batch-{_new_id(prefix)}"
        await self._client.start_orchestration(batch_create, request, instance_id=instance_id)
        return instance_id

    async def delete_server(self, name: str, reason: str = "asked for") -> str:
        """Delete a server; one that is being made is not made any further.

        Raises:
            UnknownRecordError: There is no such server.
        """
        record = await self._find_server(name)
        if record.state is RecordState.CREATING:
            # It cleans up after itself. If it was terminated, it can't, and is closed.
            with suppress(InstanceClosedError, InstanceNotFoundError):
                await self._client.cancel(record.creation_id, reason)
                return record.creation_id
        instance_id = names.deletion_id(record.server_id)
        # It is being deleted already, if one is open.
        with suppress(InstanceExistsError):
            await self._client.start_orchestration(
                delete_instance,
                DeleteInstanceInput(record.server_id, reason),
                instance_id=instance_id,
                on_conflict="restart_if_closed",
            )
        return instance_id

    async def check_server(self, name: str) -> str:
        """Let the server's actor look at it now.

        Raises:
            UnknownRecordError: There is no such server, or it has no actor yet.
        """
        record = await self._find_server(name)
        if record.actor_id is None:
            raise UnknownRecordError(f"server {name!r} has no actor yet")
        try:
            await self._client.raise_event(record.actor_id, CHECK_NOW, "the control plane")
        except (InstanceClosedError, InstanceNotFoundError):
            raise UnknownRecordError(f"the actor of server {name!r} has ended") from None
        return record.actor_id

    async def create_image(self, name: str, server: str) -> str:
        """Make an image of a running server.

        Raises:
            BadRequestError: The name can't be one.
            NameTakenError: There is such an image.
            UnknownRecordError: There is no such server.
        """
        _check_name(name)
        if await asyncio.to_thread(self._cms.find_image, name) is not None:
            raise NameTakenError(f"there is an image named {name!r} already")
        record = await self._find_server(server)
        image_id = _new_id(name)
        request = CreateImageInput(image_id, name, record.server_id, self._plan.pace.ready_every)
        instance_id = names.image_creation_id(image_id)
        await self._client.start_orchestration(create_image, request, instance_id=instance_id)
        return instance_id

    async def delete_image(self, name: str) -> str:
        """Delete an image.

        Raises:
            UnknownRecordError: There is no such image, or it is not ready.
        """
        image = await self._find_image(name)
        instance_id = names.image_deletion_id(image.image_id)
        with suppress(InstanceExistsError):
            await self._client.start_orchestration(
                delete_image,
                DeleteImageInput(image.image_id),
                instance_id=instance_id,
                on_conflict="restart_if_closed",
            )
        return instance_id

    async def list_servers(self) -> list[ServerView]:
        """All servers, by name."""
        return [await self._view(record) for record in await asyncio.to_thread(self._cms.list_servers)]

    async def list_images(self) -> list[ImageRecord]:
        """All images, by name."""
        return await asyncio.to_thread(self._cms.list_images)

    async def list_orchestrations(self) -> Sequence[InstanceStatus[object]]:
        """The latest instances, the newest first."""
        return (await self._client.list_instances(limit=ORCHESTRATIONS_SHOWN)).items

    async def read_history(self, instance_id: str) -> list[Event]:
        """What happened to an instance.

        Raises:
            UnknownRecordError: There is no such instance.
        """
        try:
            return [event async for event in self._client.history(instance_id)]
        except InstanceNotFoundError:
            raise UnknownRecordError(f"there is no instance {instance_id!r}") from None

    async def clear(self) -> None:
        """Delete all servers and images; returns when they are gone.

        Raises:
            OrchestrationError: One could not be deleted.
        """
        servers = await asyncio.to_thread(self._cms.list_servers)
        begun = [await self.delete_server(each.name, "clear") for each in servers]
        begun += [await self.delete_image(each.name) for each in await self.list_images()]
        for instance_id in begun:
            await self._client.get_handle(instance_id).result()

    async def _view(self, record: ServerRecord) -> ServerView:
        looks = await asyncio.to_thread(self._cms.list_health, record.server_id, 1)
        return ServerView(
            record,
            looks[0] if looks else None,
            await self._status(record.creation_id),
            None if record.actor_id is None else await self._status(record.actor_id),
        )

    async def _status(self, instance_id: str) -> InstanceStatus[object] | None:
        try:
            return await self._client.get_status(instance_id)
        except InstanceNotFoundError:
            # Pruned.
            return None

    async def _find_server(self, name: str) -> ServerRecord:
        record = await asyncio.to_thread(self._cms.find_server, name)
        if record is None:
            raise UnknownRecordError(f"there is no server named {name!r}")
        return record

    async def _find_image(self, name: str) -> ImageRecord:
        image = await asyncio.to_thread(self._cms.find_image, name)
        if image is None or image.state is not RecordState.READY:
            raise UnknownRecordError(f"there is no image named {name!r} that is ready")
        return image


@asynccontextmanager
async def open_control_plane(plan: Plan) -> AsyncIterator[ControlPlane]:
    """A worker on the site's store, and the control plane over it. What is under way goes on at once."""
    site = plan.site
    site.folder.mkdir(parents=True, exist_ok=True)
    registry = make_registry(site.lifespan, version_policy=plan.version_policy)
    cms = Cms(site.cms)
    try:
        async with Runtime(site.store, registry) as runtime:
            plane = ControlPlane(runtime.client, cms, plan)
            await plane.start_endless()
            yield plane
    finally:
        cms.close()


def _check_name(name: str) -> None:
    if len(name) > NAME_CHARS_MAX or not _NAME.fullmatch(name):
        raise BadRequestError(
            f"{name!r} can't be a name: use a small letter, then small letters, digits and dashes,"
            f" {NAME_CHARS_MAX} at most"
        )


def _new_id(name: str) -> str:
    return f"{name}-{secrets.token_hex(3)}"
