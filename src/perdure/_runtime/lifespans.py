"""What is entered with a registry and left with it: its lifespans, and the guard over its orchestrations."""

import sys
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


FIRST_WATCHED = 0x030C0000
"""Python 3.12; as a number, since type checkers take a comparison with `sys.version_info` for a fact."""


def guard_orchestrations(registry: Registry, exits: AsyncExitStack) -> None:
    """Watch the registry's orchestrations for clocks, chance and blocking calls, where Python can (3.12 and newer)."""
    if sys.hexversion < FIRST_WATCHED:
        return
    from perdure._runtime.guard import Guard  # noqa: PLC0415 - of no use to an older Python

    guard = Guard()
    exits.callback(guard.close)
    guard.watch(each for versions in registry.orchestrations.values() for each in versions.values())
