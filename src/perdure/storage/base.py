"""The storage contract: dumb and atomic.

Laws kept here: storage never looks inside an event or payload; one call is one transaction; each item of a batch lands
whole or not at all and is judged on its own, so a refused item harms no other; ownership and liveness are checked
inside the transaction that writes; time is read from the store's clock after its lock is held.

Every call has three outcomes. It returns: applied. It raises `StorageUnavailableError`: not applied, try again. It
raises `OutcomeUnknownError`: ask `applied(worker, token)`, then decide. No other exception of storage means anything
about an orchestration.

All calls block and may come from any thread, one at a time for `Storage` and any number at once for `Inspector`.
`perdure.testing.storage_suite` is this contract as tests, `perdure.storage.memory` is it in plain Python.

`Storage` and `Inspector` are what every store has. What only some have is a protocol of its own, and whoever uses it
looks for its method: `Stamped`, `Wakes` and `Waits` here, what is lent to users in `perdure.storage.lending`.

Words that the contract uses:

- *now*: what the store's clock says, but never less than this handle has seen before: while a clock that was set back
  catches up, the handle's time stands still, and what would fall due meanwhile waits for the difference. Other handles
  may be behind or ahead.
- *due*: at or before the store's now. A message's due time that is past, or None, is taken as now, so that arrival
  orders what is due at once. A timer is due at its `fire_at`, as given.
- *closed*: completed, failed, cancelled, terminated or moved; *open*: every other status.
- *alive*: the worker has a row. A lease that is over makes a worker dead for others; it stays alive for itself until
  somebody buries it, that is, removes its row and frees its work.
- *child*: an instance whose `parent.incarnation` names an instance. One whose parent is gone counts as a root.
- An open instance whose `Start` is not yet due waits for it: other messages to it, control messages excepted, fall due
  together with the start. The start of a next execution too comes first, also where a handle is behind.
- `updated_at` moves with every applied turn, and with what sets an instance aside or brings it back, with nothing else:
  to now, or to the time of the turn's last event (`HistoryRow.at`) if that is later. It never goes back: where another
  handle was ahead, it stands still until this one has caught up. So what comes after it comes after every event.
  What somebody decides tells by it: an applied `Suspend` or `Resume` moves it by a microsecond at least, and a `Resume`
  by which nothing but tasks go on, by just that; those that change nothing leave it.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeAlias

from perdure._events import MIN_READER
from perdure._ports import first_drawn_at
from perdure._types import OWN_NAMES
from perdure._work import (
    Batch,
    Committed,
    Depths,
    ExecutionRecord,
    HeldTask,
    HistoryRow,
    InstanceCount,
    InstanceImage,
    InstanceRecord,
    Lapsed,
    LimitUse,
    LimitUser,
    OpenTask,
    Parcel,
    Query,
    Reaped,
    Scan,
    Serves,
    ShardStamp,
    Standing,
    WorkerRecord,
)
from perdure.errors import UsageError

LEASE_US = 10_000_000
"""How long a worker is believed alive after its last heartbeat, in microseconds of the store's clock."""

UNKNOWN_GRACE_US = 5_000_000
"""How long work waits for a live worker that has its code before `reap` holds the instance, in microseconds."""

UNKNOWN_LOOKED_AT_MAX = 500
"""At how many messages, timers and tasks that have waited for so long a call of `reap` looks; the next one goes on."""

PASSING_US = 3_600_000_000
"""How long a passing entry is kept at least, in microseconds."""

SUSPECT_DELIVERIES = 3
"""From this delivery on what was delivered is tried by itself, and counted before (`Try`) instead of at a death."""

SERVES = Serves()
"""What a worker serves that says nothing of tags: activities without one."""

NEAR_NAMES_MAX = 3
"""How many near names a reason tells."""

MESSAGES_MAX = 1_000
"""How many due messages of one instance a claim brings."""

