"""What each item of a batch does, and when it is refused.

Laws kept here: an item is judged completely before anything of it is done; one whose answer needs more than the segment
knows ends the segment before it (`CutError`), and is looked at again when all before it is in the store.
"""

from collections.abc import Iterable

from perdure._types import Status
from perdure._work import (
    APPLIED,
    Applied,
    ChildStart,
    Deliver,
    Hold,
    InstanceChange,
    InstanceRecord,
    InstanceRelease,
    Item,
    NewInstance,
    Outcome,
    OutMessage,
    Refusal,
    Refused,
    StartInstance,
    TaskBeat,
    TaskDone,
    TaskItem,
    TaskRelease,
    TaskRetry,
    Turn,
    is_copy,
)
from perdure.storage.postgres.transaction import Transaction
from perdure.storage.postgres.working import CLOSED, Row, Working

_CLOSED = Refused(reason=Refusal.CLOSED)
_COMING = Refused(reason=Refusal.COMING)
_FENCED = Refused(reason=Refusal.FENCED)
_INCARNATION = Refused(reason=Refusal.INCARNATION)
_NOT_FOUND = Refused(reason=Refusal.NOT_FOUND)
_NOT_HELD = Refused(reason=Refusal.NOT_HELD)
_NOT_OWNER = Refused(reason=Refusal.NOT_OWNER)
_STALE = Refused(reason=Refusal.STALE)
_BUSY = Refused(reason=Refusal.BUSY)
BUSY_US = 1_000_000
"""How long an instance rests that would start one whose id an open transaction is about to take."""
_NO_CHANGE = InstanceChange()


class CutError(Exception):
    """This item begins a segment of its own."""


def apply(transaction: Transaction, working: Working, item: Item) -> Outcome:
    """Apply one item, or refuse it and leave everything as it was.

    Raises:
        CutError: Not in this segment.
    """
    if isinstance(item, Turn):
        return _FENCED if transaction.worker is None else _turn(transaction, working, item)
    if isinstance(item, StartInstance):
        return _start(transaction, working, item)
    if isinstance(item, Deliver):
        return _deliver(working, item)
    if transaction.worker is None:
        return _FENCED
    match item:
        case Hold():
            return _hold(transaction, working, item)
        case InstanceRelease():
            return _release_instance(working, item)
        case TaskDone() | TaskBeat() | TaskRetry() | TaskRelease():
            return _of_task(working, item)
        case _:
            raise TypeError(f"a {type(item).__name__} is applied alone, not with others")


def _start(transaction: Transaction, working: Working, item: StartInstance) -> Outcome:
    """A start that meets nobody, or does no harm to whom it meets."""
    new = item.new
    present = working.by_id.get(new.id)
    if present is not None:
        if present.incarnation == new.incarnation:
            return APPLIED
        record = _record(transaction, present)
        if item.on_conflict == "use_existing":
            return Applied(existing=record)
        return Refused(reason=Refusal.EXISTS, existing=record)
    if new.id in working.busy:
        return _BUSY
    if new.incarnation in working.by_incarnation:
        return _INCARNATION
    working.create(new, owner=None)
    return APPLIED


def _record(transaction: Transaction, row: Row) -> InstanceRecord:
    """The record of who has an id, which only the store has whole."""
    if row.touched:
        raise CutError
    return transaction.record(row.incarnation)


def _deliver(working: Working, item: Deliver) -> Outcome:
    row = working.by_id.get(item.to_id)
    if row is None or item.incarnation not in (None, row.incarnation):
        return _NOT_FOUND
    key = item.dedup_key
    if key is not None and (item.to_id, key) in working.known_keys:
        return APPLIED
    if row.closed:
        return _CLOSED
    if is_copy(row.status, row.held_because):
        return _COMING
    if item.if_held and row.status != Status.HELD:
        return _NOT_HELD
    if key is not None:
        working.known_keys.add((item.to_id, key))
        working.new_keys.append((row.incarnation, key))
    working.message(row, item.body, control=item.control)
    return APPLIED


def _turn(transaction: Transaction, working: Working, turn: Turn) -> Outcome:
    row = working.by_incarnation.get(turn.incarnation)
    create = turn.create
    if create is not None:
        present = working.by_id.get(create.id)
        if present is not None:
            return Refused(reason=Refusal.EXISTS, existing=_record(transaction, present))
    elif row is None or row.owner != working.worker:
        return _NOT_OWNER
    elif row.sealed:
        raise CutError
    if (create is not None or turn.starts) and _incarnation_taken(working, turn):
        return _INCARNATION
    if not _continues(row, turn):
        return _STALE
    if working.busy and _is_busy(working, turn):
        return _put_off(working, row)
    if create is not None:
        row = working.create(create, owner=working.worker)
    return _NOT_OWNER if row is None else _apply_turn(working, row, turn)


