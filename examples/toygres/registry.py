"""What a worker of Toygres can run."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager

from examples.toygres.activities import connections, images, instances, servers
from examples.toygres.activities.cms import images as cms_images
from examples.toygres.activities.cms import servers as cms_servers
from examples.toygres.orchestrations import (
    batch_create,
    create_image,
    create_instance,
    create_semaphore,
    delete_image,
    delete_instance,
    instance_actor,
    instance_actor_v1_0_0,
    system_pruner,
)
from examples.toygres.resources import Resources
from perdure import Registry


def make_registry(
    open_resources: Callable[[], AbstractAsyncContextManager[Resources]],
    *,
    version_policy: Mapping[str, str] | None = None,
) -> Registry:
    """Every activity and orchestration, over these resources.

    Args:
        open_resources: The lifespan; a test may give a cluster of its own.
        version_policy: Orchestrations that new executions shall run in another version than the latest.
    """
    activities = Registry(connections, images, instances, servers, cms_images, cms_servers, lifespan=open_resources)
    return Registry(
        activities,
        batch_create,
        create_image,
        create_instance,
        create_semaphore,
        delete_image,
        delete_instance,
        instance_actor,
        instance_actor_v1_0_0,
        system_pruner,
        version_policy=version_policy,
    )
