"""From what a worker has counted to what it tells. Loaded when somebody asks."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime
from typing import Any

from perdure._runtime.activities import Activities
from perdure._runtime.dispatcher import Engine
from perdure._runtime.tallies import ActivityTally, OrchestrationTally
from perdure._types import Status, from_us
from perdure.observability.counting import InstrumentedStorage
from perdure.observability.metrics import (
    ActivityMetrics,
    Distribution,
    Metrics,
    OrchestrationMetrics,
    StorageMetrics,
)

_PER_S = 1_000_000


def metrics_of(since_us: int, engine: Engine, activities: Activities, storage: InstrumentedStorage) -> Metrics:
    """What a worker has done, and what it has in hand."""
    tally, orchestrations = engine.tally, engine.orchestrations
    log_bytes = getattr(storage, "log_bytes", None)
    return Metrics(
        since=from_us(since_us),
        # A copy of a dict is made in one piece; meanwhile the engine goes on.
        orchestrations=[_orchestration(*key, each) for key, each in tally.orchestrations.copy().items()],
        activities=[_activity(name, each) for name, each in activities.tallies.copy().items()],
        storage=[
            StorageMetrics(call=name, errors=each.errors.copy(), seconds=_seconds(each.us.buckets, each.us.total))
            for name, each in storage.tallies.items()
            if any(each.us.buckets)
        ],
        turns=tally.turns,
        children=tally.children,
        replays=orchestrations.loader.replays,
        items=_distribution(tally.items.buckets, tally.items.total, 1),
        poisoned=engine.suspects.poisoned,
        without_code=tally.without_code,
        lost_outcomes=tally.lost,
        lost_places=tally.places_lost,
        takeovers=tally.takeovers,
        cached_instances=len(orchestrations),
        activities_running=activities.slots_taken,
        activities_waiting=activities.slots_wanted,
        log_bytes=None if log_bytes is None else log_bytes(),
    )


def merged(parts: Sequence[Metrics]) -> Metrics:
    """What a worker has done on each of its databases, as one."""
    whole = parts[0]
    for part in parts[1:]:
        whole = _sum(whole, part)
    return whole


def _sum(left: Any, right: Any) -> Any:
    """Two values of one field: numbers are added, records of the same thing become one."""
    if isinstance(left, Distribution):
        buckets = _sum(dict(left.buckets), dict(right.buckets))
        return Distribution(left.count + right.count, left.total + right.total, sorted(buckets.items()))
    if isinstance(left, Metrics | OrchestrationMetrics | ActivityMetrics | StorageMetrics):
        names = [each.name for each in fields(left)]
        return replace(left, **{name: _sum(getattr(left, name), getattr(right, name)) for name in names})
    if isinstance(left, Mapping):
        return {key: left.get(key, 0) + right.get(key, 0) for key in {**left, **right}}
    if isinstance(left, list):
        found = {_name_of(each): each for each in left}
        for each in right:
            name = _name_of(each)
            found[name] = _sum(found[name], each) if name in found else each
        return list(found.values())
    if left is None or right is None:
        return right if left is None else left
    if isinstance(left, datetime):
        return min(left, right)
    return left if isinstance(left, str) else left + right


def _name_of(record: Any) -> tuple[str, ...]:
    return tuple(getattr(record, name) for name in ("name", "version", "call") if hasattr(record, name))


def _distribution(buckets: list[int], total: int, unit: int) -> Distribution:
    found = buckets.copy()
    return Distribution(
        count=sum(found),
        total=total / unit,
        buckets=[((1 << digits) / unit, number) for digits, number in enumerate(found) if number],
    )


def _seconds(buckets: list[int], total_us: int) -> Distribution:
    return _distribution(buckets, total_us, _PER_S)


def _orchestration(name: str, version: str | None, tally: OrchestrationTally) -> OrchestrationMetrics:
    ended, held = tally.ended, tally.held.copy()
    return OrchestrationMetrics(
        name=name,
        version=version or "",
        started=tally.started,
        completed=ended[Status.COMPLETED],
        failed=ended[Status.FAILED],
        cancelled=ended[Status.CANCELLED],
        terminated=ended[Status.TERMINATED],
        continued_as_new=tally.continued,
        held=sum(held.values()),
        errors=tally.errors.copy(),
        held_by=held,
        seconds=_seconds(tally.us.buckets, tally.us.total),
    )


def _activity(name: str, tally: ActivityTally) -> ActivityMetrics:
    return ActivityMetrics(
        name=name,
        completed=tally.completed,
        failed=tally.failed,
        timed_out=tally.timed_out,
        retried=tally.retried,
        polled=tally.polled,
        cancelled=tally.cancelled,
        held=tally.held,
        returned=tally.returned,
        lost=tally.lost,
        errors=tally.errors.copy(),
        seconds=_seconds(tally.buckets, tally.total_us),
    )
