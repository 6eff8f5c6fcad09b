"""Entering the lifespans of a registry: what its activities get by `ctx.state(Type)`."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from perdure._client import Client
from perdure._context import ActivityServices
from perdure._registry import Registry


async def enter_lifespans(
    registry: Registry, client: Client, exits: AsyncExitStack
) -> Callable[[str], ActivityServices]:
    """Enter each lifespan once; returns what the activities of a name share."""
    services: dict[Any, ActivityServices] = {None: ActivityServices(client=client)}
    for scope in registry.lifespans:
        state = await exits.enter_async_context(scope.lifespan())
        services[scope] = ActivityServices(client=client, state=state)
    return {name: services[registry.lifespan_of(name)] for name in registry.activities}.__getitem__