SESSIONS_SEEN_MAX = 1_000
"""How many tasks of sessions that nobody has a claim looks at, for each tag and limit key."""

USE_SHARE = 8
"""That a session is in use is written when this part of its idle time has passed."""

STRAY_US = 60_000_000
"""How far the beginning of an instance that is no stray may be from what its incarnation says, in microseconds."""

INCARNATION_MAX = (1 << 63) - 1
_DIGITS_MAX = len(str(INCARNATION_MAX))


def unknown_reason(name: str, version: str | None, known: Iterable[str]) -> str:
    """Why `reap` holds an instance whose orchestration no live worker has.

    `known` is what the live workers have, as "name@version"; near is what has a near name.
    """
    by_name: dict[str, set[str]] = {}
    for each in known:
        by_name.setdefault(each.rpartition("@")[0], set()).add(each)
    names = _near(name, by_name)
    if version is None:
        return _reason(f"orchestration {name!r}", names)
    versions = {each for near in names for each in by_name[near]}
    return _reason(f"orchestration {name!r} version {version}", _near(f"{name}@{version}", versions))


def unknown_activity_reason(name: str, known: Iterable[str]) -> str:
    """Why `reap` holds an instance with a task whose activity no live worker has; `known` are those that they have."""
    return _reason(f"activity {name!r}", _near(name, known))


def _near(wanted: str, known: Iterable[str]) -> list[str]:
    from difflib import get_close_matches  # noqa: PLC0415 - only what goes wrong needs it

    # What every worker brings along is nothing that somebody can have meant.
    return get_close_matches(wanted, sorted({each for each in known if not each.startswith(OWN_NAMES)}), NEAR_NAMES_MAX)


def _reason(what: str, near: list[str]) -> str:
    registered = f" (registered near it: {', '.join(map(repr, near))})" if near else ""
    return (
        f"no live worker has {what}{registered}: start one whose registry has it, under that name or as an alias, or "
        "terminate the instance"
    )


def incarnations_of(query: Query) -> tuple[int, int] | None:
    """The incarnations (from, before) that a query's span of time leaves, strays excepted; None if it has none.

    A stray is an instance that was begun more than `STRAY_US` before or after the moment that its incarnation says: the
    clock of whoever drew it was wrong, or it waited for long. Backends keep an index of them.
    """
    ends = [moment for moment in (query.created_before, query.updated_before) if moment is not None]
    if query.created_from is None and not ends:
        return None
    # A millisecond more, as an incarnation knows no fractions of one.
    margin = STRAY_US + 1_000
    first = 0 if query.created_from is None else first_drawn_at(query.created_from - margin)
    return first, min((first_drawn_at(moment + margin) for moment in ends), default=INCARNATION_MAX)


def parse_page_key(after: str) -> int:
    """The incarnation behind which a page begins.

    Raises:
        UsageError: The key is none that `find` returned.
    """
    if not after.isdecimal() or len(after) > _DIGITS_MAX or int(after) > INCARNATION_MAX:
        raise UsageError(f"{after!r} is no page key: pass the `next` of the page before, unchanged")
    return int(after)


