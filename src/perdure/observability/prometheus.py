"""Export to Prometheus: collectors for a registry of `prometheus_client`. Needs the extra `perdure[prometheus]`.

Both read what is there when they are asked, so between two scrapes they cost nothing.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from perdure.errors import UsageError

try:
    from prometheus_client import CollectorRegistry, start_http_server
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
    from prometheus_client.registry import Collector
except ImportError:
    raise UsageError(
        "the export to Prometheus needs prometheus_client, which is not installed: pip install 'perdure[prometheus]'"
    ) from None

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import timedelta

    from prometheus_client import Metric

    from perdure._client.figures import InstanceCount, QueueDepths
    from perdure.observability.metrics import ActivityMetrics, Distribution, Metrics, OrchestrationMetrics

__all__ = ["StoreCollector", "WorkerCollector"]

_SECONDS_BOUNDS = [(1 << digits) / 1_000_000 for digits in range(8, 35, 2)]
"""From a quarter of a millisecond to nearly five hours, each four times the one before."""
_ITEMS_BOUNDS = [float(1 << digits) for digits in range(1, 12)]
_ENDS = ("completed", "failed", "cancelled", "terminated")
_ATTEMPTS = ("completed", "failed", "timed_out", "retried", "polled", "cancelled", "held", "returned", "lost")


class Measured(Protocol):
    """What has metrics: a `Runtime`."""

    def metrics(self) -> Metrics:
        """What it has done."""
        ...


class Asked(Protocol):
    """What tells of a store: a `SyncClient`."""

    def get_queues(self) -> QueueDepths:
        """What waits there."""
        ...

    def count_instances(self) -> list[InstanceCount]:
        """What is there."""
        ...


class WorkerCollector(Collector):
    """What one worker has done and has in hand; one for each process that works.

    Args:
        runtime: The worker. It may be opened later.

    Example:
        REGISTRY.register(WorkerCollector(runtime))
        start_http_server(9000)
    """

    def __init__(self, runtime: Measured, /) -> None:
        self._runtime = runtime

    def describe(self) -> Iterable[Metric]:
        """Nothing: what there is to tell is known when the runtime is open."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Everything, as it is now."""
        try:
            metrics = self._runtime.metrics()
        except UsageError:
            return
        yield from _of_orchestrations(metrics.orchestrations)
        yield from _of_activities(metrics.activities)
        yield from _of_storage(metrics)
        counts = {
            "turns": ("Turns committed.", metrics.turns),
            "replays": ("Executions rebuilt from their history.", metrics.replays),
            "children": ("Sub-orchestrations and detached orchestrations asked for.", metrics.children),
            "poisoned": ("Instances and activities held because workers died with them.", metrics.poisoned),
            "without_code": ("Instances held because no worker has their code.", metrics.without_code),
            "lost_outcomes": ("Outcomes of activities that another worker had taken over.", metrics.lost_outcomes),
            "lost_places": ("How often this worker lost its place in the store.", metrics.lost_places),
            "takeovers": ("Dead workers whose work this worker freed.", metrics.takeovers),
        }
        for name, (what, value) in counts.items():
            yield CounterMetricFamily(f"perdure_{name}", what, value=value)
        gauges = {
            "cached_instances": ("Instances in the memory of this worker.", metrics.cached_instances),
            "activities_running": ("Activities that run on this worker.", metrics.activities_running),
            "activities_waiting": ("Activities that wait for a slot of this worker.", metrics.activities_waiting),
        }
        if metrics.log_bytes is not None:
            gauges["log_bytes"] = ("The length of the file of the write-ahead log.", metrics.log_bytes)
        for name, (what, value) in gauges.items():
            yield GaugeMetricFamily(f"perdure_{name}", what, value=value)


class StoreCollector(Collector):
    """What is in a store and waits there, for all workers together; one for each store.

    Every scrape reads all that waits and counts all instances.

    Args:
        client: A client of the store that blocks.

    Example:
        with SyncClient("sqlite:///shop.db") as client:
            REGISTRY.register(StoreCollector(client))
    """

    def __init__(self, client: Asked, /) -> None:
        self._client = client

    def describe(self) -> Iterable[Metric]:
        """Nothing, so that registering reads nothing."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Everything, as it is now."""
        instances = GaugeMetricFamily(
            "perdure_instances", "Instances in the store.", labels=["orchestration", "status"]
        )
        for count in self._client.count_instances():
            instances.add_metric([count.name, count.status.value], count.count)
        yield instances
        queues = self._client.get_queues()
        gauges = {
            "ready_instances": ("Instances with something due that no worker has taken.", queues.ready_instances),
            "ready_age_seconds": ("How long the first of those has waited.", _seconds(queues.ready_age)),
            "messages": ("Messages that wait, due or not.", queues.messages),
            "timers": ("Timers that run.", queues.timers),
            "held_instances": ("Instances that are held.", queues.held_instances),
            "held_age_seconds": ("How long the first of those has been held.", _seconds(queues.held_age)),
            "undelivered": ("What is on its way to other shards.", queues.undelivered),
            "undelivered_age_seconds": ("How long the first of that has been.", _seconds(queues.undelivered_age)),
        }
        for name, (what, value) in gauges.items():
            yield GaugeMetricFamily(f"perdure_store_{name}", what, value=value)
        labels = ["activity", "tag"]
        depth = GaugeMetricFamily("perdure_store_activities", "Activities in the store.", labels=[*labels, "state"])
        age = GaugeMetricFamily(
            "perdure_store_activity_age_seconds",
            "How long the first that waits for a worker has waited.",
            labels=labels,
        )
        for queue in queues.activities:
            row = [queue.name, queue.tag or ""]
            for state in ("waiting", "delayed", "running"):
                depth.add_metric([*row, state], getattr(queue, state))
            age.add_metric(row, _seconds(queue.oldest_age))
        yield from (depth, age)


