"""The rows that a segment of a batch writes, by kind, and the one statement per kind that writes them.

Laws kept here: nothing is judged here, so everything that is collected can be applied; messages are added in the order
of the items, because arrival is an order.
"""

from collections.abc import Iterable, Mapping

from perdure._types import Status
from perdure._work import (
    COMING,
    ChildStart,
    Deliver,
    InstanceChange,
    InstanceRelease,
    NewInstance,
    NewTask,
    OutMessage,
    TaskBeat,
    TaskDone,
    TaskItem,
    TaskRelease,
    TaskRetry,
    Turn,
)
from perdure.storage.lanes import is_plain, lane_of, limit_columns
from perdure.storage.sqlite.local_tasks import expected, new_local_task
from perdure.storage.sqlite.rows import encode_rows
from perdure.storage.sqlite.statements import STATEMENTS, RowStatement
from perdure.storage.sqlite.transaction import Transaction

CLOSED = frozenset(status for status in Status if status.is_closed)

_NO_CHANGE = InstanceChange()
_NO_PROGRESS = (0, None, None, None, None)
"""The last event and the local task of an instance before its first turn."""
_LEFTOVERS = STATEMENTS["leftovers"]
_RECEIVERS = STATEMENTS["receivers"]
_BEFORE_MESSAGES = (
    "create_instances", "append_history", "go_on", "go_on_beside", "consume_messages", "add_plain_tasks", "add_tasks",
    "remove_tasks", "stop_tasks", "add_timers", "remove_timers", "put_entries", "remove_entries",
)  # fmt: skip
_AFTER_MESSAGES = (
    "add_messages", "add_parcels", "add_dedup_keys", "end_executions_tasks", "end_executions_timers",
    "end_executions_messages", "add_next_starts", "change_instances", "catch_up",
)  # fmt: skip
_AT_LAST = ("release_instances", "beat_tasks", "retry_tasks", "release_tasks")
_STATEMENTS = {name: RowStatement(name) for name in (*_BEFORE_MESSAGES, *_AFTER_MESSAGES, *_AT_LAST)}
_TIMED = {
    "create_instances", "go_on", "go_on_beside", "add_plain_tasks", "add_tasks", "add_messages", "add_parcels",
    "add_next_starts", "change_instances", "put_entries", "release_instances", "beat_tasks", "retry_tasks",
    "release_tasks", "stop_tasks",
}  # fmt: skip
"""The statements that take the store's time before their rows."""


def _columns(task: NewTask | None) -> tuple[object, ...]:
    """What a local task has in the row of its instance."""
    return (None, None, None, None) if task is None else (task.event, task.name, task.retry, task.input)


def _is_born_at_once(turn: Turn) -> bool:
    """Whether an instance is created as its first turn leaves it: nearly all are."""
    change = turn.change or _NO_CHANGE
    simple = change.execution is None and change.output is None and change.error is None
    return simple and turn.next_start is None and change.status not in CLOSED and change.min_reader is None


def _ends(turn: Turn) -> bool:
    """Whether the execution of a turn ends with it."""
    change = turn.change
    return change is not None and (change.status in CLOSED or change.execution not in (None, turn.execution))


def clear_closed(transaction: Transaction, closed: list[int]) -> None:
    """A closed instance has nothing that waits; mostly its last turn has seen to that already."""
    leftovers = transaction.ask(_LEFTOVERS, encode_rows(closed))
    if leftovers:
        rows = encode_rows(leftovers)
        for statement in ("clear_tasks", "clear_timers", "clear_messages"):
            transaction.execute(STATEMENTS[statement], (rows,))


class _Tables(dict[str, list[object]]):
    """The values of rows, one after the other, by the statement that takes them; what is asked for is there."""

    def __init__(self, now: int) -> None:
        super().__init__()
        self._now = now

    def __missing__(self, statement: str) -> list[object]:
        values = self[statement] = [self._now] if statement in _TIMED else []
        return values