def _is_busy(working: Working, turn: Turn) -> bool:
    """Whether an open transaction of others is about to take an id that the turn would."""
    ids = {child.new.id for child in turn.starts} | ({turn.create.id} if turn.create is not None else set())
    return any(id_ in working.busy and id_ not in working.by_id for id_ in ids)


def _put_off(working: Working, row: Row | None) -> Outcome:
    """Its instance rests, and others are not held up; a start comes back to whoever asked for it."""
    if row is not None:
        row.owner = None
        row.released_by, row.released_until = working.worker, working.now + BUSY_US
        row.touched = row.moved = True
    return _BUSY


def _apply_turn(working: Working, row: Row, turn: Turn) -> Outcome:
    _write_turn(working, row, turn)
    skipped: list[str] = []
    if turn.starts or turn.messages:
        skipped = [*_start_children(working, row, turn.starts), *send(working, turn.incarnation, turn.messages)]
    _change(working, row, turn)
    return Applied(skipped=tuple(skipped)) if skipped else APPLIED


def _incarnation_taken(working: Working, turn: Turn) -> bool:
    """Whether one of the instances, in order, would be created under another's incarnation."""
    news = [child.new for child in turn.starts]
    if turn.create is not None:
        news.insert(0, turn.create)
    return any_taken(working, news)


def any_taken(working: Working, news: Iterable[NewInstance]) -> bool:
    """Whether one of these, in order, would be created under another's incarnation."""
    ids: set[str] = set()
    incarnations: set[int] = set()
    for new in news:
        if new.id in working.by_id or new.id in ids:
            continue
        if new.incarnation in working.by_incarnation or new.incarnation in incarnations:
            return True
        ids.add(new.id)
        incarnations.add(new.incarnation)
    return False


def _continues(row: Row | None, turn: Turn) -> bool:
    """Whether the turn goes on where the stored history ends."""
    if turn.history is not None and turn.history.first != turn.base + 1:
        return False
    if turn.create is not None or row is None:
        return (turn.execution, turn.base) == (1, 0)
    if row.status == Status.SUSPENDED and turn.runs:
        return False
    return (turn.execution, turn.base) == (row.execution, row.last_event)


def _write_turn(working: Working, row: Row, turn: Turn) -> None:
    """Its events, and what it does to what belongs to the instance."""
    incarnation, execution = turn.incarnation, turn.execution
    row.touched = True
    if turn.history is not None:
        row.updated_at = max(row.updated_at, turn.history.at)
        working.history.append((incarnation, execution, turn.history, row.updated_at))
        row.last_event = turn.history.last
    for seq in turn.consumed:
        working.consumed.append((incarnation, seq))
    for entry in turn.entries:
        working.entries[incarnation, entry.shelf, entry.key] = entry
    if turn.tasks:
        _add_tasks(working, turn)
    if turn.tasks_gone:
        working.drop_tasks(incarnation, execution, turn.tasks_gone)
    if turn.tasks_stopped:
        working.tasks_stopped += [(incarnation, execution, event) for event in turn.tasks_stopped]
        working.news = True
    if turn.timers:
        working.timers.setdefault(incarnation, {}).update({(execution, event): due for event, due in turn.timers})
    if turn.timers_gone:
        working.drop_timers(incarnation, execution, turn.timers_gone)


def _add_tasks(working: Working, turn: Turn) -> None:
    execution = turn.execution
    if working.tasks_stopped:
        # They are stopped when all is added: of these there was none yet.
        new = {(turn.incarnation, execution, task.event) for task in turn.tasks}
        working.tasks_stopped = [key for key in working.tasks_stopped if key not in new]
    tasks = working.tasks.setdefault(turn.incarnation, {})
    owned = working.owned_tasks.setdefault(turn.incarnation, set())
    for task in turn.tasks:
        tasks[execution, task.event] = task
        if task.local:
            owned.add((execution, task.event))
        else:
            working.news = True


def _start_children(working: Working, row: Row, starts: Iterable[ChildStart]) -> list[str]:
    """Create the children, in order; returns the detached ones whose id was taken."""
    skipped = []
    for child in starts:
        if child.new.id not in working.by_id:
            working.create(child.new, owner=None)
        elif child.refused is not None:
            working.message(row, child.refused)
        else:
            skipped.append(child.new.id)
    return skipped


