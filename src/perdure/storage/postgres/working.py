"""What a segment of a batch works on: the rows of instances that it has locked or makes, and what it adds to them.

Laws kept here: an item is judged by what those before it have done, whether that is in the store already or only here;
what is removed here was added here, and what lies in the store is removed there.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from perdure._types import Status
from perdure._work import Entry, HistoryRow, InstanceChange, NewInstance, NewTask, Turn

if TYPE_CHECKING:
    from perdure.storage.postgres.wire import Call

CLOSED = frozenset(status for status in Status if status.is_closed)

TaskKey: TypeAlias = tuple[int, int, int]
"""Incarnation, execution, event."""

TaskName: TypeAlias = tuple[int, int]
"""Execution, event."""


class Added:
    """A message that the segment adds; `body` is None once it has been taken back."""

    __slots__ = ("body", "control", "due", "execution", "incarnation")

    def __init__(self, incarnation: int, execution: int | None, due: int, control: bool, body: bytes) -> None:  # noqa: FBT001 - made in one place
        self.incarnation = incarnation
        self.execution = execution
        self.due = due
        self.control = control
        self.body: bytes | None = body


class Row:
    """The row of an instance as it is now, and what the segment has done to it."""

    __slots__ = (
        "added", "cancel_requested", "changed", "custom_status", "custom_status_version", "deliveries", "error",
        "execution", "held_after", "held_because", "id", "incarnation", "last_event", "min_reader", "moved", "new",
        "output", "owner", "parent_incarnation", "ready_at", "released_by", "released_until", "sealed", "status",
        "touched", "updated_at", "version",
    )  # fmt: skip

    def __init__(self, columns: Sequence[Any], now: int) -> None:
        """A row with the columns of the statement `lock_instances`."""
        (
            self.incarnation, self.id, self.status, self.owner, self.execution, self.version, self.parent_incarnation,
            self.ready_at, self.held_after, self.held_because, self.released_by, self.released_until,
            self.cancel_requested, self.custom_status_version, self.deliveries,
        ) = columns  # fmt: skip
        self.custom_status: bytes | None = None
        self.output: bytes | None = None
        self.error: bytes | None = None
        self.last_event = 0
        self.updated_at = now
        """What it becomes, unless it is later already."""
        self.min_reader: int | None = None
        """What it becomes, if anything."""
        self.new: NewInstance | None = None
        self.added: list[Added] | None = None
        self.touched = False
        """Whether its record is another than the one in the store."""
        self.changed = False
        """Whether its own row is."""
        self.moved = False
        """Whether no more of its row is than who has it."""
        self.sealed = False
        """Whether its next execution was started: its turns from here on belong to another segment."""

    @property
    def closed(self) -> bool:
        """Whether it has ended."""
        return self.status in CLOSED

    def change(self, change: InstanceChange, *, restarts: bool) -> None:
        """What a turn changes; it has been running since."""
        before = self.status
        if change.status is not None:
            self.status = change.status
        elif before in (Status.PENDING, Status.HELD):
            self.status = Status.RUNNING
        if self.status != Status.SUSPENDED:
            self.held_because = None
        self.deliveries = 1
        if restarts or change.version is not None:
            self.version = change.version
        self.cancel_requested = self.cancel_requested or change.cancel_requested
        if change.min_reader is not None:
            self.min_reader = change.min_reader
        if change.output is not None:
            self.output = change.output
        if change.error is not None:
            self.error = change.error
        if change.custom_status is not None:
            self.custom_status = change.custom_status
            self.custom_status_version += change.custom_status_sets


class Working:
    """The rows, and everything that the segment adds to the tables or takes out of them."""

    def __init__(self, worker: int | None, now: int) -> None:
        self.worker = worker
        self.now = now
        self.by_incarnation: dict[int, Row] = {}
        self.by_id: dict[str, Row] = {}
        self.busy: frozenset[str] = frozenset()
        """Ids that open transactions of others are about to take."""
        self.lanes: set[str] = set()
        """Those of the owned tasks."""
        self.owned_tasks: dict[int, set[TaskName]] = {}
        self.known_keys: set[tuple[str, str]] = set()
        self.new_keys: list[tuple[int, str]] = []
        self.messages: list[Added] = []
        self.first_messages: list[tuple[int, int | None, bytes]] = []
        self.parcels: list[tuple[int, int, bytes]] = []
        """By shard, who has sent what."""
        self.history: list[tuple[int, int, HistoryRow, int]] = []
        """Of an instance, its execution, what was written, and the instance's `updated_at` from then on."""
        self.steps: dict[int, int] = {}
        """Whose turns, of the segment, are steps that pass, and when the one before was committed."""
        self.stepped: list[Turn] = []
        """Those of them that the segment has come to."""
        self.stepped_at: list[int] = []
        """The `updated_at` of their instances from then on."""
        self.consumed: list[tuple[int, int]] = []
        self.tasks: dict[int, dict[TaskName, NewTask]] = {}
        self.tasks_gone: list[TaskKey] = []
        self.tasks_stopped: list[TaskKey] = []
        self.beats: dict[TaskKey, tuple[bytes | None, int | None]] = {}
        """What activities have said last, and when they were about to be called."""
        self.retried: list[tuple[int, int, int, int, int, bool, bytes | None, bytes | None, int | None]] = []
        self.released: list[tuple[int, int, int, int, bool, bytes | None]] = []
        self.entries: dict[tuple[int, str, str], Entry] = {}
        self.timers: dict[int, dict[TaskName, int]] = {}
        self.timers_gone: list[TaskKey] = []
        self.ended: list[tuple[int, int]] = []
        self.cleared: list[int] = []
        self.removed: list[int] = []
        self.pruned: list[tuple[int, int]] = []
        self.further: list[Call] = []
        """Statements of items that go alone."""
        self.woken: set[int] = set()
        """Workers for whose instances there is something new."""
        self.news = False
        """Whether there is something new for anybody."""

    @property
    def frees(self) -> bool:
        """Whether tasks that have owners may have none any more."""
        return bool(
            self.tasks_gone
            or self.stepped
            or self.retried
            or self.released
            or self.ended
            or self.cleared
            or self.removed
            or self.further
        )

    def know(self, row: Row) -> None:
        """A row of the store, locked."""
        self.by_incarnation[row.incarnation] = self.by_id[row.id] = row

    def create(self, new: NewInstance, *, owner: int | None) -> Row:
        """A pending instance, which waits for its start unless it is born owned, by whom has the start already."""
        waits = owner is None and new.start_at is not None
        parent = None if new.parent is None else new.parent.incarnation
        ready_at = max(self.now, new.start_at or 0) if waits else self.now
        nothing = (None, None, None, None, False, 0, 1)
        row = Row(
            (new.incarnation, new.id, Status.PENDING, owner, 1, new.version, parent, ready_at, *nothing), self.now
        )
        row.new = new
        row.touched = True
        self.know(row)
        if owner is None:
            self.message(row, new.start)
        return row

    def message(self, row: Row, body: bytes, *, control: bool = False, execution: int | None = None) -> None:
        """A message that waits; before the instance's start only a control message can be due."""
        due = self.now if control else max(self.now, row.ready_at)
        added = Added(row.incarnation, execution, due, control, body)
        self.messages.append(added)
        if row.added is None:
            row.added = [added]
        else:
            row.added.append(added)
        if row.owner is None:
            self.news = True
        elif row.owner != self.worker:
            self.woken.add(row.owner)

    def first_message(self, row: Row, body: bytes) -> None:
        """The start of the next execution, before all that waits."""
        waiting = [each.due for each in row.added or () if each.body is not None]
        waiting += self.timers.get(row.incarnation, {}).values()
        self.first_messages.append((row.incarnation, min(waiting, default=None), body))
        row.ready_at = max(self.now, row.ready_at)
        row.sealed = True

    def step(self, turn: Turn) -> None:
        """One of these has its place."""
        self.stepped.append(turn)
        told = 0 if turn.history is None else turn.history.at
        self.stepped_at.append(max(self.now, told, self.steps[turn.incarnation]))
        if not turn.tasks[0].local:
            self.news = True

    def drop_tasks(self, incarnation: int, execution: int, events: tuple[int, ...]) -> None:
        """Tasks that are over."""
        new, owned = self.tasks.get(incarnation), self.owned_tasks.get(incarnation)
        for event in events:
            if new:
                new.pop((execution, event), None)
            if owned:
                owned.discard((execution, event))
            self.tasks_gone.append((incarnation, execution, event))

    def drop_timers(self, incarnation: int, execution: int, events: tuple[int, ...]) -> None:
        """Timers that have fired or are not wanted any more."""
        new = self.timers.get(incarnation)
        for event in events:
            if new:
                new.pop((execution, event), None)
            self.timers_gone.append((incarnation, execution, event))

    def end_execution(self, row: Row, execution: int) -> None:
        """What belongs to an execution goes with it: timers, tasks, outcomes of activities."""
        if row.new is None:
            self.ended.append((row.incarnation, execution))
        self._forget(row, execution)
        for each in row.added or ():
            if each.execution == execution:
                each.body = None

    def clear(self, row: Row) -> None:
        """What only an open instance has goes: messages, timers, tasks, an owner."""
        if row.new is None:
            self.cleared.append(row.incarnation)
        self._forget(row, None)
        for each in row.added or ():
            each.body = None
        row.owner = None

    def _forget(self, row: Row, execution: int | None) -> None:
        """Tasks and timers of an execution (None: of all) that are in the segment only, or could be ended in it."""
        incarnation = row.incarnation
        for new in (self.tasks.get(incarnation), self.timers.get(incarnation)):
            for key in [key for key in new or () if execution in (None, key[0])]:
                del new[key]  # type: ignore[union-attr]  # one of two dicts with these keys, if there is one
        owned = self.owned_tasks.get(incarnation)
        if owned:
            owned.difference_update([key for key in owned if execution in (None, key[0])])

    def remove(self, incarnation: int) -> None:
        """An instance and all that belongs to it."""
        row = self.by_incarnation.pop(incarnation, None)
        if row is not None:
            del self.by_id[row.id]
        self.entries = {key: entry for key, entry in self.entries.items() if key[0] != incarnation}
        self.removed.append(incarnation)
