"""From what a worker has counted to what it tells. Loaded when somebody asks."""

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