class Changes:
    """What a segment does to each table. Collect items in their order, then `write` once."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._worker = transaction.worker
        self._tables = _Tables(transaction.now)
        self._births: dict[int, tuple[object, ...]] = {}
        self._closed: list[int] = []
        self._outgoing: list[tuple[int, int, OutMessage]] = []
        self.skipped: dict[int, list[str]] = {}
        """By an item's place: the receivers and detached starts that it passed over."""

    def create(self, new: NewInstance) -> None:
        """An instance that waits for its start."""
        self._add_instance(new, Status.PENDING, None, _NO_CHANGE, _NO_PROGRESS)
        self.message(new.incarnation, new.start)

    def message(
        self, incarnation: int | None, body: bytes, *, control: bool = False, execution: int | None = None
    ) -> None:
        """A message to an instance that is there and open, now or when the segment has created it."""
        self._tables["add_messages"] += (incarnation, execution, control, body)

    def deliver(self, incarnation: int, item: Deliver) -> None:
        """A client's message."""
        if item.dedup_key is not None:
            self._tables["add_dedup_keys"] += (incarnation, item.dedup_key)
        self.message(incarnation, item.body, control=item.control)

    def of_task(self, item: TaskItem) -> None:
        """What becomes of a task that this worker owns."""
        key = item.incarnation, item.execution, item.event
        match item:
            case TaskDone():
                self._tables["remove_tasks"] += key
                self.message(item.incarnation, item.body, execution=item.execution)
            case TaskBeat():
                self._tables["beat_tasks"] += (*key, item.details, item.began)
            case TaskRetry():
                self._tables["retry_tasks"] += (
                    *key, item.attempt, item.delay_us, item.last_error, item.details, item.began_at,
                )  # fmt: skip
            case TaskRelease():
                self._tables["release_tasks"] += (*key, item.delay_us, item.details)

    def release(self, item: InstanceRelease) -> None:
        """An instance is handed back."""
        self._tables["release_instances"] += (item.incarnation, item.delay_us)

    def consume(self, incarnation: int, seqs: tuple[int, ...]) -> None:
        """Messages that have been taken in."""
        for seq in seqs:
            self._tables["consume_messages"] += (incarnation, seq)

    def drop_tasks(self, incarnation: int, execution: int, events: tuple[int, ...]) -> None:
        """Tasks that are over."""
        for event in events:
            self._tables["remove_tasks"] += (incarnation, execution, event)

    def go_on(self, turns: Iterable[Turn], local_tasks: Mapping[int, int | None]) -> None:
        """What turns that were found good bring to the tables of their own: most bring nothing else.

        `local_tasks` are those of the instances where they are others than `expected`.
        """
        tables, now = self._tables, self._transaction.now
        history = tables["append_history"]
        for turn in turns:
            incarnation, execution, row = turn.incarnation, turn.execution, turn.history
            if row is not None:
                history += (
                    incarnation, execution, row.first, row.last, row.at, row.format, row.crc, row.encoding, row.data,
                )  # fmt: skip
                if row.at > now:
                    tables["catch_up"] += (incarnation, row.at)
            self._go_on_with_tasks(turn, local_tasks.get(incarnation, expected(turn)))
            for seq in turn.consumed:
                tables["consume_messages"] += (incarnation, seq)
            for event, fire_at in turn.timers:
                tables["add_timers"] += (incarnation, execution, event, fire_at)
            for event in turn.timers_gone:
                tables["remove_timers"] += (incarnation, execution, event)
            if turn.tasks_stopped or turn.entries:
                self._stop_and_keep(turn)

    def _stop_and_keep(self, turn: Turn) -> None:
        """What few turns bring."""
        tables, incarnation = self._tables, turn.incarnation
        for event in turn.tasks_stopped:
            tables["stop_tasks"] += (incarnation, turn.execution, event)
        for entry in turn.entries:
            if entry.value is None:
                tables["remove_entries"] += (incarnation, entry.shelf, entry.key)
            else:
                tables["put_entries"] += (incarnation, entry.shelf, entry.key, entry.passing, entry.value)

    def _go_on_with_tasks(self, turn: Turn, local: int | None) -> None:
        """What a turn does to its tasks, and that its instance has come so far."""
        tables, incarnation, execution = self._tables, turn.incarnation, turn.execution
        new = new_local_task(turn, local)
        if new is None:
            for task in turn.tasks:
                self._add_task(incarnation, execution, task)
        for event in turn.tasks_gone:
            if event != local:
                tables["remove_tasks"] += (incarnation, execution, event)
        last = turn.base if turn.history is None else turn.history.last
        if turn.create is not None and _is_born_at_once(turn):
            self._births[incarnation] = (last, *_columns(new))
        elif _ends(turn):
            pass  # `change_instances` says it all
        elif local is not None and local not in turn.tasks_gone:
            tables["go_on_beside"] += (incarnation, last)
        else:
            tables["go_on"] += (incarnation, last, *_columns(new))

    def turn(self, place: int, turn: Turn, taken: frozenset[str], *, wakes: bool) -> None:
        """The rest of a turn. `taken`: ids of children that others have; `wakes`: it was pending or held."""
        if turn.starts or turn.messages:
            self._start_and_send(place, turn, taken)
        if turn.create is not None and self._bear(turn, turn.create):
            return
        if turn.change is not None or wakes or turn.history is None or turn.next_start is not None:
            self._change(turn, turn.change or _NO_CHANGE)

    def write(self) -> None:
        """Apply everything, each kind with one statement."""
        self._run(_BEFORE_MESSAGES)
        if self._outgoing:
            self._find_receivers()
        self._run(_AFTER_MESSAGES)
        if self._closed:
            clear_closed(self._transaction, self._closed)
        self._run(_AT_LAST)

    def _run(self, statements: tuple[str, ...]) -> None:
        tables = self._tables
        for statement in statements:
            if statement in tables:
                _STATEMENTS[statement].write(self._transaction.execute, tables[statement])

    def _bear(self, turn: Turn, new: NewInstance) -> bool:
        """Create the instance of a turn; whether with the turn's changes already made, which simple ones are."""
        if _is_born_at_once(turn):
            change = turn.change or _NO_CHANGE
            progress = self._births.pop(turn.incarnation)
            self._add_instance(new, change.status or Status.RUNNING, self._worker, change, progress)
            return True
        self._add_instance(new, Status.PENDING, self._worker, _NO_CHANGE, _NO_PROGRESS)
        return False

    def _add_instance(
        self,
        new: NewInstance,
        status: Status,
        owner: int | None,
        change: InstanceChange,
        progress: tuple[object, ...],
    ) -> None:
        parent = new.parent
        # An owned one has consumed its start already.
        start_at = new.start_at if owner is None else None
        family: tuple[object, ...] = (None, None, None, None)
        if parent is not None:
            family = parent.instance_id, parent.incarnation, parent.execution, parent.event
        self._tables["create_instances"] += (
            new.incarnation, new.id, new.name, change.version or new.version, status, owner, start_at, new.root,
            new.slot, *family, change.cancel_requested, change.custom_status_steps, new.attributes,
            change.custom_status, *progress,
        )  # fmt: skip

    def _add_task(self, incarnation: int, execution: int, task: NewTask) -> None:
        owner = self._worker if task.local else None
        if is_plain(task):
            self._tables["add_plain_tasks"] += (
                incarnation, execution, task.event, owner, task.name, task.input, task.retry,
            )  # fmt: skip
            return
        self._tables["add_tasks"] += (
            incarnation, execution, task.event, owner, task.name, task.input, task.retry, task.priority,
            task.schedule_to_start_us, task.total_timeout_us, task.tag, task.session, lane_of(task),
            *limit_columns(task), task.permit,
        )  # fmt: skip

    def _start_and_send(self, place: int, turn: Turn, taken: frozenset[str]) -> None:
        started = set() if turn.create is None else {turn.create.id}
        for child in turn.starts:
            self._start_child(place, turn, child, child.new.id in taken or child.new.id in started)
            started.add(child.new.id)
        for message in turn.messages:
            if message.shard is not None:
                self._tables["add_parcels"] += (message.shard, turn.incarnation, message.body)
                continue
            self._outgoing.append((place, len(self._tables["add_messages"]), message))
            self.message(None, message.body, control=message.control)

    def _start_child(self, place: int, turn: Turn, child: ChildStart, taken: bool) -> None:  # noqa: FBT001 - private
        if not taken:
            self.create(child.new)
        elif child.refused is not None:
            self.message(turn.incarnation, child.refused)
        else:
            self.skipped.setdefault(place, []).append(child.new.id)

    def _find_receivers(self) -> None:
        """Address the messages that turns send, now that all instances of the segment are there."""
        wanted = [(out.to_id, out.to_incarnation, out.child_of) for _, _, out in self._outgoing]
        found = self._transaction.ask(_RECEIVERS, encode_rows(wanted), COMING)
        values = self._tables["add_messages"]
        for (place, position, out), incarnation in zip(self._outgoing, found, strict=True):
            # A message to nobody stays null, and is passed over.
            values[position] = incarnation
            if incarnation is None:
                receiver = str(out.to_incarnation) if out.to_id is None else out.to_id
                self.skipped.setdefault(place, []).append(receiver)

    def _change(self, turn: Turn, change: InstanceChange) -> None:
        """What becomes of the instance's own row, and of what waits when an execution ends."""
        incarnation, ends = turn.incarnation, _ends(turn)
        last_event = None if turn.history is None else turn.history.last
        if change.execution not in (None, turn.execution):
            last_event = 0
        self._tables["change_instances"] += (
            incarnation, change.status, change.version, change.execution, change.cancel_requested, change.output,
            change.error, change.custom_status, turn.next_start is not None, change.custom_status_steps, last_event,
            ends, change.min_reader,
        )  # fmt: skip
        if change.status in CLOSED:
            self._closed.append(incarnation)
        if change.execution not in (None, turn.execution):
            for statement in ("end_executions_tasks", "end_executions_timers", "end_executions_messages"):
                self._tables[statement] += (incarnation, turn.execution)
        if turn.next_start is not None:
            self._tables["add_next_starts"] += (incarnation, turn.next_start)
