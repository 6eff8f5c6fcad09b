"""A worker on several databases: a station for each, and a courier between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure._client.shards import ShardedGateway
from perdure._ports import Clock, Entropy, Incarnations
from perdure._runtime.courier import Courier, SendingStorage
from perdure._runtime.station import Station
from perdure._work import Shard

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure._runtime.inbox import Entry


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