@contextmanager
def served(collector: Collector, host: str, port: int) -> Iterator[str]:
    """Serve what a collector tells, and nothing else, while the block runs; the URL, with the port that 0 has become.

    Raises:
        OSError: The port is taken, or not to be had.
    """
    registry = CollectorRegistry()
    registry.register(collector)
    server, thread = start_http_server(port, addr=host, registry=registry)
    try:
        yield f"http://{host}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _seconds(age: timedelta | None) -> float:
    return 0.0 if age is None else age.total_seconds()


def _of_orchestrations(rows: Sequence[OrchestrationMetrics]) -> Iterator[Metric]:
    labels = ["orchestration", "version"]
    starts = CounterMetricFamily("perdure_orchestration_starts", "Instances begun.", labels=labels)
    ends = CounterMetricFamily("perdure_orchestration_ends", "Instances ended.", labels=[*labels, "status"])
    nexts = CounterMetricFamily(
        "perdure_orchestration_continue_as_new", "Executions that went on as the next.", labels=labels
    )
    errors = CounterMetricFamily("perdure_orchestration_errors", "What failed ones raised.", labels=[*labels, "error"])
    holds = CounterMetricFamily("perdure_orchestration_holds", "Why instances were held.", labels=[*labels, "error"])
    seconds = HistogramMetricFamily(
        "perdure_orchestration_duration_seconds", "From the start that was asked for to the end.", labels=labels
    )
    for row in rows:
        key = [row.name, row.version]
        starts.add_metric(key, row.started)
        nexts.add_metric(key, row.continued_as_new)
        for status in _ENDS:
            ends.add_metric([*key, status], getattr(row, status))
        _add(errors, key, row.errors)
        _add(holds, key, row.held_by)
        _observe(seconds, key, row.seconds, _SECONDS_BOUNDS)
    yield from (starts, ends, nexts, errors, holds, seconds)


def _of_activities(rows: Sequence[ActivityMetrics]) -> Iterator[Metric]:
    attempts = CounterMetricFamily(
        "perdure_activity_attempts", "Attempts of activities, by how they ended.", labels=["activity", "outcome"]
    )
    errors = CounterMetricFamily("perdure_activity_errors", "What attempts failed with.", labels=["activity", "error"])
    seconds = HistogramMetricFamily("perdure_activity_duration_seconds", "How long attempts took.", labels=["activity"])
    for row in rows:
        for outcome in _ATTEMPTS:
            attempts.add_metric([row.name, outcome], getattr(row, outcome))
        _add(errors, [row.name], row.errors)
        _observe(seconds, [row.name], row.seconds, _SECONDS_BOUNDS)
    yield from (attempts, errors, seconds)


def _of_storage(metrics: Metrics) -> Iterator[Metric]:
    seconds = HistogramMetricFamily("perdure_storage_call_duration_seconds", "Calls of the store.", labels=["call"])
    errors = CounterMetricFamily("perdure_storage_errors", "Calls of the store that raised.", labels=["call", "error"])
    for row in metrics.storage:
        _observe(seconds, [row.call], row.seconds, _SECONDS_BOUNDS)
        _add(errors, [row.call], row.errors)
    items = HistogramMetricFamily("perdure_commit_items", "Commits, by what they carried.", labels=[])
    _observe(items, [], metrics.items, _ITEMS_BOUNDS)
    yield from (seconds, errors, items)


def _add(family: CounterMetricFamily, key: Sequence[str], classes: Mapping[str, int]) -> None:
    for name, number in classes.items():
        family.add_metric([*key, name], number)


def _observe(
    family: HistogramMetricFamily, key: Sequence[str], distribution: Distribution, bounds: Sequence[float]
) -> None:
    below = [sum(number for bound, number in distribution.buckets if bound <= limit) for limit in bounds]
    buckets = [(repr(limit), float(number)) for limit, number in zip(bounds, below, strict=True)]
    family.add_metric(key, [*buckets, ("+Inf", float(distribution.count))], distribution.total)