def send(working: Working, sender: int, messages: Iterable[OutMessage]) -> list[str]:
    """Send the messages, in order; returns the receivers that are no more."""
    skipped = []
    for message in messages:
        if message.shard is not None:
            working.parcels.append((message.shard, sender, message.body))
            continue
        row = _receiver(working, message)
        if row is None or row.closed or _is_none(row, message):
            skipped.append(str(message.to_incarnation) if message.to_id is None else message.to_id)
        else:
            working.message(row, message.body, control=message.control)
    return skipped


def _receiver(working: Working, message: OutMessage) -> Row | None:
    if message.to_id is None:
        return working.by_incarnation.get(message.to_incarnation or 0)
    row = working.by_id.get(message.to_id)
    if row is None or message.child_of is None:
        return row
    return row if row.parent_incarnation == message.child_of else None


def _is_none(row: Row, message: OutMessage) -> bool:
    """Whether it is a copy to whoever sends the message."""
    return message.to_id is not None and message.child_of is None and is_copy(row.status, row.held_because)


def _change(working: Working, row: Row, turn: Turn) -> None:
    """The instance's own columns, then what its new status or execution brings with it."""
    change = turn.change or _NO_CHANGE
    goes_on = change.execution is None or change.execution == turn.execution
    if not goes_on:
        working.end_execution(row, turn.execution)
    if turn.next_start is not None:
        working.first_message(row, turn.next_start)
    is_plain = turn.change is None and turn.next_start is None and turn.history is not None
    if is_plain and row.status == Status.RUNNING and row.deliveries == 1:
        # The time of its last events says when it has changed.
        return
    row.change(change, restarts=turn.next_start is not None)
    row.changed = True
    if not goes_on and change.execution is not None:
        row.execution = change.execution
        row.last_event = 0
        row.sealed = True
    if row.status in CLOSED:
        working.clear(row)


def _hold(transaction: Transaction, working: Working, hold: Hold) -> Outcome:
    row = working.by_incarnation.get(hold.incarnation)
    if hold.create is not None:
        present = working.by_id.get(hold.create.id)
        if present is not None:
            return Refused(reason=Refusal.EXISTS, existing=_record(transaction, present))
        if any_taken(working, [hold.create]):
            return _INCARNATION
        row = working.create(hold.create, owner=None)
    elif row is None or row.owner != working.worker:
        return _NOT_OWNER
    working.consumed += [(row.incarnation, seq) for seq in hold.consumed]
    working.drop_tasks(row.incarnation, hold.execution, hold.tasks_gone)
    for body in hold.messages:
        working.message(row, body, execution=hold.execution)
    row.owner = None
    row.status = Status.HELD
    row.held_because = storable(hold.reason)
    row.held_after = transaction.joined
    row.touched = row.changed = working.news = True
    return APPLIED


def storable(text: str) -> str:
    """The text of a reason, which may quote anything, without what a column of text can't hold."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def _release_instance(working: Working, item: InstanceRelease) -> Outcome:
    row = working.by_incarnation.get(item.incarnation)
    if row is None or row.owner != working.worker:
        return _NOT_OWNER
    rests = item.delay_us > 0
    row.released_by = working.worker if rests else None
    row.released_until = working.now + item.delay_us if rests else None
    row.owner = None
    row.touched = row.moved = working.news = True
    return APPLIED


def _of_task(working: Working, item: TaskItem) -> Outcome:
    name = item.execution, item.event
    owned = working.owned_tasks.get(item.incarnation, ())
    if name not in owned:
        return _NOT_OWNER
    if name in working.tasks.get(item.incarnation, ()):
        raise CutError
    key = item.incarnation, *name
    match item:
        case TaskDone():
            working.drop_tasks(item.incarnation, item.execution, (item.event,))
            working.message(working.by_incarnation[item.incarnation], item.body, execution=item.execution)
            return APPLIED
        case TaskBeat():
            details, began_at = working.beats.get(key, (None, None))
            details = details if item.details is None else item.details
            working.beats[key] = (details, working.now if item.began else began_at)
            return APPLIED
        case TaskRetry():
            due, delayed = working.now + item.delay_us, item.delay_us > 0
            working.retried.append((*key, item.attempt, due, delayed, item.last_error, item.details, item.began_at))
        case TaskRelease():
            due, delayed = working.now + item.delay_us, item.delay_us > 0
            working.released.append((*key, due, delayed, item.details))
    working.owned_tasks[item.incarnation].discard(name)
    working.news = True
    return APPLIED
