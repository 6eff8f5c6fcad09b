"""What a worker has for each database that it works on: an engine, its activities, a heartbeat."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from perdure._client.requests import Call, ThreadInbox
from perdure._ports import Clock, Entropy, Incarnations
from perdure._runtime.activities import Activities
from perdure._runtime.dispatcher import Engine
from perdure._runtime.gateway import EngineGateway
from perdure._runtime.heartbeat import Heartbeat
from perdure._runtime.orchestrations import Orchestrations
from perdure._runtime.retention import Retention, Retirement
from perdure._runtime.transactional import InTransaction
from perdure._runtime.watchdog import LoopWatch, TurnWatch

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from perdure._context import ActivityServices
    from perdure._registry import Registry
    from perdure._runtime.attempts import TaskKey
    from perdure._runtime.hands import Settings
    from perdure._runtime.inbox import Entry
    from perdure._work import ClaimedTask, Shard


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


class Station:
    """One database of a worker.

    Args:
        storage: The database.
        clock: The worker's clock.
        entropy: Its randomness.
        shard: Which of several databases it is, if there are several.
    """

    def __init__(self, storage: Any, clock: Clock, entropy: Entropy, shard: Shard | None = None) -> None:
        self.storage = storage
        self._clock = clock
        self._entropy = entropy
        self._shard = shard
        self.inbox: ThreadInbox[Entry] = ThreadInbox()
        self.gateway = EngineGateway(self.inbox, storage, Incarnations(clock, entropy))

    def furnish(
        self,
        *,
        registry: Registry,
        settings: Settings,
        services: Callable[[str], ActivityServices],
        threads: int,
        cached_max: int,
        turn_limit_us: int | None,
        retention: Retention | None,
    ) -> None:
        """Make everything, and let nothing run yet."""
        storage, clock, entropy = self.storage, self._clock, self._entropy
        self.activities = Activities(
            registry=registry,
            clock=clock,
            entropy=entropy,
            slots=settings.slots,
            threads=threads,
            put=self.inbox.put,
            services=services,
            in_transaction=InTransaction(storage, lambda: self.engine.worker) if hasattr(storage, "loan") else None,
        )
        turns = self._turns = TurnWatch(clock, turn_limit_us)

        def make_orchestrations(take_slot: Callable[[str], bool]) -> Orchestrations:
            return Orchestrations(
                storage=storage,
                registry=registry,
                clock=clock,
                entropy=entropy,
                incarnations=Incarnations(clock, entropy),
                cached_max=cached_max,
                watch=turns,
                take_slot=take_slot,
                shard=self._shard,
            )

        self.engine = Engine(
            storage=storage,
            registry=registry,
            clock=clock,
            entropy=entropy,
            inbox=self.inbox,
            hands=_LoopHands(self.gateway, self.activities),
            settings=settings,
            make_orchestrations=make_orchestrations,
            retirement=None if retention is None else Retirement(storage, clock, retention),
        )

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Work, now that the engine has registered."""
        storage, inbox = self.storage, self.inbox
        if hasattr(storage, "wake_by"):
            # Where others can say that they have left something, nobody has to look for it all the time.
            storage.wake_by(lambda: inbox.put([Call(self._look)]))
        self._thread = threading.Thread(target=self.engine.run, name="perdure-engine", daemon=True)
        self._thread.start()
        self._heartbeat = Heartbeat(
            storage=storage,
            clock=self._clock,
            worker=lambda: self.engine.worker,
            turns=self._turns,
            loop=LoopWatch(loop, self._clock),
        )
        self._heartbeat.start()

    def drain(self) -> None:
        """Take no more work."""
        self.inbox.put([Call(self._drain)])

    def end(self) -> None:
        """Let the engine leave the store; returns when it has."""
        self.inbox.put([Call(self.engine.leave)])
        self._thread.join()
        self._heartbeat.stop()

    def close(self) -> None:
        """Close the store."""
        # Once more, for a shutdown that was cut short while it waited for these.
        self._thread.join()
        self._heartbeat.stop()
        self.gateway.end_readers()
        self.storage.close()

    def _drain(self) -> None:
        self.engine.draining = True

    def _look(self) -> None:
        self.engine.next_look = 0
