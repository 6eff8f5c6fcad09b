"""A process of a world whose store lies on several databases: a station for each, and a courier between them.

All stations live and die together and share one event loop. What the courier has as threads, one for each outbox, is
here as happenings on the timeline, one duty at a time, and any of them may stand still while the others go on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from perdure._client import Client, EngineClient
from perdure._client.requests import Call
from perdure._client.shards import ShardedGateway
from perdure._ports import Incarnations
from perdure._runtime.courier import Courier, SendingStorage
from perdure.errors import StorageUnavailableError
from perdure.storage.base import LEASE_US
from perdure.testing._clock import SeededEntropy
from perdure.testing.simulation.gateway import TaskGateway
from perdure.testing.simulation.host import GRACE_US, Host
from perdure.testing.simulation.port import Dead, StorePort

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure import _work as work
    from perdure._runtime.courier import Desk
    from perdure.testing.simulation.loop import ProcessLoop
    from perdure.testing.simulation.sharding import ShardedWorld


class ShardPort(StorePort):
    """A shard as one simulated process sees it; it may be away."""

    def parcels(self, shard: int | None, limit: int, /, *which: Any, **options: Any) -> Any:
        """What is in the outbox; who has read it may stand still before anything comes of it."""
        found = self._call("parcels", lambda: self._store.parcels(shard, limit, *which, **options))
        station: Any = self._host
        if found:
            station.crew.has_read(station)
        return found

    def lowest_parcel(self) -> int:
        """The lowest number in the outbox."""
        return int(self._call("lowest_parcel", self._store.lowest_parcel))

    def _call(self, operation: str, apply: Callable[[], Any]) -> Any:
        view: Any = self._world
        if self._host.alive and view.timeline.now < view.away_until:
            view.timeline.now += 40
            raise StorageUnavailableError("simulated: the shard is away")
        return super()._call(operation, apply)


class Station(Host):
    """What a process has for one shard. `world` is the world as that shard has it."""

    PORT = ShardPort

    def __init__(self, crew: Crew, world: Any, name: str, kit: str, serves: work.Serves) -> None:
        self.crew = crew
        self.shard: work.Shard = world.shard
        super().__init__(world, name, kit, serves)

    def _sending(self, port: StorePort) -> Any:
        # The courier itself is made when all stations are there.
        courier: Any = self.crew
        return SendingStorage(port, self.shard.number, courier)

    def _make_loop(self) -> ProcessLoop:
        return self.crew.stations[0].loop if self.crew.stations else super()._make_loop()

    def client_for_tasks(self) -> Client:
        """A client of all shards."""
        stations = self.crew.stations
        gateways = [TaskGateway(station, station.gateway) for station in stations]
        return _client(gateways, [station.port for station in stations])

    def is_one_with(self, other: Any) -> bool:
        """Whether it is the same process."""
        return self.crew is other.crew

    # -- life ------------------------------------------------------------------------------------------------------

    def kill(self) -> None:
        """The whole process ends."""
        for station in self.crew.stations:
            Host.kill(station)

    def pause(self) -> None:
        """The whole process stands still."""
        super().pause()
        for station in self.crew.stations:
            station.paused_until = max(station.paused_until, self.paused_until)

    def leave(self) -> None:
        """The whole process shuts down."""
        if self.alive and all(each.has_booted and not each.engine.leaving for each in self.crew.stations):
            self.world.note(self.name, "shuts down")
            for station in self.crew.stations:
                station.inbox.put([Call(station.drain)])
            self.loop.call(lambda: self.loop.create_task(self.crew.stop()))

    def _hang_up(self) -> None:
        # What one has asked of another may still be done and answered after it has left.
        if not any(station.alive for station in self.crew.stations):
            for station in self.crew.stations:
                station.gateway.die()

    def _clear_up(self) -> None:
        self.engine.orchestrations.drop_all()
        self.port.close()
        if not any(station.alive for station in self.crew.stations):
            self.loop.die()


def _client(gateways: list[Any], ports: list[Any]) -> Client:
    gateway: Any = ShardedGateway(gateways, ports)
    return EngineClient(gateway)


class Crew:
    """A process on all shards."""

    def __init__(self, world: ShardedWorld, name: str, kit: str, serves: work.Serves) -> None:
        self.world = world
        self.stations: list[Station] = []
        for shard in world.shards:
            self.stations.append(Station(self, shard, f"{name}.{shard.shard.number}", kit, serves))
        self._lines: list[_Line] = []
        stations = self.stations
        ports = [station.port for station in stations]
        clock = stations[0].clock
        incarnations = Incarnations(clock, SeededEntropy(world.dice.below(1 << 60)))
        self._courier = Courier(ports, [station.inbox.put for station in stations], clock, incarnations, self._line)
        self.sent, self.look = self._courier.sent, self._courier.look
        client = _client([station.gateway for station in stations], ports)
        for station in stations:
            station.client = client
            station.services.client = station.client_for_tasks()

    def _line(self) -> _Line:
        line = _Line(self)
        self._lines.append(line)
        return line

    @property
    def alive(self) -> bool:
        """Whether it has not died, and not begun to leave the stores."""
        return all(station.alive for station in self.stations)

    @property
    def paused_until(self) -> int:
        """When it goes on."""
        return self.stations[0].paused_until

    def boot(self) -> None:
        """Enter all stores, then work; a process that can't dies."""
        if all(station.enter() for station in self.stations):
            for station in self.stations:
                station.begin()
            for line, desk in zip(self._lines, self._courier.desks, strict=True):
                line.start(desk)

    async def stop(self) -> None:
        """Shut down in order."""
        await asyncio.gather(*(station.activities.close(GRACE_US) for station in self.stations))
        for station in self.stations:
            station.gateway.close()
        for line in self._lines:
            line.stop()
        for station in self.stations:
            station.inbox.put([Call(station.engine.leave)])

    def has_read(self, station: Station) -> None:
        """A courier knows what is in an outbox."""
        if self.world.faults.of_reading():
            self.world.note(station.name, "courier stands still")
            station.wait(1 + self.world.dice.below(3 * LEASE_US), until=lambda: False)

    def stand_still(self) -> None:
        """Let one of the couriers do nothing for a while, which may be longer than a lease."""
        line = self.world.dice.pick(self._lines)
        us = 1 + self.world.dice.below(self.world.dice.pick((1_000_000, 2 * LEASE_US)))
        line.rests_until = max(line.rests_until, self.world.timeline.now + us)


