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
from perdure.storage.sqlite.rows import Payloads, encode_rows
from perdure.storage.sqlite.statements import STATEMENTS
from perdure.storage.sqlite.transaction import Transaction

CLOSED = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.TERMINATED})

_NO_CHANGE = InstanceChange()
_RECEIVERS = STATEMENTS["receivers"]


class _Rows:
    """Rows of one kind with their payloads."""

    __slots__ = ("_statement", "payloads", "rows")

    def __init__(self, statement: str) -> None:
        self._statement = STATEMENTS[statement]
        self.rows: list[tuple[object, ...]] = []
        self.payloads = Payloads()

    def write(self, transaction: Transaction, *more: object) -> None:
        """Run the statement, if there is a row."""
        if self.rows:
            transaction.execute(self._statement, (encode_rows(self.rows), *more))

    def write_with_payloads(self, transaction: Transaction) -> None:
        """Run the statement, which also takes payloads and the time, if there is a row."""
        if self.rows:
            transaction.execute(self._statement, (encode_rows(self.rows), self.payloads.joined(), transaction.now))


class Changes:
    """What a segment does to each table. Collect items in their order, then `write` once."""

    def __init__(self, worker: int | None) -> None:
        self._worker = worker
        self._instances = _Rows("create_instances")
        self._history = _Rows("append_history")
        self._consumed = _Rows("consume_messages")
        self._plain_tasks = _Rows("add_plain_tasks")
        self._tasks = _Rows("add_tasks")
        self._tasks_gone = _Rows("remove_tasks")
        self._timers = _Rows("add_timers")
        self._timers_gone = _Rows("remove_timers")
        self._messages = _Rows("add_messages")
        self._dedup_keys = _Rows("add_dedup_keys")
        self._ended: list[tuple[int, int]] = []
        self._next_starts = _Rows("add_next_starts")
        self._changes = _Rows("change_instances")
        self._releases = _Rows("release_instances")
        self._retries = _Rows("retry_tasks")
        self._task_releases = _Rows("release_tasks")
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
        self._messages.rows.append((incarnation, execution, control, *self._messages.payloads.add(body)))

    def deliver(self, incarnation: int, item: Deliver) -> None:
        """A client's message."""
        if item.dedup_key is not None:
            self._dedup_keys.rows.append((incarnation, item.dedup_key))
        self.message(incarnation, item.body, control=item.control)

    def end_attempt(self, item: TaskDone | TaskRetry | TaskRelease) -> None:
        """What becomes of a task that this worker owned."""
        key = item.incarnation, item.execution, item.event
        match item:
            case TaskDone():
                self._tasks_gone.rows.append(key)
                self.message(item.incarnation, item.body, execution=item.execution)
            case TaskRetry():
                error = self._retries.payloads.add(item.last_error)
                self._retries.rows.append((*key, item.attempt, item.delay_us, *error))
            case TaskRelease():
                self._task_releases.rows.append((*key, item.delay_us))

    def release(self, item: InstanceRelease) -> None:
        """An instance is handed back."""
        self._releases.rows.append((item.incarnation, item.delay_us))

    def drop_tasks(self, incarnation: int, execution: int, events: tuple[int, ...]) -> None:
        """Tasks that are over."""
        self._tasks_gone.rows += [(incarnation, execution, event) for event in events]

    def turn(self, place: int, turn: Turn, taken: frozenset[str], *, wakes: bool) -> None:
        """A turn that was found good. `taken`: ids of children that others have; `wakes`: it was pending or held."""
        incarnation, execution = turn.incarnation, turn.execution
        if turn.create is not None:
            incarnation = turn.create.incarnation
        change = turn.change
        history = turn.history
        if history is not None:
            self._history.rows.append(
                (
                    incarnation, execution, history.first, history.last, history.at, history.format, history.crc,
                    history.encoding, *self._history.payloads.add(history.data),
                )  # fmt: skip
            )
        born = turn.create is not None and self._bear(turn.create, change)
        if change is None or change.status not in CLOSED:
            # What a closing turn adds and takes away goes with everything else that waits.
            self._keep_house(turn)
        if turn.starts or turn.messages:
            self._start_and_send(place, turn, taken)
        if change is not None and change.execution not in (None, execution):
            self._ended.append((incarnation, execution))
        if turn.next_start is not None:
            self._next_starts.rows.append((incarnation, *self._next_starts.payloads.add(turn.next_start)))
        if not born and (change is not None or wakes or history is None):
            self._add_change(incarnation, change or _NO_CHANGE)

    def write(self, transaction: Transaction) -> None:
        """Apply everything, each kind with one statement."""
        self._instances.write_with_payloads(transaction)
        self._history.write_with_payloads(transaction)
        self._consumed.write(transaction)
        self._plain_tasks.write_with_payloads(transaction)
        self._tasks.write_with_payloads(transaction)
        self._tasks_gone.write(transaction)
        self._timers.write(transaction)
        self._timers_gone.write(transaction)
        if self._outgoing:
            self._find_receivers(transaction)
        self._messages.write_with_payloads(transaction)
        self._dedup_keys.write(transaction)
        if self._ended:
            ended = encode_rows(self._ended)
            for statement in ("end_executions_tasks", "end_executions_timers", "end_executions_messages"):
                transaction.execute(STATEMENTS[statement], (ended,))
        self._next_starts.write_with_payloads(transaction)
        self._changes.write_with_payloads(transaction)
        self._releases.write(transaction, self._worker, transaction.now)
        self._retries.write_with_payloads(transaction)
        self._task_releases.write(transaction, transaction.now)

    def _bear(self, new: NewInstance, change: InstanceChange | None) -> bool:
        """Create the instance of a turn; with its changes already made, if they are simple, which is what it returns."""
        change = change or _NO_CHANGE
        plain = change.execution is None and change.output is None and change.error is None
        if plain and change.status not in CLOSED:
            self._add_instance(new, change.status or Status.RUNNING, self._worker, change)
            return True
        self._add_instance(new, Status.PENDING, self._worker, _NO_CHANGE)
        return False

    def _add_instance(self, new: NewInstance, status: Status, owner: int | None, change: InstanceChange) -> None:
        parent = new.parent
        # An owned one has consumed its start already.
        start_at = new.start_at if owner is None else None
        add = self._instances.payloads.add
        self._instances.rows.append(
            (
                new.incarnation, new.id, new.name, change.version or new.version, status, owner, start_at, new.root,
                new.slot,
                *((None,) * 4 if parent is None else
                  (parent.instance_id, parent.incarnation, parent.execution, parent.event)),
                change.cancel_requested, int(change.custom_status is not None),
                *add(new.attributes), *add(change.custom_status),
            )  # fmt: skip
        )

    def _keep_house(self, turn: Turn) -> None:
        """The rows that a turn adds to and takes from its own instance."""
        incarnation, execution = turn.incarnation, turn.execution
        for seq in turn.consumed:
            self._consumed.rows.append((incarnation, seq))
        for task in turn.tasks:
            self._add_task(incarnation, execution, task)
        if turn.tasks_gone:
            self.drop_tasks(incarnation, execution, turn.tasks_gone)
        for event, fire_at in turn.timers:
            self._timers.rows.append((incarnation, execution, event, fire_at))
        for event in turn.timers_gone:
            self._timers_gone.rows.append((incarnation, execution, event))

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
        rows = self._plain_tasks if plain else self._tasks
        add = rows.payloads.add
        row = (incarnation, execution, task.event, owner, task.name, *add(task.input), *add(task.retry))
        if not plain:
            row += (
                task.priority, task.on_unknown, task.schedule_to_start_us, task.total_timeout_us, task.tag,
                task.session, task.concurrency_key,
            )  # fmt: skip
        rows.rows.append(row)

    def _start_and_send(self, place: int, turn: Turn, taken: frozenset[str]) -> None:
        started = set() if turn.create is None else {turn.create.id}
        for child in turn.starts:
            self._start_child(place, turn, child, child.new.id in taken or child.new.id in started)
            started.add(child.new.id)
        for message in turn.messages:
            self._outgoing.append((place, len(self._messages.rows), message))
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
        rows = self._messages.rows
        for (place, number, out), incarnation in zip(self._outgoing, found, strict=True):
            rows[number] = (incarnation, *rows[number][1:])
            if incarnation is None:
                receiver = str(out.to_incarnation) if out.to_id is None else out.to_id
                self.skipped.setdefault(place, []).append(receiver)
        self._messages.rows = [row for row in rows if row[0] is not None]

    def _add_change(self, incarnation: int, change: InstanceChange) -> None:
        add = self._changes.payloads.add
        self._changes.rows.append(
            (
                incarnation, change.status, change.version, change.execution, change.cancel_requested,
                *add(change.output), *add(change.error), *add(change.custom_status),
            )  # fmt: skip
        )
