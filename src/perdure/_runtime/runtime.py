"""The runtime: the composition root of a worker, with a client of its own."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, Literal, Self

from msgspec.structs import replace

from perdure._client import Client, EngineClient
from perdure._ports import Clock, Entropy, SystemClock, SystemEntropy
from perdure._runtime.built_in import with_built_ins
from perdure._runtime.collector import collector
from perdure._runtime.hands import DELIVERIES_MAX, Settings
from perdure._runtime.lifespans import enter_lifespans, guard_orchestrations
from perdure._runtime.retention import Retention, checked_retention
from perdure._runtime.signals import stops_heard
from perdure._runtime.station import Station
from perdure._types import Duration, check_count, check_name, duration_us
from perdure.errors import UsageError
from perdure.observability.counting import InstrumentedStorage
from perdure.storage import open_storages
from perdure.storage.base import SERVES, SUSPECT_DELIVERIES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from perdure._client.tags import Tags
    from perdure._registry import Registry
    from perdure._runtime.activities import Activities
    from perdure._runtime.courier import Courier
    from perdure._work import Serves
    from perdure.observability.metrics import Metrics

_log = logging.getLogger("perdure.runtime")


class Runtime:
    """A worker with a client: takes instances and activities from the store and runs them.

    Args:
        url: `sqlite:///relative.db`, `sqlite:////absolute.db`, a path, `postgresql://user@host/database`, or
            `memory://`. Several, as a list or with commas between them, are the shards of one store, always in the same
            order; `max_activities`, `activity_threads` and `max_cached_instances` are then divided among them.
        registry: What this worker can run.
        max_activities: Activities that run at once.
        activity_threads: Threads for plain `def` activities.
        max_cached_instances: Orchestrations kept in memory between turns; others are rebuilt from history when needed.
        grace: How long activities may go on at shutdown, in seconds or as a timedelta.
        durability: "full" syncs every commit to the disk; "normal" may lose the last commits at a power failure.
        turn_limit: How long one turn may take; None for no limit.
        worker_name: Shown in listings; default host and process id.
        max_deliveries: How many workers may die with a turn of an instance, or with an activity, before it is held; 4
            or more.
        tags: Which activities this worker takes, by their tags: see `Tags`. Those without a tag by default.
        max_sessions: How many sessions it has at once; the next waits until one is not in use.
        session_idle: How long it has a session that nothing uses, in seconds or as a timedelta; 2 seconds or more.
        retention: What this worker removes from the store when its time is over: see `Retention`. Nothing by default.

    While it is open, Python searches for garbage less often (`gc.set_threshold`), unless the program has set how often.

    Example:
        async with Runtime("sqlite:///shop.db", Registry(charge, checkout)) as runtime:
            handle = await runtime.client.start_orchestration(checkout, order, instance_id="order-1")
            print(await handle.result())
    """

    def __init__(
        self,
        url: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        registry: Registry,
        /,
        *,
        max_activities: int = 100,
        activity_threads: int = 32,
        max_cached_instances: int = 10_000,
        grace: Duration = 10.0,
        durability: Literal["full", "normal"] = "full",
        turn_limit: Duration | None = 2.0,
        worker_name: str | None = None,
        max_deliveries: int = DELIVERIES_MAX,
        tags: Tags | None = None,
        max_sessions: int = SERVES.sessions,
        session_idle: Duration = SERVES.session_idle_us / 1_000_000,
        retention: Retention | None = None,
    ) -> None:
        if not hasattr(registry, "lifespans"):
            raise UsageError(f"Runtime takes a Registry, not {registry!r}: write Runtime(url, Registry(...))")
        counts: dict[str, Any] = {
            "max_activities": max_activities,
            "activity_threads": activity_threads,
            "max_cached_instances": max_cached_instances,
            "max_deliveries": max_deliveries,
        }
        for name, value in counts.items():
            check_count(name, value)
        if max_deliveries <= SUSPECT_DELIVERIES:
            raise UsageError(
                f"max_deliveries is {max_deliveries}: use {SUSPECT_DELIVERIES + 1} or more, because fewer deaths don't "
                "tell what kills from what only died along"
            )
        if durability not in {"full", "normal"}:
            raise UsageError(f"durability is {durability!r}: use 'full' or 'normal'")
        self._retention = checked_retention(retention)
        self._url = url
        self._registry = registry
        self._settings = Settings(
            slots=max_activities,
            worker_name=check_name("worker_name", worker_name or f"{socket.gethostname()}:{os.getpid()}"),
            deliveries_max=max_deliveries,
            serves=_serves_of(tags, max_sessions, session_idle),
        )
        self._threads = activity_threads
        self._cached_max = max_cached_instances
        self._grace_us = duration_us(grace, "grace")
        self._durability = durability
        self._turn_limit_us = None if turn_limit is None else duration_us(turn_limit, "turn_limit")
        self._clock: Clock = SystemClock()
        self._entropy: Entropy = SystemEntropy()
        self._storage: Any = None
        self._courier: Courier | None = None
        self._measured: tuple[int, list[Station]] | None = None
        self._open = False

    @property
    def client(self) -> Client:
        """The client of this worker.

        Raises:
            UsageError: The runtime is not open.
        """
        if not self._open:
            raise UsageError("the runtime is not open: use it inside `async with Runtime(...) as runtime:`")
        return self._client

    def metrics(self) -> Metrics:
        """What this worker has done since it was opened, and what it has in hand: cheap, and from any thread.

        After the runtime was closed it tells how it was then.

        Example:
            for each in runtime.metrics().activities:
                print(each.name, each.completed, each.failed, each.seconds.quantile(0.99))

        Raises:
            UsageError: The runtime was never open.
        """
        if self._measured is None:
            raise UsageError("the runtime was not open yet, so there is nothing to tell: open it first")
        from perdure._runtime.measured import merged, metrics_of  # noqa: PLC0415 - loaded when somebody asks

        since_us, stations = self._measured
        return merged([metrics_of(since_us, each.engine, each.activities, each.storage) for each in stations])

    async def __aenter__(self) -> Self:
        """Open the store, enter the registry's lifespans, and begin to work.

        Raises:
            StorageError: The store can't be opened; the message says why and who must act.
            UsageError: The runtime is open already.
        """
        if self._open:
            raise UsageError("this runtime is open already: make another one, or use its client")
        loop = asyncio.get_running_loop()
        if hasattr(loop, "__perdure_orchestration_loop__"):
            raise UsageError("a runtime can't be opened inside an orchestration")
        storages: list[Any] = []
        self._exits = AsyncExitStack()
        # First, as the modules that are loaded here are much that is new, and no garbage.
        self._exits.enter_context(collector.spared())
        try:
            # Off the loop: creating a file takes a while, and other programs may hold it.
            made = await loop.run_in_executor(None, self._make_storages)
            storages += [InstrumentedStorage(each, self._clock) for each in made]
            await self._begin(storages, loop)
        except BaseException:
            try:
                await self._exits.aclose()
            finally:
                for storage in storages:
                    storage.close()
            raise
        return self

    def _make_storage(self) -> Any:
        [storage] = open_storages(self._url, clock=self._clock, entropy=self._entropy, durability=self._durability)
        return storage

    def _make_storages(self) -> list[Any]:
        if isinstance(self._url, str | os.PathLike) and "," not in str(self._url):
            return [self._make_storage()]
        return open_storages(self._url, clock=self._clock, entropy=self._entropy, durability=self._durability)

    async def _begin(self, storages: list[Any], loop: asyncio.AbstractEventLoop) -> None:
        count = len(storages)
        if count == 1:
            stations = [Station(storages[0], self._clock, self._entropy)]
            self._gateway: Any = stations[0].gateway
        else:
            from perdure._runtime.fleet import sharded, tell_of_limits  # noqa: PLC0415 - few stores have shards

            tell_of_limits(self._registry, count)
            stations, self._gateway, self._courier = sharded(storages, self._clock, self._entropy)
        self._stations = stations
        for station in stations:
            self._exits.callback(station.gateway.hang_up)
        self._client = EngineClient(self._gateway)
        registry = with_built_ins(self._registry)
        services = await enter_lifespans(registry, self._client, self._exits)
        guard_orchestrations(self._registry, self._exits)
        for station in stations:
            station.furnish(
                registry=registry,
                settings=replace(self._settings, slots=_share(self._settings.slots, count)),
                services=services,
                threads=_share(self._threads, count),
                cached_max=_share(self._cached_max, count),
                turn_limit_us=self._turn_limit_us,
                retention=self._retention,
            )
        self._storage, self._engine = storages[0], stations[0].engine
        await loop.run_in_executor(None, self._register)
        for station in stations:
            station.begin(loop)
        if self._courier is not None:
            self._courier.start()
        self._measured = (self._clock.now_us(), stations)
        self._open = True

    def _register(self) -> None:
        for station in self._stations:
            station.engine.register()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Stop taking work, let activities end within the grace time, hand back the rest, and close the store."""
        await self._close(self._grace_us)

    async def _close(self, grace_us: int) -> None:
        if not self._open:
            return
        self._open = False
        for station in self._stations:
            station.drain()
        loop = asyncio.get_running_loop()
        activities = [station.activities for station in self._stations]
        stopping = loop.create_task(_close_all(activities, grace_us), name="perdure-stop")
        try:
            await asyncio.shield(stopping)
        except asyncio.CancelledError:
            # Whoever cancels has no more patience; what is left to do is short.
            for each in activities:
                each.hurry()
            with suppress(asyncio.CancelledError):
                await stopping
            raise
        finally:
            # From here on nobody may ask what the engine would not answer any more.
            for station in self._stations:
                station.gateway.close()
            try:
                await loop.run_in_executor(None, self._end_engines)
            finally:
                # In the task that entered them: some context managers insist.
                try:
                    await self._exits.aclose()
                finally:
                    await loop.run_in_executor(None, self._close_stores)

    def _end_engines(self) -> None:
        if self._courier is not None:
            self._courier.stop()
        for station in self._stations:
            station.end()

    def _close_stores(self) -> None:
        for station in self._stations:
            station.close()

    async def serve(self) -> None:
        """Work until SIGTERM or SIGINT, then shut down within the grace time; a second signal leaves at once.

        Inside `async with`, or alone: it opens the runtime when it is not open yet, and then no signal can come between
        the two and end the process as a crash does.

        Example:
            asyncio.run(Runtime("sqlite:///shop.db", registry).serve())

        Raises:
            UsageError: Not in the main thread, which alone gets signals.
        """
        loop = asyncio.get_running_loop()
        if threading.current_thread() is not threading.main_thread():
            raise UsageError("serve() waits for signals, which the main thread gets: use `async with runtime:` here")
        asked = asyncio.Event()

        def ask() -> None:
            _log.info(
                "asked to stop: activities may go on for %g s; another signal leaves at once", self._grace_us / 1e6
            )
            asked.set()

        with stops_heard(lambda: loop.call_soon_threadsafe(ask)):
            if not self._open:
                async with self:
                    await asked.wait()
            else:
                await asked.wait()
                await self._close(self._grace_us)


def _serves_of(tags: Tags | None, max_sessions: int, session_idle: Duration) -> Serves:
    if tags is None and (max_sessions, session_idle) == (SERVES.sessions, SERVES.session_idle_us / 1_000_000):
        return SERVES
    from perdure._runtime.serving import serving  # noqa: PLC0415 - few workers say anything of it

    return serving(tags, max_sessions, session_idle)


async def _close_all(activities: list[Activities], grace_us: int) -> None:
    if len(activities) == 1:
        await activities[0].close(grace_us)
    else:
        await asyncio.gather(*(each.close(grace_us) for each in activities))


def _share(whole: int, parts: int) -> int:
    """What each of the shards has of what the worker has."""
    return max(1, whole // parts)
