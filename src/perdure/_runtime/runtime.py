"""The runtime: the composition root of a worker, with a client of its own."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import threading
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, Literal, Self

from perdure._client import Client, EngineClient
from perdure._client.requests import Call, ThreadInbox
from perdure._ports import Clock, Entropy, Incarnations, SystemClock, SystemEntropy
from perdure._runtime.activities import Activities
from perdure._runtime.built_in import with_built_ins
from perdure._runtime.dispatcher import Engine
from perdure._runtime.gateway import EngineGateway
from perdure._runtime.hands import DELIVERIES_MAX, Settings
from perdure._runtime.heartbeat import Heartbeat
from perdure._runtime.lifespans import enter_lifespans, guard_orchestrations
from perdure._runtime.orchestrations import Orchestrations
from perdure._runtime.retention import Retention, Retirement
from perdure._runtime.transactional import InTransaction
from perdure._runtime.watchdog import LoopWatch, TurnWatch
from perdure._types import Duration, duration_us
from perdure.errors import UsageError
from perdure.observability.counting import InstrumentedStorage
from perdure.storage import open_storage
from perdure.storage.base import SERVES, SUSPECT_DELIVERIES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from perdure._client.tags import Tags
    from perdure._registry import Registry
    from perdure._runtime.attempts import TaskKey
    from perdure._runtime.inbox import Entry
    from perdure._work import ClaimedTask, Serves
    from perdure.observability.metrics import Metrics

_log = logging.getLogger("perdure.runtime")


class _LoopHands:
    """Carries the engine's orders to the activities on the user's event loop."""

    def __init__(self, gateway: EngineGateway, activities: Activities) -> None:
        self._bridge = gateway.bridge
        self.flush = gateway.flush
        self._activities = activities

    def start(self, tasks: list[ClaimedTask]) -> None:
        self._bridge.post(self._activities.accept, tasks)

    def cancel(self, keys: list[TaskKey]) -> None:
        self._bridge.post(self._activities.cancel, keys)

    def stop(self, keys: list[TaskKey]) -> None:
        self._bridge.post(self._activities.stop, keys)

    def keep(self, waiting_max: int) -> None:
        self._bridge.post(self._activities.keep, waiting_max)

    def begin(self, begun: dict[TaskKey, int]) -> None:
        self._bridge.post(self._activities.begin, begun)

    def renounce(self, keys: Sequence[TaskKey]) -> None:
        self._bridge.post(self._activities.renounce, keys)

    def lose(self) -> None:
        self._bridge.post(lambda _: self._activities.lose(), None)


class Runtime:
    """A worker with a client: takes instances and activities from the store and runs them.

    Args:
        url: `sqlite:///relative.db`, `sqlite:////absolute.db`, a path, `postgresql://user@host/database`, or
            `memory://`.
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

    Example:
        async with Runtime("sqlite:///shop.db", Registry(charge, checkout)) as runtime:
            handle = await runtime.client.start_orchestration(checkout, order, instance_id="order-1")
            print(await handle.result())
    """

    def __init__(
        self,
        url: str | os.PathLike[str],
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
            if not isinstance(value, int) or value < 1:
                raise UsageError(f"{name} is {value!r}: use a whole number, 1 or more")
        if max_deliveries <= SUSPECT_DELIVERIES:
            raise UsageError(
                f"max_deliveries is {max_deliveries}: use {SUSPECT_DELIVERIES + 1} or more, because fewer deaths don't "
                "tell what kills from what only died along"
            )
        if durability not in {"full", "normal"}:
            raise UsageError(f"durability is {durability!r}: use 'full' or 'normal'")
        if retention is not None and not isinstance(retention, Retention):
            raise UsageError(f"retention is {retention!r}: use Retention(after=..., executions=...)")
        self._retention = retention
        self._url = url
        self._registry = registry
        self._settings = Settings(
            slots=max_activities,
            worker_name=worker_name or f"{socket.gethostname()}:{os.getpid()}",
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
        self._measured: tuple[int, Engine, Activities, InstrumentedStorage] | None = None
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
        from perdure._runtime.measured import metrics_of  # noqa: PLC0415 - loaded when somebody asks

        return metrics_of(*self._measured)

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
        # Off the loop: creating a file takes a while, and other programs may hold it.
        storage = await loop.run_in_executor(None, self._make_storage)
        storage = self._storage = InstrumentedStorage(storage, self._clock)
        self._exits = AsyncExitStack()
        try:
            await self._begin(storage, loop)
        except BaseException:
            try:
                await self._exits.aclose()
            finally:
                storage.close()
            raise
        return self

    def _make_storage(self) -> Any:
        return open_storage(self._url, clock=self._clock, entropy=self._entropy, durability=self._durability)

    async def _begin(self, storage: Any, loop: asyncio.AbstractEventLoop) -> None:
        inbox: ThreadInbox[Entry] = ThreadInbox()
        incarnations = Incarnations(self._clock, self._entropy)
        self._gateway = EngineGateway(inbox, storage, incarnations)
        self._client = EngineClient(self._gateway)
        registry = with_built_ins(self._registry)
        services = await enter_lifespans(registry, self._client, self._exits)
        guard_orchestrations(self._registry, self._exits)
        self._activities = Activities(
            registry=registry,
            clock=self._clock,
            entropy=self._entropy,
            slots=self._settings.slots,
            threads=self._threads,
            put=inbox.put,
            services=services,
            in_transaction=InTransaction(storage, lambda: self._engine.worker) if hasattr(storage, "loan") else None,
        )
        turns = TurnWatch(self._clock, self._turn_limit_us)

        def make_orchestrations(take_slot: Callable[[str], bool]) -> Orchestrations:
            return Orchestrations(
                storage=storage,
                registry=registry,
                clock=self._clock,
                entropy=self._entropy,
                incarnations=Incarnations(self._clock, self._entropy),
                cached_max=self._cached_max,
                watch=turns,
                take_slot=take_slot,
            )

        self._inbox = inbox
        self._engine = Engine(
            storage=storage,
            registry=registry,
            clock=self._clock,
            entropy=self._entropy,
            inbox=inbox,
            hands=_LoopHands(self._gateway, self._activities),
            settings=self._settings,
            make_orchestrations=make_orchestrations,
            retirement=None if self._retention is None else Retirement(storage, self._clock, self._retention),
        )
        await loop.run_in_executor(None, self._engine.register)
        if hasattr(storage, "wake_by"):
            # Where others can say that they have left something, nobody has to look for it all the time.
            storage.wake_by(lambda: inbox.put([Call(self._look)]))
        self._thread = threading.Thread(target=self._engine.run, name="perdure-engine", daemon=True)
        self._thread.start()
        self._heartbeat = Heartbeat(
            storage=storage,
            clock=self._clock,
            worker=lambda: self._engine.worker,
            turns=turns,
            loop=LoopWatch(loop, self._clock),
        )
        self._heartbeat.start()
        self._measured = (self._clock.now_us(), self._engine, self._activities, storage)
        self._open = True

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Stop taking work, let activities end within the grace time, hand back the rest, and close the store."""
        await self._close(self._grace_us)

    async def _close(self, grace_us: int) -> None:
        if not self._open:
            return
        self._open = False
        self._inbox.put([Call(self._drain)])
        loop = asyncio.get_running_loop()
        stopping = loop.create_task(self._activities.close(grace_us), name="perdure-stop")
        try:
            await asyncio.shield(stopping)
        except asyncio.CancelledError:
            # Whoever cancels has no more patience; what is left to do is short.
            self._activities.hurry()
            with suppress(asyncio.CancelledError):
                await stopping
            raise
        finally:
            # From here on nobody may ask what the engine would not answer any more.
            self._gateway.close()
            try:
                await loop.run_in_executor(None, self._end_engine)
            finally:
                # In the task that entered them: some context managers insist.
                try:
                    await self._exits.aclose()
                finally:
                    await loop.run_in_executor(None, self._close_store)

    def _end_engine(self) -> None:
        self._inbox.put([Call(self._engine.leave)])
        self._thread.join()
        self._heartbeat.stop()

    def _close_store(self) -> None:
        # Once more, for a shutdown that was cut short while it waited for these.
        self._thread.join()
        self._heartbeat.stop()
        self._gateway.end_readers()
        self._storage.close()

    def _drain(self) -> None:
        self._engine.draining = True

    def _look(self) -> None:
        self._engine.next_look = 0

    async def serve(self) -> None:
        """Work until SIGTERM or SIGINT, then shut down within the grace time; a second signal leaves at once.

        Inside `async with`, or alone: it opens the runtime when it is not open yet.

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
            if asked.is_set():
                os._exit(1)
            _log.info(
                "asked to stop: activities may go on for %g s; another signal leaves at once", self._grace_us / 1e6
            )
            asked.set()

        signals = (signal.SIGINT, signal.SIGTERM)
        for each in signals:
            loop.add_signal_handler(each, ask)
        try:
            if not self._open:
                async with self:
                    await asked.wait()
            else:
                await asked.wait()
                await self._close(self._grace_us)
        finally:
            for each in signals:
                loop.remove_signal_handler(each)


def _serves_of(tags: Tags | None, max_sessions: int, session_idle: Duration) -> Serves:
    if tags is None and (max_sessions, session_idle) == (SERVES.sessions, SERVES.session_idle_us / 1_000_000):
        return SERVES
    from perdure._runtime.serving import serving  # noqa: PLC0415 - few workers say anything of it

    return serving(tags, max_sessions, session_idle)
