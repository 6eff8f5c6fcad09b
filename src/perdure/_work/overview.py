"""What is asked of the read side of a store, and what it tells beyond single instances.

All times are microseconds UTC. Nothing here decides a turn.
"""

from typing import Any

from msgspec import Struct

from perdure._types import Status

PAGE_ROWS_MAX = 10_000
"""How many instances are looked at for a page, whether they match or not."""


class Query(Struct, frozen=True, kw_only=True):
    """A filter for instances; every given field must match. Ordered by incarnation, newest first.

    `parent` is an id: its instance's children are meant. `parents` are incarnations, whose children are meant wherever
    they themselves are; not both. `root` is the root that the instance was started under;
    `roots_only` leaves out whoever is a child. Spans of time begin at their first instant and end before their last.
    A page ends at `limit` instances, or where `rows_max` were looked at that have all that an index knows of them.
    """

    statuses: tuple[Status, ...] = ()
    name: str | None = None
    version: str | None = None
    attributes: dict[str, Any] = {}
    created_from: int | None = None
    created_before: int | None = None
    updated_from: int | None = None
    updated_before: int | None = None
    parent: str | None = None
    parents: tuple[int, ...] = ()
    root: str | None = None
    roots_only: bool = False
    limit: int = 100
    rows_max: int = PAGE_ROWS_MAX
    after: str | None = None


class InstanceCount(Struct, frozen=True, gc=False, kw_only=True):
    """How many instances of one orchestration have one status."""

    name: str
    status: Status
    count: int


class ExecutionRecord(Struct, frozen=True, gc=False, kw_only=True):
    """What is stored of one execution's history: its events, their bytes, and the times of its first and last turn."""

    execution: int
    first_at: int
    last_at: int
    events: int
    size: int


class TaskDepth(Struct, frozen=True, gc=False, kw_only=True):
    """The tasks of one activity and tag: due and without owner, not yet due, and owned by a worker."""

    name: str
    tag: str | None = None
    waiting: int
    delayed: int
    running: int
    waiting_since: int | None = None
    """When the oldest of those that wait was scheduled."""


class LimitUse(Struct, frozen=True, gc=False, kw_only=True):
    """A limit by key: its numbers as they were declared last, how many have a place, and how many are due and wait."""

    key: str
    concurrency: int | None
    rate: int | None
    per_us: int
    running: int
    waiting: int
    waiting_us: int | None = None
    """How long ago the oldest of those that wait was scheduled."""


class LimitUser(Struct, frozen=True, gc=False, kw_only=True):
    """A task that has a place of a limit, or waits for one: `owner` is its worker, 0 if its instance itself has it."""

    instance_id: str
    event: int
    name: str
    scheduled_at: int
    owner: int | None = None


class Depths(Struct, frozen=True, gc=False, kw_only=True):
    """What waits in a store at `now`.

    `ready` are pending and running instances without owner for which a message or timer is due, since `ready_since`;
    `messages` and `timers` are all rows, due or not; `held` are held instances, the first of them since `held_since`;
    `parcels` are on their way to other shards, the first of them since `parcels_since`.
    `tasks` is in order of names, then of tags, without one first.
    """

    now: int
    ready: int
    messages: int
    timers: int
    held: int
    parcels: int = 0
    ready_since: int | None = None
    held_since: int | None = None
    parcels_since: int | None = None
    tasks: tuple[TaskDepth, ...] = ()


class Scan(Struct, frozen=True, gc=False, kw_only=True):
    """A look at the `rows_max` instances behind incarnation `after`, for what need not be kept any more.

    A root's time is over when it completed before `completed_before`, or failed or was ended before `ended_before`;
    `executions` is how many executions of an instance are kept. None keeps all.
    """

    after: int
    rows_max: int
    completed_before: int | None = None
    ended_before: int | None = None
    executions: int | None = None


class Lapsed(Struct, frozen=True, gc=False, kw_only=True):
    """What such a look found, as (id, incarnation) in order of incarnation: roots, and instances with old executions.

    `last` is the incarnation up to which it looked, None at the end of all instances.
    """

    roots: tuple[tuple[str, int], ...] = ()
    overlong: tuple[tuple[str, int], ...] = ()
    last: int | None = None


class OpenTask(Struct, frozen=True, gc=False, kw_only=True):
    """An activity of an instance that has not ended; without an owner it is due, or was, at `due_at`."""

    event: int
    name: str
    attempt: int
    scheduled_at: int
    due_at: int
    owner: int | None = None
    tag: str | None = None
    last_error: bytes | None = None
    held_because: str | None = None
    stopped: bool = False


class HeldTask(Struct, frozen=True, gc=False, kw_only=True):
    """A task that was set aside."""

    instance_id: str
    incarnation: int
    execution: int
    event: int
    name: str
    held_at: int
    held_because: str
    scheduled_at: int
    attempt: int
    deliveries: int
    began_at: int | None = None
    """When it was called last, if nobody knows what came of it (`TaskBeat.began`)."""
