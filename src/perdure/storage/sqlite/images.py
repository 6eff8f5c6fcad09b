"""Images in a SQLite file: instances with all their rows, read in one snapshot and written in one transaction."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from perdure._types import slot_of
from perdure._work import (
    APPLIED,
    EntryImage,
    HistoryImage,
    HistoryRow,
    InstanceImage,
    MessageImage,
    MoveOut,
    Outcome,
    Put,
    TaskImage,
    TimerImage,
)
from perdure.storage.images import Present, arriving, going, moved_on
from perdure.storage.lanes import lane_name
from perdure.storage.sqlite.connection import Connection
from perdure.storage.sqlite.lanes import HELD_BY_INSTANCE
from perdure.storage.sqlite.rows import encode_rows, records_of_json, storable
from perdure.storage.sqlite.statements import STATEMENTS, RowStatement
from perdure.storage.sqlite.transaction import Transaction

_INTO = (
    "put_instances", "append_history", "put_messages", "add_timers", "put_tasks", "put_kept_entries", "add_dedup_keys",
)  # fmt: skip
_STATEMENTS = {name: RowStatement(name) for name in _INTO}
_CLEAR = tuple(STATEMENTS[name] for name in ("clear_tasks", "clear_timers", "clear_messages"))


def read(connection: Connection, instance_ids: Sequence[str]) -> list[InstanceImage]:
    """These instances and everything below them, in order of incarnation."""
    with connection.reading():
        tree = connection.execute(STATEMENTS["image_tree"], (encode_rows(list(instance_ids)),)).get
        records = records_of_json(connection.execute(STATEMENTS["records"], (tree,)).get)
        rows = {kind: _grouped(connection, kind, tree) for kind in _KINDS}
    images = []
    for record in records:
        [(ready_at, execution, *local)] = rows["image_instances"][record.incarnation]
        mine = {kind: tuple(_KINDS[kind](row) for row in rows[kind][record.incarnation]) for kind in _KINDS}
        tasks = mine["image_tasks"]
        if local[0] is not None:
            tasks = tuple(sorted((*tasks, _local_task(execution, local)), key=_task_key))
        images.append(
            InstanceImage(
                record=replace(record, owner=None),
                ready_at=ready_at,
                history=mine["image_history"],
                messages=mine["image_messages"],
                timers=mine["image_timers"],
                tasks=tasks,
                entries=mine["image_entries"],
                dedup_keys=mine["image_keys"],
            )
        )
    return images


def _grouped(connection: Connection, kind: str, tree: str) -> defaultdict[int, list[Any]]:
    grouped: defaultdict[int, list[Any]] = defaultdict(list)
    for incarnation, *row in connection.execute(STATEMENTS[kind], (tree,)):
        grouped[incarnation].append(row)
    return grouped


def _task_key(task: TaskImage) -> tuple[int, int]:
    return task.execution, task.event


def _local_task(execution: int, local: Sequence[Any]) -> TaskImage:
    event, at, name, retry, input_ = local
    return TaskImage(
        execution=execution, event=event, name=name, input=input_, scheduled_at=at, due_at=at, retry=retry, running=True
    )


def _history(row: Sequence[Any]) -> HistoryImage:
    execution, first, last, at, data, crc, format_, encoding = row
    kept = HistoryRow(first=first, last=last, at=at, data=data, crc=crc, format=format_, encoding=encoding)
    return HistoryImage(execution=execution, row=kept)


def _message(row: Sequence[Any]) -> MessageImage:
    due_at, body, control, execution = row
    return MessageImage(due_at=due_at, body=body, control=bool(control), execution=execution)


def _task(row: Sequence[Any]) -> TaskImage:
    fields = dict(zip(TaskImage.__struct_fields__, row, strict=True))
    return TaskImage(**fields | {name: bool(fields[name]) for name in ("stopped", "running", "is_given")})


_KINDS: dict[str, Callable[[Sequence[Any]], Any]] = {
    "image_instances": lambda row: row,
    "image_history": _history,
    "image_messages": _message,
    "image_timers": lambda row: TimerImage(execution=row[0], event=row[1], fire_at=row[2]),
    "image_tasks": _task,
    "image_entries": lambda row: EntryImage(shelf=row[0], key=row[1], value=row[2], passing_since=row[3]),
    "image_keys": lambda row: row[0],
}
"""How the rows of each statement become parts of an image."""


def put(transaction: Transaction, item: Put) -> Outcome:
    """Write instances as they are, if nothing is in their way."""
    ids = [image.record.id for image in item.images]
    incarnations = {image.record.incarnation for image in item.images} | {each.incarnation for each in item.instead_of}
    incarnations.update(item.while_open)
    holders: dict[str, int] = transaction.ask(STATEMENTS["incarnations"], encode_rows(ids))
    gone = going(item, _found(transaction, incarnations.union(holders.values())))
    if not isinstance(gone, dict):
        return gone
    if gone:
        transaction.execute(STATEMENTS["delete_instances"], (encode_rows(list(gone)),))
    tables: dict[str, list[object]] = {name: [] for name in _INTO}
    tables["put_tasks"].append(transaction.now)
    for image in arriving(item, gone, transaction.now):
        _collect(tables, image)
    for name, values in tables.items():
        _STATEMENTS[name].write(transaction.execute, values)
    return APPLIED


def _found(transaction: Transaction, incarnations: Iterable[int]) -> dict[int, Present]:
    wanted = sorted(incarnations)
    counts = transaction.ask(STATEMENTS["present"], encode_rows(wanted))
    records = transaction.records([incarnation for incarnation, *_ in counts])
    return {
        incarnation: Present(record=record, messages=messages, tasks=tasks, running=bool(running))
        for record, (incarnation, messages, tasks, running) in zip(records, counts, strict=True)
    }


def _collect(tables: dict[str, list[object]], image: InstanceImage) -> None:
    record, incarnation = image.record, image.record.incarnation
    family: tuple[object, ...] = (None, None, None, None)
    if record.parent is not None:
        parent = record.parent
        family = parent.instance_id, parent.incarnation, parent.execution, parent.event
    tables["put_instances"] += (
        incarnation, record.id, record.name, record.version, record.status, record.execution, record.last_event,
        record.deliveries, record.created_at, record.updated_at, image.ready_at, record.root, *family,
        slot_of(record.id), record.min_reader, record.resets, record.cancel_requested, record.custom_status_version,
        None if record.held_because is None else storable(record.held_because), record.attributes,
        record.custom_status, record.error, record.output,
    )  # fmt: skip
    for each in image.history:
        row = each.row
        tables["append_history"] += (
            incarnation, each.execution, row.first, row.last, row.at, row.format, row.crc, row.encoding, row.data,
        )  # fmt: skip
    for message in image.messages:
        tables["put_messages"] += (incarnation, message.due_at, message.control, message.execution, message.body)
    for timer in image.timers:
        tables["add_timers"] += (incarnation, timer.execution, timer.event, timer.fire_at)
    for task in image.tasks:
        tables["put_tasks"] += (
            incarnation, task.execution, task.event, task.name, task.scheduled_at, task.due_at, task.start_by,
            task.deadline, task.attempt, task.deliveries, task.priority, task.tag, task.session,
            lane_name(task.limit_key, task.tag, task.permit, task.session), task.limit_key, task.concurrency, task.rate,
            task.per_us, task.permit, HELD_BY_INSTANCE if task.is_given else None, task.stopped, task.held_at,
            task.held_because, task.began_at, task.retry, task.input, task.last_error, task.details,
        )  # fmt: skip
    for entry in image.entries:
        tables["put_kept_entries"] += (incarnation, entry.shelf, entry.key, entry.passing_since, entry.value)
    for key in image.dedup_keys:
        tables["add_dedup_keys"] += (incarnation, key)


def move_out(transaction: Transaction, item: MoveOut) -> Outcome:
    """Leave of instances no more than where they are."""
    incarnations = [stamp.incarnation for stamp in item.stamps]
    refused = moved_on(item.stamps, _found(transaction, incarnations))
    if refused is not None:
        return refused
    rows = encode_rows(incarnations)
    transaction.execute(STATEMENTS["move_out"], (rows, transaction.now, storable(item.place)))
    for statement in _CLEAR:
        transaction.execute(statement, (rows,))
    return APPLIED
