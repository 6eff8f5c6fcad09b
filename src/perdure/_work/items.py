"""Items: what a commit carries."""

from typing import Literal, TypeAlias

from msgspec import Struct

from perdure._events import KeyLimit, Parent
from perdure._types import OnConflict, Status
from perdure._work.history import HistoryRow
from perdure._work.images import MoveOut, Put


class NewInstance(Struct, frozen=True, gc=False, kw_only=True):
    """An instance to create, pending, without owner, in execution 1.

    `start` is its first message (a `Start`), due at `start_at` (None: now).
    """

    id: str
    incarnation: int
    name: str
    start: bytes
    version: str | None = None
    start_at: int | None = None
    root: str = ""
    parent: Parent | None = None
    attributes: bytes | None = None
    slot: int = 0


class NewTask(Struct, frozen=True, gc=False, kw_only=True):
    """An activity to run, created by event `event` of the turn's execution.

    `local` says that the committing worker will run it at once: the row is born owned by it. Otherwise any worker that
    has the activity may claim it. It is due at once; both timeouts count from the commit, and the one to the start is
    over with as soon as an attempt has failed or a worker has died with the task.

    One with a `tag` goes to workers that serve it, one with a `limit` only when its key has a place: neither is local.

    One with a `permit` is no activity but a place of its limit that the instance itself is to hold, until its execution
    ends or a turn takes the task away (`tasks_gone`): nobody runs it; when the key has a place, any worker's claim
    gives it to the instance, with the permit as a message. Its name is for people.
    """

    event: int
    name: str
    input: bytes
    local: bool
    retry: bytes | None = None
    tag: str | None = None
    session: str | None = None
    priority: int = 0
    limit: KeyLimit | None = None
    permit: bytes | None = None
    schedule_to_start_us: int | None = None
    total_timeout_us: int | None = None


class ChildStart(Struct, frozen=True, gc=False, kw_only=True):
    """A sub-orchestration or detached orchestration to create.

    When its id is taken, `refused` (a `ChildOutcome` body) is delivered to the turn's own instance instead; None for a
    detached start, which is then skipped and its id reported in `Applied.skipped`.
    """

    new: NewInstance
    refused: bytes | None = None


class OutMessage(Struct, frozen=True, gc=False, kw_only=True):
    """A message to another instance, by id or by incarnation (exactly one of the two).

    `child_of` guards a message by id: it is delivered only while that id still belongs to a child of this incarnation.
    An unknown or closed receiver is no error: the message is skipped and the receiver reported in `Applied.skipped` as
    it was named, an incarnation in decimal. So is a copy (`is_copy`) that is named by its id without that guard: its
    family, which came with it, reaches it.

    With a `shard` it is no message but a parcel: it names nobody here, and goes into the outbox for that shard, behind
    all that the instance has sent there before. It stays there whatever becomes of the instance, until it is settled.
    """

    body: bytes
    to_id: str | None = None
    to_incarnation: int | None = None
    child_of: int | None = None
    control: bool = False
    shard: int | None = None


PLACE = "perdure::limit"
"""The name of the task by which an instance waits for a place of a limit, and holds it."""

VALUES = "value"
"""The shelf of the KV store."""

ANSWERS = "answer"
"""The shelf of what clients have asked."""


class Entry(Struct, frozen=True, gc=False, kw_only=True):
    """What an instance keeps under a key for others to read, until it is deleted; None as the value removes it.

    The `shelf` says of what kind it is (`VALUES`, `ANSWERS`). A `passing` one may go `PASSING_US` after it was written.
    """

    shelf: str
    key: str
    value: bytes | None = None
    passing: bool = False


class InstanceChange(Struct, frozen=True, gc=False, kw_only=True):
    """What a turn changes on its instance's row. None leaves a column as it is.

    A custom status counts `custom_status_version` up by `custom_status_sets`: the turn has set it so often, and this is
    the last. Another `execution` ends the present one.
    """

    status: Status | None = None
    version: str | None = None
    execution: int | None = None
    output: bytes | None = None
    error: bytes | None = None
    custom_status: bytes | None = None
    custom_status_sets: int = 1
    cancel_requested: bool = False
    min_reader: int | None = None

    @property
    def custom_status_steps(self) -> int:
        """By how much the version of the custom status rises."""
        return 0 if self.custom_status is None else self.custom_status_sets