class Storage(Protocol):
    """The write side: what a worker or client needs to commit and to take work."""

    def now(self) -> int:
        """The store's time, in microseconds UTC; never less than this handle has answered before."""
        ...

    def register(
        self,
        *,
        name: str,
        orchestrations: Sequence[str],
        activities: Sequence[str],
        serves: Serves = SERVES,
        lease_us: int = LEASE_US,
        reader: int = MIN_READER,
    ) -> WorkerRecord:
        """Make a worker row with a fresh random id (63 bits) and take over what dead workers left behind, as `reap`.

        `reader` is the engine that it has: it is given no instance whose `min_reader` is later, whatever code it has.
        """
        ...

    def heartbeat(self, worker: int, /) -> bool:
        """Extend the worker's lease; False when its row is gone, that is, somebody has taken over its work.

        The lease then ends `lease_us` of its registration from now; one that was over but not yet taken is alive again.
        May be called from another thread while `commit` runs.
        """
        ...

    def unregister(self, worker: int, /) -> None:
        """Release at once everything that the worker owns, and remove its row. Counts as no delivery.

        Its tasks fall due now; what was tried by itself goes back to `SUSPECT_DELIVERIES`. Harmless for a worker
        without a row.
        """
        ...

    def reap(self, worker: int, /) -> Reaped:
        """Take away the work of workers that are dead (lease over, or proven dead) for anybody to claim.

        Dead is who has `lease_until` at or before now, the caller excepted. Instances and tasks lose
        their owner and count a delivery, up to `SUSPECT_DELIVERIES`; tasks fall due now and have no schedule-to-start
        deadline any more.

        Also marks as held, with the reason, pending and running instances that wait for code which no worker that is
        left, the caller included, has. Of what waits a call need not look at more than `UNKNOWN_LOOKED_AT_MAX` of each
        kind, if the next ones of the handle look at the rest:

        - those without owner that have had something due for `UNKNOWN_GRACE_US` while nobody has their name and version
          (`unknown_reason`);
        - those, owned or not, of which a task without owner and without a schedule-to-start deadline has been due for
          `UNKNOWN_GRACE_US`, its total deadline not being over, while nobody has its activity
          (`unknown_activity_reason` of the one that has been due longest, then of the lowest event). Their tasks stay
          as they are, for any worker that has the activity; an outcome is a message as always, so it brings the
          instance to a worker that registered after the hold.

        Who owned such an instance does so no more: its next turn of it is refused as not_owner, and it drops what it
        has of it in memory. The instance's tasks that it runs are still its own, so it sends the outcomes that the
        refused turn was to take in as `TaskDone`.

        Also removes the passing entries that were written `PASSING_US` ago or before, and what is remembered of limits
        longer than it counts.

        Also looks after sessions. One of which its worker runs no task, and that was used `session_idle_us` ago or
        before, is free again. One of the caller's of which it runs a task is used now, which is written when an eighth
        of that time has passed since it was used.

        Does nothing for a caller without a row.
        """
        ...

    def commit(self, batch: Batch, /) -> Committed:
        """Apply the items in order, then claim; all in one transaction. Durable when it returns.

        A worker without a row: its own items are refused as fenced and nothing is claimed (`work` is None); the items
        of clients that came along (`ClientItem`) are judged as always.

        Claimed are instances without owner, or owned by this worker, that have due messages or timers: pending and
        running ones whose name and version (or name alone while the version is open) this worker has, and whose
        `min_reader` is at most its `reader`; held ones of those only if this worker registered after the one that held
        it, or after all that were there when `reap` did, whatever any clock says; any other open instance with a due
        control message (`for_control`), whatever its name or status, unless it is a copy (`is_copy`). At most
        `instances_max` instances, owned ones included, in order of their earliest due row, then of incarnation. Of
        messages all that are due come along, of one that comes `for_control` its control messages alone, in order of
        due time, then arrival, timers before messages of the same due time and among themselves by event; at most
        `MESSAGES_MAX` per instance. Messages of an owned instance that were handed out and not yet consumed come again.

        Claimed are tasks without owner that are due, whose activity this worker has and whose tag it serves; also tasks
        of whatever activity and tag whose total or schedule-to-start deadline is over, due or not. At most `tasks_max`:
        highest priority first, then oldest (`scheduled_at`), then by incarnation, execution and event.

        Of the tasks with a limit key those are claimed that have a place, in this order: fewer than `concurrency` of
        the key have an owner (a deadline that is over needs no place, and has none when it is claimed), and fewer than
        `rate` of it were claimed within the last `per_us`. The numbers are those of its task that was scheduled last,
        of all that there are still. Tasks of other workers, and of instances that are held, take no place from this
        worker's. A permit that has a place is given to its running instance, at first and beside `tasks_max`: the task
        is the instance's, and the permit a message of this execution, due now.

        Of the tasks with a session, but for those that are too late, those are claimed whose session the worker has or
        can have. It has a session from the first claim of a task of it on, as long as it lives, and nobody else does;
        each claim of one uses it. It can have `Serves.sessions` less those that it has and needs: of which it runs a
        task, or of which one waits for its activities and tags and for no place of a full limit. Those that it can have
        are the first of those that nobody has, in the order of their first tasks that so wait; of each tag and limit
        key `SESSIONS_SEEN_MAX` of them are looked at. When it has more than `Serves.sessions` after the claim, those
        that it does not need are free again, those first that were used longest ago, then by the bytes of their ids. A
        task that is local needs no session.

        `Work.more`: an instance, a task or a message that meets all this was left for one of the three limits.
        `Work.next_due`: the earliest later moment at which a row (message, timer, task, deadline of a task) that is
        there now will become claimable by this worker, if nothing else changes. Every task with a tag or a limit key
        counts, whoever may take it, with the moments at which it falls due, its deadlines are over, and the rate of its
        key lets another begin (where its concurrency does).

        Raises:
            StorageUnavailableError: Not applied (locked, full, connection refused): try again.
            OutcomeUnknownError: Perhaps applied.
        """
        ...

    def applied(self, worker: int, token: bytes, /) -> bool | None:
        """Whether the worker's last commit was the one with this token.

        None when its row is gone, and with it all that was known: of a commit that came after its burial the items of
        clients may have been applied.
        """
        ...

    def standings(self, worker: int, tasks: Sequence[tuple[int, int, int]], /) -> list[Standing]:
        """How these tasks (incarnation, execution, event), which the worker runs, stand now; one answer for each."""
        ...

    def history(self, incarnation: int, execution: int, /) -> list[HistoryRow]:
        """All rows of one execution, in order; none for what is unknown."""
        ...

    def lapsed(self, scan: Scan, /) -> Lapsed:
        """What need not be kept any more, among a few instances; whoever deletes it is judged then as always."""
        ...

    def changed(self) -> bool:
        """Whether anybody else may have committed since the last call of `changed`; cheap enough to poll."""
        ...

    def close(self) -> None:
        """Release files and connections; harmless when repeated."""
        ...


