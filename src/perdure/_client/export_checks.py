"""What must be so of instances that come from elsewhere, so that no store has to believe a file.

Laws kept here: whatever waits was asked for by an event of the history and says what that says; every number fits its
column; seals and checksums hold; an instance that has ended has nothing that waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from perdure import _events as ev
from perdure._core.history import check, open_asks, read_rows
from perdure._retry import from_wire
from perdure._types import INSTANT_US_MAX, Status, check_name
from perdure._work import (
    ANSWERS,
    PLACE,
    VALUES,
    InstanceImage,
    LimitEntered,
    decode_message,
    encode_message,
    sealed,
    unsealed,
)
from perdure.errors import ClientError, PerdureError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perdure._work import HistoryRow, TaskImage

_NUMBER_MAX = (1 << 63) - 1
_ENDINGS: dict[type, Status] = {
    ev.Completed: Status.COMPLETED,
    ev.Failed: Status.FAILED,
    ev.Cancelled: Status.CANCELLED,
    ev.Terminated: Status.TERMINATED,
}


class _WrongError(ClientError):
    """What is not as it must be."""


def check_tree(tree: Sequence[InstanceImage]) -> None:
    """Look at a root and everything below it, parents first.

    Raises:
        PerdureError: Something is not as it can be; the error says what.
    """
    known: dict[int, str] = {}
    for image in tree:
        record = image.record
        parent = record.parent
        if (parent is None) != (not known):
            raise _WrongError(f"{record.id!r} has no place in its tree")
        if parent is not None and known.get(parent.incarnation) != parent.instance_id:
            raise _WrongError(f"the parent of {record.id!r} is not above it")
        known[record.incarnation] = record.id
        try:
            _check(image)
        except _WrongError:
            raise
        except (PerdureError, msgspec.DecodeError, ValueError) as error:
            raise _WrongError(f"{record.id!r}: {error}") from error


def _require(image: InstanceImage, what: str, *, so: bool) -> None:
    if not so:
        raise _WrongError(f"{image.record.id!r}: {what}")


def _check(image: InstanceImage) -> None:
    record = image.record
    _check_numbers(image)
    check_name("instance id", record.id)
    check_name("instance id", record.root)
    check_name("orchestration", record.name)
    if record.version is not None:
        check_name("version", record.version)
    _require(image, f"it needs an engine that reads level {record.min_reader}", so=record.min_reader <= ev.MIN_READER)
    for what, stored in (("output", record.output), ("error", record.error), ("status", record.custom_status)):
        if stored is not None:
            unsealed(stored, "its %s", what)
    if record.attributes is not None:
        msgspec.json.decode(record.attributes, type=dict[str, Any])
    for key in image.dedup_keys:
        check_name("dedup key", key)
    for entry in image.entries:
        _require(image, f"there is no shelf {entry.shelf!r}", so=entry.shelf in (VALUES, ANSWERS))
        check_name("key", entry.key)
        unsealed(entry.value, "the entry %r", entry.key)
    for message in image.messages:
        decode_message(message.body)
    _check_unique(image)
    _check_rest(image, _current_events(image))


def _check_numbers(image: InstanceImage) -> None:
    """Everything that is counted fits 64 bits, and what can't be negative is not."""
    rows = (each.row for each in image.history)
    structs = [image, image.record, *image.history, *rows, *image.messages, *image.timers, *image.tasks, *image.entries]
    if image.record.parent is not None:
        structs.append(image.record.parent)
    for struct in structs:
        for field in struct.__struct_fields__:
            value = getattr(struct, field)
            if isinstance(value, int) and not isinstance(value, bool):
                low = -_NUMBER_MAX - 1 if field == "priority" else 0
                high = INSTANT_US_MAX if field.endswith(("_at", "_by")) or field == "deadline" else _NUMBER_MAX
                _require(image, f"{field} is {value}", so=low <= value <= high)
    positive = image.record.incarnation > 0 and image.record.execution > 0
    _require(image, "it has no incarnation, or no execution", so=positive and image.record.resets < _NUMBER_MAX)