class _Line:
    """The queue of a courier's duties, and what is its thread elsewhere."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._duties: deque[Callable[[], None] | None] = deque()
        self._desk: Desk | None = None
        self._is_awake = False
        self._takes = 0
        self.rests_until = 0

    def put(self, duty: Callable[[], None] | None) -> None:
        self._duties.append(duty)
        self._wake()

    def get(self) -> Callable[[], None] | None:
        self._takes -= 1
        return self._duties.popleft()

    def empty(self) -> bool:
        return not self._takes or not self._duties

    def start(self, desk: Desk) -> None:
        self._desk = desk
        self._wake()

    def stop(self) -> None:
        self._desk = None

    def _wake(self) -> None:
        if self._duties and self._desk is not None and not self._is_awake:
            self._is_awake = True
            world = self._crew.world
            world.timeline.after(1 + world.dice.below(200), self._round)

    def _round(self, _: Any) -> None:
        """Do one duty, if nothing stands still."""
        crew, desk = self._crew, self._desk
        timeline = crew.world.timeline
        if desk is None or not crew.alive:
            return
        until = max(crew.paused_until, self.rests_until)
        if timeline.now < until:
            timeline.at(until, self._round)
            return
        self._takes = 1
        # In the middle of it the world may go on, and this stays awake.
        with suppress(Dead):
            desk.run_once()
        self._is_awake = False
        self._wake()
