"""What a worker has done, as it tells it: records of plain numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Distribution:
    """How often something happened and how much it was: seconds or items, as the field says that has it.

    `buckets` are pairs: an upper bound, and how many were below it and not below the one before. Each bound is twice
    the one before; those that nothing reached are left out.
    """

    count: int
    total: float
    buckets: Sequence[tuple[float, int]]

    @property
    def mean(self) -> float | None:
        """The average; None when there was nothing."""
        return self.total / self.count if self.count else None

    def quantile(self, fraction: float, /) -> float | None:
        """A bound below which this fraction was, at most twice as large as need be; None when there was nothing.

        Example:
            slowest = runtime.metrics().activities[0].seconds.quantile(0.99)
        """
        wanted, seen = fraction * self.count, 0
        for bound, number in self.buckets:
            seen += number
            if seen >= wanted:
                return bound
        return None


@dataclass(frozen=True, slots=True)
class OrchestrationMetrics:
    """What a worker has done for one version of an orchestration.

    Attributes:
        name: The orchestration.
        version: Its version; empty for what ended before it had one.
        started: Instances whose first turn this worker has committed.
        completed: Instances that returned.
        failed: Instances that raised.
        cancelled: Instances that ended by a cancellation.
        terminated: Instances that were terminated.
        continued_as_new: Executions that went on as the next.
        held: How often an instance was held because of its turn.
        errors: What failed ones raised, by class.
        held_by: Why instances were held, by class.
        seconds: From the start that was asked for to the end, of instances that ended.
    """

    name: str
    version: str
    started: int
    completed: int
    failed: int
    cancelled: int
    terminated: int
    continued_as_new: int
    held: int
    errors: Mapping[str, int]
    held_by: Mapping[str, int]
    seconds: Distribution


@dataclass(frozen=True, slots=True)
class ActivityMetrics:
    """What a worker has done for one activity: its attempts, each of which is counted once, by how it ended.

    Attributes:
        name: The activity.
        completed: Brought a result.
        failed: Failed for good.
        timed_out: Ended for good by a time limit.
        retried: Failed, and there is another attempt.
        polled: Had no answer yet, and is asked again.
        cancelled: Were not wanted any more.
        held: Were set aside: nobody knows whether they have happened.
        returned: Went back to the store as they were, at a shutdown or where the activity could not begin.
        lost: Of a transactional activity that was another worker's by then, and rolled back.
        errors: What attempts failed with, by class.
        seconds: How long attempts took.
    """

    name: str
    completed: int
    failed: int
    timed_out: int
    retried: int
    polled: int
    cancelled: int
    held: int
    returned: int
    lost: int
    errors: Mapping[str, int]
    seconds: Distribution


@dataclass(frozen=True, slots=True)
class StorageMetrics:
    """The calls that a worker and its client made of one method of the store; `errors` are those that raised."""

    call: str
    errors: Mapping[str, int]
    seconds: Distribution


@dataclass(frozen=True, slots=True)
class Metrics:
    """What a worker has done since it was opened, and what it has in hand.

    The numbers are this process's own and begin at zero with every start; what waits in the store for all workers
    together is told by `client.get_queues()` and `client.count_instances()`.

    Attributes:
        since: When it was opened.
        orchestrations: By name and version.
        activities: By name.
        storage: By call; those that were made.
        turns: Turns that were committed.
        children: Sub-orchestrations and detached orchestrations that were asked for.
        replays: Executions that were rebuilt from their history.
        items: Commits that carried anything, by the number of items: turns, outcomes, requests.
        poisoned: Instances and activities that were held because workers died with them.
        without_code: Instances that were held because no worker has their code.
        lost_outcomes: Outcomes of activities that came too late: another worker had taken them over.
        lost_places: How often this worker lost its place in the store and started over.
        takeovers: Workers that were found dead, and whose work was freed.
        cached_instances: Instances in memory now.
        activities_running: Activities that run now.
        activities_waiting: Activities that this worker has and that wait for a free slot now.
        log_bytes: How long the file of SQLite's write-ahead log is now; None for other stores.
    """

    since: datetime
    orchestrations: Sequence[OrchestrationMetrics]
    activities: Sequence[ActivityMetrics]
    storage: Sequence[StorageMetrics]
    turns: int
    children: int
    replays: int
    items: Distribution
    poisoned: int
    without_code: int
    lost_outcomes: int
    lost_places: int
    takeovers: int
    cached_instances: int
    activities_running: int
    activities_waiting: int
    log_bytes: int | None
