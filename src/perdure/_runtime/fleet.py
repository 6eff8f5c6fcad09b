"""A worker on several databases: a station for each, and a courier between them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from perdure._client.shards import ShardedGateway
from perdure._ports import Clock, Entropy, Incarnations
from perdure._runtime.courier import Courier, SendingStorage
from perdure._runtime.station import Station
from perdure._work import Shard

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure._registry import Registry
    from perdure._runtime.inbox import Entry


_log = logging.getLogger("perdure.runtime")


def tell_of_limits(registry: Registry, count: int) -> None:
    """Say which limits hold on each shard by itself, for they were declared for all together."""
    limited = sorted(name for name, each in registry.activities.items() if each.limit is not None)
    if limited:
        _log.warning(
            "on %d shards a limit holds on each: up to %d times as many of %s may run; divide the numbers, or keep "
            "what shares a limit on one shard",
            count, count, ", ".join(limited),
        )  # fmt: skip


def sharded(storages: list[Any], clock: Clock, entropy: Entropy) -> tuple[list[Station], ShardedGateway, Courier]:
    """The stations, the gateway of the worker's client, and the courier."""
    inboxes: list[Callable[[list[Entry]], None]] = []
    courier = Courier(storages, inboxes, clock, Incarnations(clock, entropy))
    count = len(storages)
    stations = [
        Station(SendingStorage(storage, number, courier), clock, entropy, Shard(number=number, count=count))
        for number, storage in enumerate(storages)
    ]
    inboxes += [station.inbox.put for station in stations]
    return stations, ShardedGateway([station.gateway for station in stations], storages), courier
