"""Workers as users see them."""

from dataclasses import dataclass
from datetime import datetime

from perdure._client.tags import Tags, tags_of
from perdure._types import OWN_NAMES, from_us
from perdure._work import WorkerRecord


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """A worker, and what its registry has: orchestrations as "name@version", activities by name, also former names.

    What every worker can run is left out. The worker is believed alive until `lease_until`, which its heartbeat moves
    on. `name` is the runtime's `worker_name`, `tags` its `tags`.
    """

    name: str
    host: str
    pid: int
    started_at: datetime
    lease_until: datetime
    orchestrations: tuple[str, ...]
    activities: tuple[str, ...]
    tags: Tags


def worker_status_of(record: WorkerRecord) -> WorkerStatus:
    """The status that a stored record says."""
    return WorkerStatus(
        name=record.name,
        host=record.host,
        pid=record.pid,
        started_at=from_us(record.started_at),
        lease_until=from_us(record.lease_until),
        orchestrations=_own(record.orchestrations),
        activities=_own(record.activities),
        tags=tags_of(record.serves),
    )


def _own(names: tuple[str, ...]) -> tuple[str, ...]:
    # What every worker has, such as the orchestration that keeps schedules, tells nobody anything.
    return tuple(name for name in names if not name.startswith(OWN_NAMES))
