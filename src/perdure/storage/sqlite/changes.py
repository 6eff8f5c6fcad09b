"""The rows that a segment of a batch writes, by kind, and the one statement per kind that writes them.

Laws kept here: nothing is judged here, so everything that is collected can be applied; messages are added in the order
of the items, because arrival is an order.
"""

from perdure._types import Status
from perdure._work import (
    ChildStart,
    Deliver,
    InstanceChange,
    InstanceRelease,
    NewInstance,
    NewTask,
    OutMessage,
    TaskDone,
    TaskRelease,
    TaskRetry,
    Turn,
)
from perdure.storage.sqlite.rows import Place, encode_rows
from perdure.storage.sqlite.statements import STATEMENTS
from perdure.storage.sqlite.transaction import Transaction

CLOSED = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.TERMINATED})

_NO_CHANGE = InstanceChange()
_NOWHERE: Place = (None, None)
_LEFTOVERS = STATEMENTS["leftovers"]
_RECEIVERS = STATEMENTS["receivers"]
_BEFORE_MESSAGES = (
    "create_instances", "append_history", "consume_messages", "add_plain_tasks", "add_tasks", "remove_tasks",
    "add_timers", "remove_timers",
)  # fmt: skip
_AFTER_MESSAGES = (
    "add_messages", "add_dedup_keys", "end_executions_tasks", "end_executions_timers", "end_executions_messages",
    "add_next_starts", "change_instances",
)  # fmt: skip
_AT_LAST = ("release_instances", "retry_tasks", "release_tasks")
_TIMED = {
    "create_instances", "append_history", "add_plain_tasks", "add_tasks", "add_messages", "add_next_starts",
    "change_instances", "release_instances", "retry_tasks", "release_tasks",
}  # fmt: skip
"""The statements that take payloads and the store's time beside their rows."""


class _Rows:
    """Rows for one statement, with their payloads."""

    __slots__ = ("_parts", "_size", "rows")

    def __init__(self) -> None:
        self.rows: list[tuple[object, ...]] = []
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, payload: bytes | None) -> Place:
        """Take a payload in, and say where it lies."""
        if payload is None:
            return _NOWHERE
        self._parts.append(payload)
        start, size = self._size, len(payload)
        self._size = start + size
        return start + 1, size

    def payloads(self) -> bytes:
        """All payloads, one after the other."""
        return b"".join(self._parts)


class _Tables(dict[str, _Rows]):
    """Rows by the statement that takes them; what is asked for is there."""

    def __missing__(self, statement: str) -> _Rows:
        rows = self[statement] = _Rows()
        return rows