class Inspector(Protocol):
    """The read side, for clients, the command line and the dashboard; never used to decide a turn."""

    def now(self) -> int:
        """The store's time, as `Storage.now`; reads nothing, so it may be asked as often as wanted."""
        ...

    def get(self, instance_id: str, /) -> InstanceRecord | None:
        """One instance by id."""
        ...

    def get_many(self, instance_ids: Sequence[str], /) -> dict[str, InstanceRecord]:
        """Those of the instances that exist."""
        ...

    def still_open(self, instance_ids: Sequence[str], /) -> dict[str, int]:
        """The incarnations of those of the instances that are open, however many are asked for; no more is read."""
        ...

    def find(self, query: Query, /) -> tuple[list[InstanceRecord], str | None]:
        """One page and the key of the next, None at the end. Keyset paging: stable while instances come and go.

        A page may have fewer than `limit`, even none, and a key: it ends where `rows_max` of those were looked at that
        an index finds, so that it takes a bounded time however few match. By nothing, a name, a parent, or one status
        that is not completed, and nothing else, every page but the last is full.

        Ordered by incarnation, which rises with the time of the start, newest first. `attributes` are compared as JSON
        values with the top-level members of the instance's: true is not 1, and 1 is 1.0.

        Raises:
            UsageError: `after` is no key of a page.
        """
        ...

    def count(self, query: Query, /) -> list[InstanceCount]:
        """How many instances match, by name and status, in that order; `limit` and `after` mean nothing here."""
        ...

    def family(self, instance_id: str, limit: int, /) -> list[InstanceRecord]:
        """The instance and everything below it, at most so many: those nearest to it first, then by incarnation.

        Empty when there is no such instance.
        """
        ...

    def executions(self, incarnation: int, /) -> list[ExecutionRecord]:
        """The executions of an instance that have a history in the store, in order."""
        ...

    def held_tasks(self, limit: int, incarnation: int | None = None, /) -> list[HeldTask]:
        """The tasks that were set aside, of one instance or of all, at most so many.

        In order of the moment, then of incarnation and event.
        """
        ...

    def open_tasks(self, incarnation: int, limit: int, /) -> list[OpenTask]:
        """The activities of an instance that have not ended, at most so many, in order of their events.

        Places of limits are none.
        """
        ...

    def depths(self) -> Depths:
        """What waits in the store now. Reads all that waits, so it is not for a tight loop."""
        ...

    def limits(self) -> list[LimitUse]:
        """The limits that some task has, in order of the keys' bytes. Reads all tasks of them, as `depths` does."""
        ...

    def limit_users(self, key: str, limit: int, /) -> list[LimitUser]:
        """The tasks with a limit key, at most so many: those with an owner, then the others, both as in line."""
        ...

    def read_history(self, incarnation: int, execution: int, /) -> list[HistoryRow]:
        """All rows of one execution, in order."""
        ...

    def images(self, instance_ids: Sequence[str], /) -> list[InstanceImage]:
        """These instances and everything below them, with all their rows, in order of incarnation.

        As they were at one moment; passing over ids that nobody has.
        """
        ...

    def entries(self, incarnation: int, shelf: str, /, keys: Sequence[str] | None = None) -> dict[str, bytes]:
        """What an instance keeps on a shelf: all, or those of these keys that are there; in order of the keys' bytes.

        None for an incarnation that is unknown.
        """
        ...

    def parcels(
        self, shard: int | None, limit: int, /, incarnations: Sequence[int] | None = None, before: int | None = None
    ) -> list[Parcel]:
        """What is in the outbox for a shard, or for all, in the order in which it was sent, at most so many.

        Of these instances only (for one shard), or only what was sent before a moment.
        """
        ...

    def lowest_parcel(self) -> int:
        """The lowest number of a parcel in the outbox; if there is none, one that is above all that were there."""
        ...

    def workers(self) -> list[WorkerRecord]:
        """The registered workers, also dead ones that nobody has buried, in order of registration."""
        ...


