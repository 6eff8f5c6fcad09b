"""Images in PostgreSQL: instances with all their rows, read in one snapshot and written in one transaction."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from perdure._types import slot_of
from perdure._work import (
    APPLIED,
    EntryImage,
    HistoryImage,
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
from perdure.storage.postgres.arrays import bigint, bigints, blobs, booleans, text, texts
from perdure.storage.postgres.items import storable
from perdure.storage.postgres.readers import Readers
from perdure.storage.postgres.rows import history_of_row
from perdure.storage.postgres.transaction import Transaction
from perdure.storage.postgres.wire import Call
from perdure.storage.postgres.working import Working
from perdure.storage.records import record_of_row

_KINDS: dict[str, Callable[[Sequence[Any]], Any]] = {
    "image_history": lambda row: HistoryImage(execution=row[0], row=history_of_row(row[1:])),
    "image_messages": lambda row: MessageImage(due_at=row[0], body=row[1], control=row[2], execution=row[3]),
    "image_timers": lambda row: TimerImage(execution=row[0], event=row[1], fire_at=row[2]),
    "image_tasks": lambda row: TaskImage(**dict(zip(TaskImage.__struct_fields__, row, strict=True))),
    "image_entries": lambda row: EntryImage(shelf=row[0], key=row[1], value=row[2], passing_since=row[3]),
    "image_keys": lambda row: row[0],
}
"""How the rows of each statement become parts of an image."""


def read(readers: Readers, instance_ids: Sequence[str]) -> list[InstanceImage]:
    """These instances and everything below them, in order of incarnation."""
    ids = (texts([each for each in instance_ids if "\0" not in each]),)
    calls: list[Call] = [("image_records", ids), *((kind, ids) for kind in _KINDS)]
    _, records, *answers, _ = readers.read([("begin_snapshot", ()), *calls, ("rollback", ())])
    rows = {kind: _grouped(answer) for kind, answer in zip(_KINDS, answers, strict=True)}
    images = []
    for *row, ready_at in records:
        record = record_of_row(row)
        mine = {kind: tuple(_KINDS[kind](row) for row in rows[kind][record.incarnation]) for kind in _KINDS}
        images.append(
            InstanceImage(
                record=replace(record, owner=None),
                ready_at=ready_at,
                history=mine["image_history"],
                messages=mine["image_messages"],
                timers=mine["image_timers"],
                tasks=mine["image_tasks"],
                entries=mine["image_entries"],
                dedup_keys=mine["image_keys"],
            )
        )
    return images


def _grouped(rows: Sequence[Any]) -> defaultdict[int, list[Any]]:
    grouped: defaultdict[int, list[Any]] = defaultdict(list)
    for incarnation, *row in rows:
        grouped[incarnation].append(row)
    return grouped


def put(transaction: Transaction, working: Working, item: Put) -> Outcome:
    """Write instances as they are, if nothing is in their way."""
    gone = going(item, _found(transaction, working))
    if not isinstance(gone, dict):
        return gone
    for incarnation in gone:
        working.remove(incarnation)
    working.further += _writes(arriving(item, gone, working.now), working.now)
    working.news = True
    return APPLIED


def _found(transaction: Transaction, working: Working) -> dict[int, Present]:
    """All that was locked for the item."""
    incarnations = (bigints(sorted(working.by_incarnation)),)
    records, counts = transaction.run([("records", incarnations), ("present", incarnations)])
    by_incarnation = {record.incarnation: record for record in map(record_of_row, records)}
    return {
        incarnation: Present(
            record=by_incarnation[incarnation], messages=messages, tasks=tasks, running=running
        )
        for incarnation, messages, tasks, running in counts
    }  # fmt: skip


def _writes(images: Sequence[InstanceImage], now: int) -> list[Call]:
    """The statements for whatever there is of each kind."""
    calls: list[Call] = [("put_instances", _instances(images))]
    history = [
        (image.record.incarnation, each.execution, each.row, image.record.updated_at)
        for image in images for each in image.history
    ]  # fmt: skip
    if history:
        incarnations, executions, rows, at = zip(*history, strict=True)
        calls.append(("put_history", [
            bigints(incarnations), bigints(executions), bigints([row.first for row in rows]),
            bigints([row.last for row in rows]), bigints([row.at for row in rows]), bigints([row.crc for row in rows]),
            bigints([row.format for row in rows]), texts([row.encoding for row in rows]),
            blobs([row.data for row in rows]), bigints(at),
        ]))  # fmt: skip
    messages = [(image.record.incarnation, each) for image in images for each in image.messages]
    if messages:
        calls.append(("add_messages", [
            bigints([incarnation for incarnation, _ in messages]), bigints([each.execution for _, each in messages]),
            bigints([each.due_at for _, each in messages]), booleans([each.control for _, each in messages]),
            blobs([each.body for _, each in messages]),
        ]))  # fmt: skip
    timers = [
        (image.record.incarnation, each.execution, each.event, each.fire_at)
        for image in images for each in image.timers
    ]  # fmt: skip
    if timers:
        calls.append(("add_timers", [bigints(column) for column in zip(*timers, strict=True)]))
    calls += _tasks([(image.record.incarnation, each) for image in images for each in image.tasks], now)
    entries = [(image.record.incarnation, each) for image in images for each in image.entries]
    if entries:
        calls.append(("put_entries", [
            bigints([incarnation for incarnation, _ in entries]), texts([each.shelf for _, each in entries]),
            texts([each.key for _, each in entries]), bigints([each.passing_since for _, each in entries]),
            blobs([each.value for _, each in entries]),
        ]))  # fmt: skip
    keys = [(image.record.incarnation, key) for image in images for key in image.dedup_keys]
    if keys:
        calls.append(("add_dedup_keys", [bigints([of for of, _ in keys]), texts([key for _, key in keys])]))
    return calls


def _instances(images: Sequence[InstanceImage]) -> list[bytes | None]:
    records = [image.record for image in images]
    parents = [record.parent for record in records]
    reasons = [None if record.held_because is None else storable(record.held_because) for record in records]
    return [
        bigints([record.incarnation for record in records]),
        texts([record.id for record in records]),
        texts([record.name for record in records]),
        texts([record.version for record in records]),
        texts([record.status for record in records]),
        bigints([record.execution for record in records]),
        bigints([record.deliveries for record in records]),
        bigints([record.created_at for record in records]),
        bigints([record.updated_at for record in records]),
        bigints([image.ready_at for image in images]),
        texts([record.root for record in records]),
        texts([None if each is None else each.instance_id for each in parents]),
        bigints([None if each is None else each.incarnation for each in parents]),
        bigints([None if each is None else each.execution for each in parents]),
        bigints([None if each is None else each.event for each in parents]),
        bigints([slot_of(record.id) for record in records]),
        bigints([record.min_reader for record in records]),
        bigints([record.resets for record in records]),
        booleans([record.cancel_requested for record in records]),
        bigints([record.custom_status_version for record in records]),
        texts(reasons),
        blobs([record.attributes for record in records]),
        blobs([record.custom_status for record in records]),
        blobs([record.error for record in records]),
        blobs([record.output for record in records]),
    ]


def _tasks(of: Sequence[tuple[int, TaskImage]], now: int) -> list[Call]:
    if not of:
        return []
    tasks = [task for _, task in of]
    return [("put_tasks", [
        bigints([incarnation for incarnation, _ in of]),
        bigints([task.execution for task in tasks]),
        bigints([task.event for task in tasks]),
        texts([task.name for task in tasks]),
        bigints([task.scheduled_at for task in tasks]),
        bigints([task.due_at for task in tasks]),
        bigints([task.start_by for task in tasks]),
        bigints([task.deadline for task in tasks]),
        bigints([task.attempt for task in tasks]),
        bigints([task.deliveries for task in tasks]),
        bigints([task.priority for task in tasks]),
        texts([task.tag for task in tasks]),
        texts([task.session for task in tasks]),
        texts([lane_name(task.limit_key, task.tag, task.permit, task.session) for task in tasks]),
        texts([task.limit_key for task in tasks]),
        bigints([task.concurrency for task in tasks]),
        bigints([task.rate for task in tasks]),
        bigints([task.per_us for task in tasks]),
        blobs([task.permit for task in tasks]),
        bigints([0 if task.is_given else None for task in tasks]),
        booleans([task.stopped for task in tasks]),
        bigints([task.held_at for task in tasks]),
        texts([task.held_because for task in tasks]),
        bigints([task.began_at for task in tasks]),
        blobs([task.retry for task in tasks]),
        blobs([task.input for task in tasks]),
        blobs([task.last_error for task in tasks]),
        blobs([task.details for task in tasks]),
        bigint(now),
    ])]  # fmt: skip


def move_out(transaction: Transaction, working: Working, item: MoveOut) -> Outcome:
    """Leave of instances no more than where they are."""
    refused = moved_on(item.stamps, _found(transaction, working))
    if refused is not None:
        return refused
    rows = bigints([stamp.incarnation for stamp in item.stamps])
    working.further.append(("move_out", (rows, bigint(working.now), text(storable(item.place)))))
    working.further += [("clear_tasks", (rows,)), ("clear_timers", (rows,)), ("clear_messages", (rows,))]
    return APPLIED
