"""What a worker has for each database that it works on: an engine, its activities, a heartbeat."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from perdure._client.requests import Call, ThreadInbox
from perdure._core.stage import own_thread
from perdure._ports import Clock, Entropy, Incarnations
from perdure._runtime.activities import Activities
from perdure._runtime.assembly import make_engine
from perdure._runtime.gateway import EngineGateway
from perdure._runtime.hands import ActivityHands
from perdure._runtime.heartbeat import Heartbeat
from perdure._runtime.transactional import InTransaction
from perdure._runtime.watchdog import LoopWatch, TurnWatch

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from perdure._context import ActivityServices
    from perdure._registry import Registry
    from perdure._runtime.hands import Settings
    from perdure._runtime.inbox import Entry
    from perdure._runtime.retention import Retention
    from perdure._work import Shard
    from perdure.storage.base import Wakes


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
            put=self.gateway.bridge.bring,
            services=services,
            in_transaction=InTransaction(storage, lambda: self.engine.worker) if hasattr(storage, "loan") else None,
        )
        turns = self._turns = TurnWatch(clock, turn_limit_us)

        self.engine = make_engine(
            storage=storage,
            registry=registry,
            clock=clock,
            entropy=entropy,
            inbox=self.inbox,
            hands=ActivityHands(self.activities, self.gateway.bridge.post, self.gateway.flush),
            settings=settings,
            turns=turns,
            cached_max=cached_max,
            retention=retention,
            shard=self._shard,
        )

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Work, now that the engine has registered."""
        storage, inbox = self.storage, self.inbox
        if hasattr(storage, "wake_by"):
            # Where others can say that they have left something, nobody has to look for it all the time.
            wakes: Wakes = storage
            wakes.wake_by(lambda: inbox.put([Call(self._look)]))
        self.engine.ahead.use(storage)
        self._thread = threading.Thread(target=self._run, name="perdure-engine", daemon=True)
        self._thread.start()
        self._heartbeat = Heartbeat(
            storage=storage,
            clock=self._clock,
            worker=lambda: self.engine.worker,
            turns=self._turns,
            loop=LoopWatch(loop, self._clock),
        )
        self._heartbeat.start()

    def _run(self) -> None:
        with own_thread():
            self.engine.run()

    def drain(self) -> None:
        """Take no more work."""
        self.inbox.put([Call(self._drain)])

    def end(self) -> None:
        """Let the engine leave the store; returns when it has."""
        self._heartbeat.leave()
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
