"""Answers: what comes back from storage, and what can be asked of it."""

from enum import StrEnum
from typing import TypeAlias

from msgspec import Struct

from perdure._events import Parent
from perdure._types import Status
from perdure._work.messages import TimerDue


class Refusal(StrEnum):
    """Why an item was not applied. Nothing of it was."""

    FENCED = "fenced"
    """The worker's row is gone: another took over its work. Or no worker sends what only a worker may send."""
    NOT_OWNER = "not_owner"
    """The instance or task is not owned by this worker (any more), or does not exist (any more)."""
    STALE = "stale"
    """The turn does not continue the stored history."""
    EXISTS = "exists"
    """The instance id is taken (`Refused.existing` says by whom)."""
    INCARNATION = "incarnation"
    """The incarnation is taken by another id: draw another one."""
    NOT_FOUND = "not_found"
    CLOSED = "closed"
    COMING = "coming"
    """What has the id is a copy of an instance of another store, and none itself before the move is done."""
    NOT_CLOSED = "not_closed"
    NOT_ROOT = "not_root"
    NOT_HELD = "not_held"
    RUNNING = "running"
    """A worker runs an activity of it."""
    GONE = "gone"
    """A start that was sent again may have been applied the first time, and be deleted or replaced: nobody knows."""
    BUSY = "busy"
    """A transaction of somebody's own, which is still open, is about to take the id. An instance whose turn would have
    taken it has no owner now and rests."""


class Applied(Struct, frozen=True, gc=False, kw_only=True):
    """The item landed. `existing`: the start found and used this instance; `count`: instances or executions gone."""

    existing: "InstanceRecord | None" = None
    skipped: tuple[str, ...] = ()
    count: int = 0
    answer: bytes | None = None
    """What a query or an update was answered, if that is known with the commit; never set by a storage."""


class Refused(Struct, frozen=True, gc=False, kw_only=True):
    """The item did not land. `existing` comes with `EXISTS`."""

    reason: Refusal
    existing: "InstanceRecord | None" = None


Outcome: TypeAlias = Applied | Refused

APPLIED = Applied()


class InstanceRecord(Struct, frozen=True, gc=False, kw_only=True):
    """An instance's row."""

    id: str
    incarnation: int
    name: str
    version: str | None
    status: Status
    execution: int
    created_at: int
    updated_at: int
    output: bytes | None = None
    error: bytes | None = None
    custom_status: bytes | None = None
    custom_status_version: int = 0
    held_because: str | None = None
    cancel_requested: bool = False
    owner: int | None = None
    parent: Parent | None = None
    root: str = ""
    attributes: bytes | None = None
    last_event: int = 0
    """The last event of the current execution; 0 before its first turn."""
    deliveries: int = 1
    """Begins at 1, and again with each turn; grows when a worker dies that owned the instance, and by `Try`."""
    min_reader: int = 1
    """The engine that it takes to read the present execution."""
    resets: int = 0
    """How often it was put in place of what it was: what somebody knew of it before may not be so."""


class ClaimedMessage(Struct, frozen=True, gc=False, kw_only=True):
    """A due message: `seq` names its row. A due timer has no row of its own here: seq 0 and `timer` set."""

    seq: int
    body: bytes = b""
    timer: TimerDue | None = None


class ClaimedInstance(Struct, frozen=True, gc=False, kw_only=True):
    """An instance that this worker now owns, with its due messages in order.

    `for_control`: for the sake of its control messages, which come alone, as this worker may not run it.
    """

    record: InstanceRecord
    messages: tuple[ClaimedMessage, ...]
    for_control: bool = False


class ClaimedTask(Struct, frozen=True, gc=False, kw_only=True):
    """An activity that this worker now owns and shall run.

    `deliveries` begins at 1 and grows when a worker dies with the task, and by `Try`. The version is "" while the
    instance has none.
    """

    incarnation: int
    instance_id: str
    orchestration_name: str
    orchestration_version: str
    execution: int
    event: int
    name: str
    input: bytes
    scheduled_at: int
    attempt: int = 1
    deliveries: int = 1
    retry: bytes | None = None
    tag: str | None = None
    session: str | None = None
    priority: int = 0
    deadline: int | None = None
    """When the total timeout ends; None without one."""
    start_by: int | None = None
    """When the schedule-to-start timeout ends; None without one."""
    last_error: bytes | None = None
    """What the last `TaskRetry` said; None before the first."""
    details: bytes | None = None
    """What the activity last said of its progress; None before the first."""
    is_limited: bool = False
    """Whether it has a place of a limit, which is free again when it ends."""
    stopped: bool = False
    """Whether a turn has stopped it: it shall not run, and its outcome is still wanted."""
    began: bool = False
    """Whether it has been called, perhaps, and nobody knows what came of it (`TaskBeat.began`)."""
    is_own: bool = False
    """Whether it was never read from a store: the worker that runs it has itself asked for it."""


class Standing(StrEnum):
    """How a task stands that a worker runs."""

    WANTED = "wanted"
    STOPPED = "stopped"
    """A turn has stopped it (`Turn.tasks_stopped`)."""
    GONE = "gone"
    """The worker does not own it any more: whatever comes of it, nobody will hear."""


class Work(Struct, frozen=True, gc=False, kw_only=True):
    """What a claim brought. `more`: the limits cut it short. `next_due`: when something known falls due."""

    now: int
    instances: tuple[ClaimedInstance, ...] = ()
    tasks: tuple[ClaimedTask, ...] = ()
    next_due: int | None = None
    more: bool = False


class Committed(Struct, frozen=True, gc=False, kw_only=True):
    """The answer to a batch: one outcome per item, in order, and the work that was claimed. `now`: the store's time."""

    now: int
    outcomes: tuple[Outcome, ...]
    work: Work | None = None


class Reaped(Struct, frozen=True, gc=False, kw_only=True):
    """What a worker found that looked after the others."""

    buried: int = 0
    """Workers that were dead, whose work is anybody's now."""
    held: tuple[tuple[str, str], ...] = ()
    """Instances that are held from now on, as nobody has their code: id and reason, in order of the ids."""
    workers: int = 0
    """Workers that are left, the caller included; 0 when it has no row itself."""
    sessions: int = 0
    """Sessions that nobody used any more, which are anybody's now; those of dead workers not counted."""


SESSIONS = 100
"""How many sessions a worker has at once that says nothing of them."""

SESSION_IDLE_US = 300_000_000
"""How long a worker keeps an unused session that says nothing of it, in microseconds."""


class Serves(Struct, frozen=True, gc=False, kw_only=True):
    """Which activities a worker takes, by their tags: those without one, those with these tags, or with all others."""

    untagged: bool = True
    tags: tuple[str, ...] = ()
    others: bool = False
    """The tags are those that it does not serve."""
    sessions: int = SESSIONS
    """How many sessions it has at once."""
    session_idle_us: int = SESSION_IDLE_US
    """After how long without use it has a session no more."""

    def takes(self, tag: str | None) -> bool:
        """Whether it takes activities with this tag, or without one."""
        return self.untagged if tag is None else (tag in self.tags) is not self.others


class WorkerRecord(Struct, frozen=True, gc=False, kw_only=True):
    """A worker's row. `orchestrations` holds "name@version" strings, `activities` names (aliases included).

    A name may hold an "@"; a version never does.
    """

    worker: int
    name: str
    pid: int
    host: str
    started_at: int
    lease_until: int
    orchestrations: tuple[str, ...] = ()
    activities: tuple[str, ...] = ()
    serves: Serves = Serves()
