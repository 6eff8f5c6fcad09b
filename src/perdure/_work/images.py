"""Images: an instance with all its rows, as it leaves one place and comes into another.

All times are microseconds UTC, as they are in the rows.
"""

from typing import Literal, TypeAlias

from msgspec import Struct

from perdure._types import Status
from perdure._work.answers import InstanceRecord
from perdure._work.history import HistoryRow

Replacing: TypeAlias = Literal["fail", "skip", "replace", "named"]

COMING = "coming from another store: it goes on when the move is done"
"""With these words begins why a copy is suspended, so that nobody takes it for an instance."""


def is_copy(status: str, held_because: str | None) -> bool:
    """Whether what stands so is a copy, and no instance: it may be written anew as long as its move is not done.

    So nobody claims it, for whatever message, before that or a resume has made it an instance.
    """
    return status == Status.SUSPENDED and (held_because or "").startswith(COMING)


class MessageImage(Struct, frozen=True, gc=False, kw_only=True):
    """A message that waits; `execution` is set for what goes with that execution."""

    due_at: int
    body: bytes
    control: bool = False
    execution: int | None = None


class TimerImage(Struct, frozen=True, gc=False, kw_only=True):
    """A timer of the present execution."""

    execution: int
    event: int
    fire_at: int


class TaskImage(Struct, frozen=True, gc=False, kw_only=True):
    """An activity that has not ended; `running` says that a worker had it, and is not written: nobody has it then.

    With a `permit` it is a place of a limit; `is_given` says that its instance has it, and so it does where it is put.
    """

    execution: int
    event: int
    name: str
    input: bytes
    scheduled_at: int
    due_at: int
    attempt: int = 1
    deliveries: int = 1
    retry: bytes | None = None
    tag: str | None = None
    session: str | None = None
    priority: int = 0
    limit_key: str | None = None
    concurrency: int | None = None
    rate: int | None = None
    per_us: int | None = None
    permit: bytes | None = None
    is_given: bool = False
    start_by: int | None = None
    deadline: int | None = None
    last_error: bytes | None = None
    details: bytes | None = None
    stopped: bool = False
    held_at: int | None = None
    held_because: str | None = None
    began_at: int | None = None
    running: bool = False


class EntryImage(Struct, frozen=True, gc=False, kw_only=True):
    """What it keeps under a key; `passing_since` is set for what may go in time."""

    shelf: str
    key: str
    value: bytes
    passing_since: int | None = None


class HistoryImage(Struct, frozen=True, gc=False, kw_only=True):
    """The events of one turn."""

    execution: int
    row: HistoryRow


class Stamp(Struct, frozen=True, gc=False, kw_only=True):
    """How an instance stood when it was read: nothing has happened to it for as long as it stands so.

    Neither has anybody decided anything about it: whatever suspends it, or lets it or a held task go on, moves
    `updated_at`, and a task that somebody ends is a message.
    """

    incarnation: int
    execution: int
    last_event: int
    updated_at: int
    resets: int
    messages: int
    tasks: int


class InstanceImage(Struct, frozen=True, gc=False, kw_only=True):
    """An instance with everything that belongs to it; the record has no owner.

    Messages are in the order in which they are handed out, all else is in order of its key.
    """

    record: InstanceRecord
    ready_at: int
    history: tuple[HistoryImage, ...] = ()
    messages: tuple[MessageImage, ...] = ()
    timers: tuple[TimerImage, ...] = ()
    tasks: tuple[TaskImage, ...] = ()
    entries: tuple[EntryImage, ...] = ()
    dedup_keys: tuple[str, ...] = ()

    @property
    def stamp(self) -> Stamp:
        """How it stands."""
        return stamp_of(self.record, len(self.messages), len(self.tasks))


def stamp_of(record: InstanceRecord, messages: int, tasks: int) -> Stamp:
    """How an instance with so many messages and tasks stands."""
    return Stamp(
        incarnation=record.incarnation,
        execution=record.execution,
        last_event=record.last_event,
        updated_at=record.updated_at,
        resets=record.resets,
        messages=messages,
        tasks=tasks,
    )


class Put(Struct, frozen=True, gc=False, kw_only=True):
    """Write these instances, all of them or none, as they are; no two have the same id or incarnation.

    They have no owner, nor have their tasks, and held ones were held before any worker registered.

    `instead_of` are instances that go, with all their rows, for these: each must stand so still (stale), and no worker
    may run a task of any (running). `while_open` are others that the images wait for: each must still be there and open
    (stale), as it tells its end to whoever waits at that moment.

    Of an id that another instance has besides: "fail" refuses (exists), "skip" writes nothing and applies as a no-op
    with `existing`, "replace" removes an instance that has ended, or a suspended one of the same incarnation, and
    refuses any other (exists). One of the same incarnation that has moved away is replaced by any of them; but "named"
    refuses whatever `instead_of` does not name. Refused too: incarnation, when another id has it.

    Who comes for one of the same incarnation has one `resets` more than either had; and who comes `instead_of` one has
    `updated_at` now, if its own is not later.
    """

    images: tuple[InstanceImage, ...]
    on_conflict: Replacing = "fail"
    instead_of: tuple[Stamp, ...] = ()
    while_open: tuple[int, ...] = ()


class MoveOut(Struct, frozen=True, gc=False, kw_only=True):
    """These instances are elsewhere from now on: status moved, with the place as what `held_because` says.

    All of them or none, open or closed: refused as stale when one does not stand so still or is gone, as running when a
    worker runs a task of one. Their messages, tasks and timers go; their histories and entries stay until somebody
    deletes them.
    """

    stamps: tuple[Stamp, ...]
    place: str