Meanwhile: TypeAlias = Callable[[], int | None]
"""Does some work, and says in how many milliseconds there may be more of it: None, not before the answer is there."""


class Wakes(Protocol):
    """A store that hears of what others have written; any other one is asked all the time whether it has `changed`."""

    def wake_by(self, wake: Callable[[], None], /) -> None:
        """Have `wake` called when there may be something new for this handle; takes the place of an earlier one.

        From any thread, and until the handle is closed; it neither blocks nor raises. It is a hint: one too many is
        harmless, and one that gets lost costs time alone, as whoever asked for it looks by itself now and then.
        """
        ...


class Waits(Protocol):
    """A store that is waited for without anything left to do, as on the way to a server and back."""

    def while_waiting(self, work: Meanwhile, /) -> None:
        """Have `work` called while `commit`, `reap` or `changed` waits, by the thread that called that.

        It takes the place of an earlier one. Everything has been sent by then, so it holds nothing up; how the commit
        ends is not known yet. It is called again when the time is over that it has told, and perhaps not at all. Of the
        store it does no more than read, and it does not raise.
        """
        ...


class Stamped(Protocol):
    """A store that can be one of the shards of a larger one."""

    def stamp(self, stamp: ShardStamp | None = None, /) -> ShardStamp | None:
        """Which shard of which sharded store this is, None if of none; `stamp` is what it becomes if it is none yet."""
        ...

    def identity(self) -> str:
        """The same for all that are open on this store, by whatever names it was reached; for no other store."""
        ...