class Turn(Struct, frozen=True, gc=False, kw_only=True):
    """One turn of one instance: everything lands together or not at all.

    Applied only if the worker is alive, owns the instance (or creates it here), `execution` is the instance's, and
    `base` is the id of the last event stored for it (0: none) with which `history.first` is continuous. `create` makes
    the instance owned by the worker and its `start` no message: this turn has consumed it. Refused, in this order:
    fenced; exists (`create` finds its id taken) or not_owner; incarnation (of `create` or of a child); stale, as is one
    that `runs` where the instance is suspended: its owner may have lost it and have it back, for its control messages.

    A pending or held instance becomes running unless `change` says otherwise, and is held for no reason any more.
    `consumed` are messages of the instance, those that are gone are passed over. `tasks_gone` and `timers_gone` (fired
    ones too) are events of this execution, also of this very turn; those that are gone are passed over. The same holds
    for `tasks_stopped`, whose outcome is still wanted: their total deadline is now, so one in line goes to any worker.

    A closing status deletes the instance's remaining messages, tasks and timers and clears its owner. `next_start` is
    the `Start` message of the next execution after a continue-as-new (`change.execution` names it; the instance's
    version becomes `change.version`, so None leaves it open): it falls due now or
    just before the earliest message that waits, so that it comes first. Waiting messages stay, except those that
    `TaskDone` or `Hold` made for the execution that has ended; its tasks and timers are deleted.

    `entries` take the place of those with the same shelf and key; no two of a turn have both in common. They stay when
    an execution or the instance ends.
    """

    incarnation: int
    execution: int
    base: int
    history: HistoryRow | None = None
    create: NewInstance | None = None
    consumed: tuple[int, ...] = ()
    tasks: tuple[NewTask, ...] = ()
    tasks_gone: tuple[int, ...] = ()
    tasks_stopped: tuple[int, ...] = ()
    timers: tuple[tuple[int, int], ...] = ()
    timers_gone: tuple[int, ...] = ()
    starts: tuple[ChildStart, ...] = ()
    messages: tuple[OutMessage, ...] = ()
    change: InstanceChange | None = None
    next_start: bytes | None = None
    entries: tuple[Entry, ...] = ()

    @property
    def runs(self) -> bool:
        """Whether the instance's program has gone on in it."""
        return self.history is not None and (self.change is None or self.change.status is not Status.TERMINATED)


class Hold(Struct, frozen=True, gc=False, kw_only=True):
    """Set an owned instance aside: status held, with the reason, and without owner. Its messages stay.

    `messages` are bodies that existed only in the worker's memory (activity outcomes), kept now as message rows;
    `tasks_gone` are the tasks that those outcomes end. `create` is set when the instance had never been committed; its
    `start` becomes a message row. `consumed` are messages of the instance that go all the same. Refused like a turn,
    but never as stale.
    """

    incarnation: int
    reason: str
    create: NewInstance | None = None
    messages: tuple[bytes, ...] = ()
    execution: int = 1
    tasks_gone: tuple[int, ...] = ()
    consumed: tuple[int, ...] = ()


class TaskDone(Struct, frozen=True, gc=False, kw_only=True):
    """An activity ended on a worker that does not own the instance: its outcome becomes a message row.

    Refused, as are the next three: fenced; not_owner when this worker does not own the task.
    """

    incarnation: int
    execution: int
    event: int
    body: bytes


class TaskBeat(Struct, frozen=True, gc=False, kw_only=True):
    """An activity that runs says something of its progress, for whoever runs it next; None leaves what was said.

    Or, with `began`, that it is about to be called, and is not to be called again unless somebody has found out how
    this ended: this moment is kept until the attempt has failed (`TaskRetry.began_at`) or is known not to have been
    made (`Resume.repeat`). From then on it has no schedule-to-start deadline.
    """

    incarnation: int
    execution: int
    event: int
    details: bytes | None = None
    began: bool = False


