"""How an engine is put together: for a worker, and for what stands in for one, as a test or a simulated process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure._ports import Clock, Entropy, Incarnations
from perdure._runtime.dispatcher import Engine
from perdure._runtime.orchestrations import Orchestrations
from perdure._runtime.retention import Retention, Retirement

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure._client.requests import Inbox
    from perdure._registry import Registry
    from perdure._runtime.hands import Hands, Settings
    from perdure._runtime.inbox import Entry
    from perdure._runtime.watchdog import TurnWatch
    from perdure._work import Shard


def make_engine(
    *,
    storage: Any,
    registry: Registry,
    clock: Clock,
    entropy: Entropy,
    inbox: Inbox[Entry],
    hands: Hands,
    settings: Settings,
    turns: TurnWatch,
    cached_max: int,
    incarnations: Incarnations | None = None,
    retention: Retention | None = None,
    shard: Shard | None = None,
    taking: Callable[[Callable[[str], bool]], Callable[[str], bool]] | None = None,
) -> Engine:
    """An engine with its orchestrations, of which nothing runs yet.

    Args:
        storage: The store.
        registry: What it can run.
        clock: Its clock.
        entropy: Its randomness.
        inbox: What it is told by.
        hands: What runs its activities.
        settings: Its bounds.
        turns: What looks after the time that a turn takes.
        cached_max: How many orchestrations it keeps in memory.
        incarnations: Where those of children are drawn; default: by itself.
        retention: What it removes from the store.
        shard: Which of several databases the store is.
        taking: Stands between an orchestration that asks for an activity and the slots.
    """

    def make_orchestrations(take_slot: Callable[[str], bool]) -> Orchestrations:
        return Orchestrations(
            storage=storage,
            registry=registry,
            clock=clock,
            entropy=entropy,
            incarnations=incarnations or Incarnations(clock, entropy),
            cached_max=cached_max,
            watch=turns,
            take_slot=take_slot if taking is None else taking(take_slot),
            shard=shard,
        )

    return Engine(
        storage=storage,
        registry=registry,
        clock=clock,
        entropy=entropy,
        inbox=inbox,
        hands=hands,
        settings=settings,
        make_orchestrations=make_orchestrations,
        retirement=None if retention is None else Retirement(storage, clock, retention),
    )