class Changes:
    """What a segment does to each table. Collect items in their order, then `write` once."""

    def __init__(self, worker: int | None) -> None:
        self._worker = worker
        self._tables = _Tables()
        self._closed: list[int] = []
        self._outgoing: list[tuple[int, int, OutMessage]] = []
        self.skipped: dict[int, list[str]] = {}
        """By an item's place: the receivers and detached starts that it passed over."""

    def create(self, new: NewInstance) -> None:
        """An instance that waits for its start."""
        self._add_instance(new, Status.PENDING, None, _NO_CHANGE)
        self.message(new.incarnation, new.start)

    def message(
        self, incarnation: int | None, body: bytes, *, control: bool = False, execution: int | None = None
    ) -> None:
        """A message to an instance that is there and open, now or when the segment has created it."""
        table = self._tables["add_messages"]
        table.rows.append((incarnation, execution, control, *table.add(body)))

    def deliver(self, incarnation: int, item: Deliver) -> None:
        """A client's message."""
        if item.dedup_key is not None:
            self._tables["add_dedup_keys"].rows.append((incarnation, item.dedup_key))
        self.message(incarnation, item.body, control=item.control)

    def end_attempt(self, item: TaskDone | TaskRetry | TaskRelease) -> None:
        """What becomes of a task that this worker owned."""
        key = item.incarnation, item.execution, item.event
        match item:
            case TaskDone():
                self._tables["remove_tasks"].rows.append(key)
                self.message(item.incarnation, item.body, execution=item.execution)
            case TaskRetry():
                table = self._tables["retry_tasks"]
                table.rows.append((*key, item.attempt, item.delay_us, *table.add(item.last_error)))
            case TaskRelease():
                self._tables["release_tasks"].rows.append((*key, item.delay_us))

    def release(self, item: InstanceRelease) -> None:
        """An instance is handed back."""
        self._tables["release_instances"].rows.append((item.incarnation, item.delay_us, self._worker))

    def drop_tasks(self, incarnation: int, execution: int, events: tuple[int, ...]) -> None:
        """Tasks that are over."""
        self._tables["remove_tasks"].rows += [(incarnation, execution, event) for event in events]

    def turn(self, place: int, turn: Turn, taken: frozenset[str], *, wakes: bool) -> None:
        """A turn that was found good. `taken`: ids of children that others have; `wakes`: it was pending or held."""
        incarnation, execution, change = turn.incarnation, turn.execution, turn.change
        history = turn.history
        if history is not None:
            table = self._tables["append_history"]
            row: tuple[object, ...] = (
                incarnation, execution, history.first, history.last, history.at, history.format, history.crc,
                history.encoding, *table.add(history.data),
            )  # fmt: skip
            table.rows.append(row)
        for task in turn.tasks:
            self._add_task(incarnation, execution, task)
        for event in turn.tasks_gone:
            self._tables["remove_tasks"].rows.append((incarnation, execution, event))
        if turn.consumed:
            self._tables["consume_messages"].rows += [(incarnation, seq) for seq in turn.consumed]
        if turn.timers or turn.timers_gone:
            self._change_timers(turn)
        if turn.starts or turn.messages:
            self._start_and_send(place, turn, taken)
        if turn.create is not None and self._bear(turn, turn.create):
            return
        if change is not None or wakes or history is None or turn.next_start is not None:
            self._change(turn, change or _NO_CHANGE)

    def write(self, transaction: Transaction) -> None:
        """Apply everything, each kind with one statement."""
        self._run(transaction, _BEFORE_MESSAGES)
        if self._outgoing:
            self._find_receivers(transaction)
        self._run(transaction, _AFTER_MESSAGES)
        if self._closed:
            self._clear_closed(transaction)
        self._run(transaction, _AT_LAST)

    def _run(self, transaction: Transaction, statements: tuple[str, ...]) -> None:
        tables = self._tables
        for statement in statements:
            if statement in tables:
                table = tables[statement]
                rows = encode_rows(table.rows)
                bindings = (rows, table.payloads(), transaction.now) if statement in _TIMED else (rows,)
                transaction.execute(STATEMENTS[statement], bindings)

    def _clear_closed(self, transaction: Transaction) -> None:
        """A closed instance has nothing that waits; mostly its last turn has seen to that already."""
        leftovers = transaction.ask(_LEFTOVERS, encode_rows(self._closed))
        if leftovers:
            rows = encode_rows(leftovers)
            for statement in ("clear_tasks", "clear_timers", "clear_messages"):
                transaction.execute(STATEMENTS[statement], (rows,))

    def _bear(self, turn: Turn, new: NewInstance) -> bool:
        """Create the instance of a turn; whether with the turn's changes already made, which simple ones are."""
        change = turn.change or _NO_CHANGE
        simple = change.execution is None and change.output is None and change.error is None
        if simple and turn.next_start is None and change.status not in CLOSED:
            self._add_instance(new, change.status or Status.RUNNING, self._worker, change)
            return True
        self._add_instance(new, Status.PENDING, self._worker, _NO_CHANGE)
        return False

    def _add_instance(self, new: NewInstance, status: Status, owner: int | None, change: InstanceChange) -> None:
        parent = new.parent
        # An owned one has consumed its start already.
        start_at = new.start_at if owner is None else None
        table = self._tables["create_instances"]
        family: tuple[object, ...] = (None, None, None, None)
        if parent is not None:
            family = parent.instance_id, parent.incarnation, parent.execution, parent.event
        row = (
            new.incarnation, new.id, new.name, change.version or new.version, status, owner, start_at, new.root,
            new.slot, *family, change.cancel_requested, int(change.custom_status is not None),
            *table.add(new.attributes), *table.add(change.custom_status),
        )  # fmt: skip
        table.rows.append(row)

    def _change_timers(self, turn: Turn) -> None:
        incarnation, execution = turn.incarnation, turn.execution
        if turn.timers:
            rows = [(incarnation, execution, event, fire_at) for event, fire_at in turn.timers]
            self._tables["add_timers"].rows += rows
        if turn.timers_gone:
            self._tables["remove_timers"].rows += [(incarnation, execution, event) for event in turn.timers_gone]

    def _add_task(self, incarnation: int, execution: int, task: NewTask) -> None:
        owner = self._worker if task.local else None
        plain = (
            task.priority == 0
            and task.tag is None
            and task.session is None
            and task.concurrency_key is None
            and task.schedule_to_start_us is None
            and task.total_timeout_us is None
            and task.on_unknown == "repeat"
        )
        table = self._tables["add_plain_tasks" if plain else "add_tasks"]
        add = table.add
        retry = _NOWHERE if task.retry is None else add(task.retry)
        row: tuple[object, ...] = (incarnation, execution, task.event, owner, task.name, *add(task.input), *retry)
        if not plain:
            row += (
                task.priority, task.on_unknown, task.schedule_to_start_us, task.total_timeout_us, task.tag,
                task.session, task.concurrency_key,
            )  # fmt: skip
        table.rows.append(row)

    def _start_and_send(self, place: int, turn: Turn, taken: frozenset[str]) -> None:
        started = set() if turn.create is None else {turn.create.id}
        for child in turn.starts:
            self._start_child(place, turn, child, child.new.id in taken or child.new.id in started)
            started.add(child.new.id)
        for message in turn.messages:
            self._outgoing.append((place, len(self._tables["add_messages"].rows), message))
            self.message(None, message.body, control=message.control)

    def _start_child(self, place: int, turn: Turn, child: ChildStart, taken: bool) -> None:  # noqa: FBT001 - private
        if not taken:
            self.create(child.new)
        elif child.refused is not None:
            self.message(turn.incarnation, child.refused)
        else:
            self.skipped.setdefault(place, []).append(child.new.id)

    def _find_receivers(self, transaction: Transaction) -> None:
        """Address the messages that turns send, now that all instances of the segment are there."""
        wanted = [(out.to_id, out.to_incarnation, out.child_of) for _, _, out in self._outgoing]
        found = transaction.ask(_RECEIVERS, encode_rows(wanted))
        table = self._tables["add_messages"]
        rows = table.rows
        for (place, number, out), incarnation in zip(self._outgoing, found, strict=True):
            rows[number] = (incarnation, *rows[number][1:])
            if incarnation is None:
                receiver = str(out.to_incarnation) if out.to_id is None else out.to_id
                self.skipped.setdefault(place, []).append(receiver)
        table.rows = [row for row in rows if row[0] is not None]

    def _change(self, turn: Turn, change: InstanceChange) -> None:
        """What becomes of the instance's own row, and of what waits when an execution ends."""
        incarnation = turn.incarnation
        table = self._tables["change_instances"]
        add = table.add
        row = (
            incarnation, change.status, change.version, change.execution, change.cancel_requested,
            *add(change.output), *add(change.error), *add(change.custom_status), turn.next_start is not None,
        )  # fmt: skip
        table.rows.append(row)
        if change.status in CLOSED:
            self._closed.append(incarnation)
        if change.execution not in (None, turn.execution):
            for statement in ("end_executions_tasks", "end_executions_timers", "end_executions_messages"):
                self._tables[statement].rows.append((incarnation, turn.execution))
        if turn.next_start is not None:
            table = self._tables["add_next_starts"]
            table.rows.append((incarnation, *table.add(turn.next_start)))