class TaskRetry(Struct, frozen=True, gc=False, kw_only=True):
    """An attempt failed and another is due after `delay_us`; the row goes back to be claimed by anybody.

    `details` are its last ones, where the store does not have them yet. `began_at` is when it was about to be called
    (`TaskBeat.began`): if it was called again since, the attempt that failed says nothing of that one.
    """

    incarnation: int
    execution: int
    event: int
    attempt: int
    delay_us: int
    last_error: bytes | None = None
    details: bytes | None = None
    began_at: int | None = None


class TaskRelease(Struct, frozen=True, gc=False, kw_only=True):
    """A claimed activity is handed back untouched (shutdown, unknown name); counts as no attempt and no delivery.

    `details` as in `TaskRetry`.
    """

    incarnation: int
    execution: int
    event: int
    delay_us: int = 0
    details: bytes | None = None


class InstanceRelease(Struct, frozen=True, gc=False, kw_only=True):
    """An owned instance is handed back; `delay_us` keeps it from being claimed again at once by this worker.

    Others may claim it at once, and for a control message this worker too. Any claim ends the delay.
    """

    incarnation: int
    delay_us: int = 0


class StartInstance(Struct, frozen=True, gc=False, kw_only=True):
    """A client's start. Sending it again with the same incarnation is harmless: it is applied once (`APPLIED` again).

    A restart removes all rows of the instance that has the id. `cancel` is the body of the `Cancel` message for the
    open children (not their children) of an open instance that terminate_and_restart replaces. Refused: exists, with
    the instance that has the id; coming when terminate_and_restart meets a copy (`is_copy`); not_root when it meets the
    open child of an open parent, which would wait for ever; incarnation; gone.

    `again` says that it was sent before, and nobody knows what came of that. What it began then may have been deleted
    or replaced, and must not begin once more: where it would make the instance, it is refused as gone if one of its
    incarnation or a higher one has ever been removed from the store.
    """

    new: NewInstance
    on_conflict: OnConflict = "fail"
    cancel: bytes | None = None
    again: bool = False


class Deliver(Struct, frozen=True, gc=False, kw_only=True):
    """A client's message to an instance by id. Refused: not_found, as for a delete; closed; coming; not_held.

    With a `dedup_key`, a second one with the same key to the same incarnation is applied as a no-op, for as long as the
    instance exists, closed or not.

    With `if_held` it is only for an instance that is held.
    """

    to_id: str
    body: bytes
    control: bool = False
    dedup_key: str | None = None
    incarnation: int | None = None
    if_held: bool = False


class Delete(Struct, frozen=True, gc=False, kw_only=True):
    """Delete a closed root instance and everything below it (children, their children ...).

    Refused, in this order: not_found, also when `incarnation` is given and is not the instance's; not_root for a child;
    not_closed when any of the tree is open, unless `force`.
    """

    id: str
    force: bool = False
    incarnation: int | None = None


class Prune(Struct, frozen=True, gc=False, kw_only=True):
    """Remove the histories of past executions of an instance; never that of the current one.

    Removed are those beyond the newest `keep` executions (1 or more; the current one is the first of them) whose last
    turn was before `before` (None: whenever). Refused: not_found, as for a delete.
    """

    id: str
    keep: int = 1
    before: int | None = None
    incarnation: int | None = None


class Suspend(Struct, frozen=True, gc=False, kw_only=True):
    """Set an open instance aside until somebody resumes it: status suspended, with the reason, and without owner.

    Its messages wait, control messages excepted unless it is a copy (`is_copy`) now; its tasks go on, unless `tasks`
    says that they are set aside too, with the same reason: those that "wait" for a worker and are not held yet, or
    "all", also those that a worker runs, of which nobody hears any more. With `keep`, one that is suspended already
    stays as it is, and only its tasks are set aside. With `instead_of`, only what is suspended for that reason gets
    another one: anything else is applied as a no-op. Refused: not_found, as for a delete; closed; coming, for a copy
    whose reason is not named.
    """

    id: str
    reason: str = ""
    incarnation: int | None = None
    tasks: Literal["go on", "wait", "all"] = "go on"
    keep: bool = False
    instead_of: str | None = None


