"""What a workload asks of a PostgreSQL server: round trips, rows written, bytes of its log."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.measure import Metrics
from benchmarks.side import Job, Report

_WRITTEN = """
    SELECT COALESCE(SUM(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint, pg_current_wal_lsn() - '0/0'
    FROM pg_stat_user_tables WHERE schemaname = 'perdure'
"""


@dataclass(slots=True)
class _Trips:
    count: int = 0


def counted(workload: Callable[[Job], Report], steps_each: int) -> Callable[[Job], Report]:
    """Add what each activity step has cost to the report of a workload of `steps_each` activities; on SQLite nothing.

    A backend reports its rows when it ends, so they are read when the workload has closed its runtime. What opening and
    closing a runtime costs is counted with the steps.
    """

    def run(job: Job) -> Report:
        if job.backend != "postgresql":
            return workload(job)
        steps = job.size * steps_each
        rows_before, log_before = _written(job.url)
        with _counted_trips() as trips:
            report = workload(job)
        rows, log = _written(job.url)
        costs: Metrics = {
            "trips_per_step": round(trips.count / steps, 4),
            "rows_per_step": round((rows - rows_before) / steps, 3),
            "log_bytes_per_step": round((log - log_before) / steps),
        }
        return Report({**report.metrics, **costs}, report.settings, report.notes)

    return run


def _written(url: str) -> tuple[int, int]:
    import psycopg  # noqa: PLC0415 - only where the store is PostgreSQL

    with psycopg.connect(url) as connection:
        [(rows, log)] = connection.execute(_WRITTEN).fetchall()
    return int(rows), int(log)


@contextmanager
def _counted_trips() -> Iterator[_Trips]:
    """Count what every connection of this process sends and waits for."""
    from perdure.storage.postgres.wire import Wire  # noqa: PLC0415 - only where the store is PostgreSQL

    trips, results = _Trips(), Wire.results

    def counting(wire: Wire, *args: Any, **options: Any) -> Any:
        trips.count += 1
        return results(wire, *args, **options)

    # Every trip of a connection is one call of it.
    setattr(Wire, "results", counting)  # noqa: B010 - a type checker would have it typed as the method is
    try:
        yield trips
    finally:
        setattr(Wire, "results", results)  # noqa: B010 - as above
