"""Images in the reference storage: instances with all their rows, read and written."""

from collections.abc import Iterable

from msgspec.structs import replace

from perdure._events import KeyLimit
from perdure._types import Status
from perdure._work import (
    APPLIED,
    EntryImage,
    HistoryImage,
    InstanceImage,
    MessageImage,
    MoveOut,
    NewTask,
    Outcome,
    Put,
    TaskImage,
    TimerImage,
)
from perdure.storage.images import Present, arriving, going, moved_on
from perdure.storage.memory.rows import HELD_BY_INSTANCE, InstanceRow, Tables, TaskRow


def images(tables: Tables, instance_ids: Iterable[str]) -> list[InstanceImage]:
    """These instances and everything below them, in order of incarnation."""
    tree = {tables.by_id[each].record.incarnation for each in instance_ids if each in tables.by_id}
    generation = tree
    while generation:
        generation = {child for parent in generation for child in tables.children.get(parent, ())} - tree
        tree = tree | generation
    return [_image(tables.instances[incarnation]) for incarnation in sorted(tree)]


def _image(row: InstanceRow) -> InstanceImage:
    messages = sorted(row.messages.values(), key=lambda each: (each.due, each.seq))
    return InstanceImage(
        record=replace(row.record, owner=None),
        ready_at=row.ready_at,
        history=tuple(
            HistoryImage(execution=execution, row=each) for execution in sorted(row.history)
            for each in row.history[execution]
        ),
        messages=tuple(
            MessageImage(due_at=each.due, body=each.body, control=each.control, execution=each.execution)
            for each in messages
        ),
        timers=tuple(
            TimerImage(execution=row.record.execution, event=event, fire_at=fire_at)
            for event, fire_at in sorted(row.timers.items())
        ),
        tasks=tuple(_task_image(row.tasks[key]) for key in sorted(row.tasks)),
        entries=tuple(
            EntryImage(shelf=shelf, key=key, value=value, passing_since=since)
            for (shelf, key), (value, since) in sorted(row.entries.items(), key=_entry_key)
        ),
        dedup_keys=tuple(sorted(row.dedup_keys, key=str.encode)),
    )  # fmt: skip


def _entry_key(entry: tuple[tuple[str, str], object]) -> tuple[bytes, bytes]:
    (shelf, key), _ = entry
    return shelf.encode(), key.encode()


def _task_image(task: TaskRow) -> TaskImage:
    new = task.new
    return TaskImage(
        execution=task.execution,
        event=new.event,
        name=new.name,
        input=new.input,
        scheduled_at=task.scheduled_at,
        due_at=task.due,
        attempt=task.attempt,
        deliveries=task.deliveries,
        retry=new.retry,
        tag=new.tag,
        session=new.session,
        priority=new.priority,
        limit_key=None if new.limit is None else new.limit.key,
        concurrency=None if new.limit is None else new.limit.concurrency,
        rate=None if new.limit is None else new.limit.rate,
        per_us=None if new.limit is None else new.limit.per_us,
        permit=new.permit,
        is_given=task.owner == HELD_BY_INSTANCE,
        start_by=task.start_by,
        deadline=task.deadline,
        last_error=task.last_error,
        details=task.details,
        stopped=task.stopped,
        held_at=task.held_at,
        held_because=task.held_because,
        began_at=task.began_at,
        running=task.owner not in (None, HELD_BY_INSTANCE),
    )


def put(tables: Tables, now: int, item: Put) -> Outcome:
    """Write instances as they are, if nothing is in their way."""
    incarnations = {image.record.incarnation for image in item.images} | {each.incarnation for each in item.instead_of}
    incarnations.update(item.while_open)
    holders = {tables.by_id[image.record.id].record.incarnation for image in item.images
               if image.record.id in tables.by_id}  # fmt: skip
    gone = going(item, _found(tables, incarnations | holders))
    if not isinstance(gone, dict):
        return gone
    for incarnation in gone:
        tables.remove_instance(tables.instances[incarnation])
    for image in arriving(item, gone, now):
        _write(tables, image)
    return APPLIED


def _found(tables: Tables, incarnations: Iterable[int]) -> dict[int, Present]:
    rows = [tables.instances[each] for each in incarnations if each in tables.instances]
    return {
        row.record.incarnation: Present(
            record=row.record,
            messages=len(row.messages),
            tasks=len(row.tasks),
            running=any(task.owner not in (None, HELD_BY_INSTANCE) for task in row.tasks.values()),
        )
        for row in rows
    }


def move_out(tables: Tables, now: int, item: MoveOut) -> Outcome:
    """Leave of instances no more than where they are."""
    refused = moved_on(item.stamps, _found(tables, [stamp.incarnation for stamp in item.stamps]))
    if refused is not None:
        return refused
    for stamp in item.stamps:
        row = tables.instances[stamp.incarnation]
        tables.clear_instance(row)
        updated_at = max(now, row.record.updated_at)
        row.record = replace(row.record, status=Status.MOVED, held_because=item.place, updated_at=updated_at)
    return APPLIED


def _write(tables: Tables, image: InstanceImage) -> None:
    row = InstanceRow(image.record, ready_at=image.ready_at)
    tables.adopt(row)
    for each in image.history:
        row.history.setdefault(each.execution, []).append(each.row)
    for message in image.messages:
        tables.put_message(row, message.body, message.due_at, control=message.control, execution=message.execution)
    for timer in image.timers:
        tables.add_timer(row, timer.event, timer.fire_at)
    for task in image.tasks:
        tables.put_task(row, _task_of(image.record.incarnation, task))
    row.entries = {(each.shelf, each.key): (each.value, each.passing_since) for each in image.entries}
    row.dedup_keys = set(image.dedup_keys)


def _task_of(incarnation: int, image: TaskImage) -> TaskRow:
    """The row of a task, without owner."""
    new = NewTask(
        event=image.event,
        name=image.name,
        input=image.input,
        local=False,
        retry=image.retry,
        tag=image.tag,
        session=image.session,
        priority=image.priority,
        limit=None
        if image.limit_key is None or image.per_us is None
        else KeyLimit(image.limit_key, image.concurrency, image.rate, image.per_us),
        permit=image.permit,
    )
    return TaskRow(
        owner=HELD_BY_INSTANCE if image.is_given else None,
        incarnation=incarnation,
        execution=image.execution,
        new=new,
        scheduled_at=image.scheduled_at,
        due=image.due_at,
        start_by=image.start_by,
        deadline=image.deadline,
        attempt=image.attempt,
        deliveries=image.deliveries,
        last_error=image.last_error,
        details=image.details,
        stopped=image.stopped,
        held_because=image.held_because,
        held_at=image.held_at,
        began_at=image.began_at,
    )