class Resume(Struct, frozen=True, gc=False, kw_only=True):
    """Let a held or suspended instance go on, with its held tasks; or, with `event`, that held task alone.

    With `repeat`, only what was about to be called then (`HeldTask.began_at`) goes on, and may be called once more.

    It is pending again if it has had no turn, otherwise running; its deliveries, and those of its held tasks, begin
    again. An instance that is neither, with no held task, is applied as a no-op. With a `reason`, only what is held or
    suspended for that reason goes on. Refused: not_found, as for a delete, and when `event` is no held task of the
    present execution, or not one that `repeat` means; closed.
    """

    id: str
    event: int | None = None
    incarnation: int | None = None
    reason: str | None = None
    repeat: int | None = None


class TaskDiscard(Struct, frozen=True, gc=False, kw_only=True):
    """End a held task: `body` (an `ActivityOutcome`) is delivered as if it had ended so.

    With `held_at` only if it was set aside then, and has not been tried and set aside once more. Refused: not_found;
    coming, as for a message.
    """

    incarnation: int
    execution: int
    event: int
    body: bytes
    held_at: int | None = None


class Try(Struct, frozen=True, gc=False, kw_only=True):
    """Count a delivery of an owned instance, or with `event` of an owned task, before it is tried.

    From delivery `SUSPECT_DELIVERIES` on, deaths count no more by themselves: many things die with a worker, and what
    is tried by itself after this is the likeliest to kill. Refused: fenced; not_owner.
    """

    incarnation: int
    execution: int = 0
    event: int | None = None


class TaskHold(Struct, frozen=True, gc=False, kw_only=True):
    """Set an owned task aside, with the reason and without owner. Only its deadlines still make it claimable.

    Refused: fenced; not_owner.
    """

    incarnation: int
    execution: int
    event: int
    reason: str


class Effect(Struct, frozen=True, gc=False, kw_only=True):
    """What a parcel does, which is the `seq`th of its outbox: it starts or tells an instance.

    `incarnation` tells it from others of this number, which an outbox has again when a backup of it was restored: it is
    the incarnation that sent it, mixed with when.
    """

    seq: int
    incarnation: int
    start: NewInstance | None = None
    message: OutMessage | None = None


class Receive(Struct, frozen=True, gc=False, kw_only=True):
    """Effects of parcels of the shard `sender`, in order; those that were received before are passed over.

    `Applied.skipped` has the numbers, in decimal, of those whose id was taken or whose receiver was unknown or closed:
    the same ones each time. Refused as a whole: stale, after `until`, by which the sender's outbox must have been
    asked; incarnation, if that of a start whose id is free is taken.
    """

    sender: int
    effects: tuple[Effect, ...]
    until: int


class Settle(Struct, frozen=True, gc=False, kw_only=True):
    """Parcels have been received: they leave the outbox. `count` says how many were there still.

    A reply is a parcel's number and a message, which is delivered if that parcel was there still.
    """

    seqs: tuple[int, ...]
    replies: tuple[tuple[int, OutMessage], ...] = ()


class Forget(Struct, frozen=True, gc=False, kw_only=True):
    """Forget that parcels of a shard with numbers below `before` were received; `count` says how many."""

    sender: int
    before: int


TaskItem: TypeAlias = TaskDone | TaskBeat | TaskRetry | TaskRelease
"""What a worker says of a task that it owns."""

ShardItem: TypeAlias = Receive | Settle | Forget
"""What goes from one shard to another."""

ClientItem: TypeAlias = (
    StartInstance | Deliver | Delete | Prune | Suspend | Resume | TaskDiscard | Put | MoveOut | ShardItem
)
"""What a client sends, which needs no worker."""

Item: TypeAlias = Turn | Hold | TaskItem | InstanceRelease | Try | TaskHold | ClientItem


class Claim(Struct, frozen=True, gc=False, kw_only=True):
    """How much new work the worker can take, claimed in the same transaction after the items are applied."""

    instances_max: int
    tasks_max: int


class Batch(Struct, frozen=True, gc=False, kw_only=True):
    """What one commit carries. `worker` is None for a client without a worker, which sends only client items.

    `token` is random per batch and remembered on the worker's row, so that an unknown outcome can be asked for.
    """

    token: bytes
    items: tuple[Item, ...]
    worker: int | None = None
    claim: Claim | None = None