def _check_unique(image: InstanceImage) -> None:
    keys: tuple[list[Any], ...] = (
        [(each.execution, each.row.last) for each in image.history],
        [each.event for each in image.timers],
        [each.event for each in image.tasks],
        [(each.shelf, each.key) for each in image.entries],
        list(image.dedup_keys),
    )
    _require(image, "something of it is there twice", so=all(len(set(each)) == len(each) for each in keys))


def _current_events(image: InstanceImage) -> list[Any]:
    """The events of the present execution; those of past ones are looked at in passing."""
    rows: dict[int, list[HistoryRow]] = {}
    for each in image.history:
        rows.setdefault(each.execution, []).append(each.row)
    current: list[Any] = []
    for execution, of_execution in rows.items():
        _require(image, f"it has no execution {execution}", so=0 < execution <= image.record.execution)
        events = read_rows(of_execution)
        check(events, execution)
        if execution == image.record.execution:
            current = events
        else:
            _require(image, f"execution {execution} has not ended", so=isinstance(events[-1], ev.ContinuedAsNew))
    _require(image, "its history is not as long as it says", so=len(current) == image.record.last_event)
    return current


def _check_rest(image: InstanceImage, events: Sequence[Any]) -> None:
    """What is there beside the history agrees with it."""
    record = image.record
    if record.status is Status.MOVED:
        raise _WrongError(f"{record.id!r} has moved elsewhere: export it there")
    ending = _ENDINGS.get(type(events[-1])) if events else None
    if ending is not None:
        _require(image, f"it is {record.status}, and its history says {ending}", so=record.status is ending)
    else:
        unended = record.status in (Status.COMPLETED, Status.FAILED)
        _require(image, f"it is {record.status}, and its history has no end", so=not unended)
    if record.status.is_closed:
        waits = image.messages or image.tasks or image.timers
        _require(image, "it has ended, and something waits for it", so=not waits)
        return
    asked = open_asks(events)
    for timer in image.timers:
        event = asked.get(timer.event)
        is_so = isinstance(event, ev.TimerCreated) and event.fire_at == timer.fire_at
        _require(image, f"nothing has asked for timer {timer.event}", so=is_so and timer.execution == record.execution)
    for task in image.tasks:
        for kind, name in (("activity", task.name), ("tag", task.tag), ("session", task.session)):
            if name is not None:
                check_name(kind, name)
        event = asked.get(task.event)
        if isinstance(event, ev.LimitAsked):
            is_so = _is_place(task, event)
        else:
            is_so = isinstance(event, ev.ActivityScheduled) and _is_of(task, event)
        _require(image, f"nothing has asked for activity {task.event}", so=is_so and task.execution == record.execution)


def _is_of(task: TaskImage, event: ev.ActivityScheduled) -> bool:
    """Whether a task is what an event has asked for."""
    retry = bytes(event.retry) if event.retry else None
    if retry is not None:
        from_wire(retry)
    return (
        task.name == event.name
        and task.input == sealed(bytes(event.input))
        and task.retry == (None if retry is None else sealed(retry))
        and (task.tag, task.session, task.priority) == (event.tag, event.session, event.priority)
        and _limit_of(task) == event.limit
        and task.permit is None
        and not task.is_given
    )


def _is_place(task: TaskImage, event: ev.LimitAsked) -> bool:
    """Whether a task is the place of a limit that an event has asked for."""
    permit = encode_message(LimitEntered(execution=task.execution, source=event.id))
    return task.name == PLACE and task.permit == permit and _limit_of(task) == event.limit


def _limit_of(task: TaskImage) -> ev.KeyLimit | None:
    if task.limit_key is None or task.per_us is None:
        return None
    return ev.KeyLimit(check_name("limit key", task.limit_key), task.concurrency, task.rate, task.per_us)
