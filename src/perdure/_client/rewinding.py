"""What becomes of an instance that goes back in its history: pure, from its image.

Laws kept here: histories are cut between turns and never written anew, but for the start of a fork; what was told after
the cut is told again, what was asked for was never asked for; of what was open before it, nothing is forgotten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Raw
from msgspec.structs import replace

from perdure import _events as ev
from perdure import _work as work
from perdure._client.stored import read_error
from perdure._core.history import check, open_asks, read_rows
from perdure._retry import from_wire
from perdure._types import Status
from perdure.errors import HeldError, RewindError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


RESETTING = "being reset"
"""What an instance is suspended for while it is put back."""


def rewound(instance_id: str, tree: Sequence[work.InstanceImage], now: int) -> work.Put:
    """What puts a failed instance back to before its last turn.

    Args:
        instance_id: Which.
        tree: It, and everything below it.
        now: The store's time.

    Raises:
        RewindError: It can't go back.
    """
    image = next(each for each in tree if each.record.id == instance_id)
    record = image.record
    refuse_moved(record)
    if record.status is not Status.FAILED:
        raise RewindError(instance_id, f"it is {record.status}, and only what has failed goes back")
    events, ends = events_of(image)
    return put_back(image, events, 0 if len(ends) == 1 else ends[-2], tree, now)


def refuse_moved(record: work.InstanceRecord, *verb: str) -> None:
    """Refuse one that goes on elsewhere: what is left here ends at its move, and of its children too.

    Raises:
        RewindError: It has moved.
    """
    if record.status is Status.MOVED:
        raise RewindError(record.id, f"it has moved to {record.held_because}: ask for it there", *verb)


def events_of(image: work.InstanceImage) -> tuple[list[Any], list[int]]:
    """The events of the present execution, and the last event of each of its turns.

    Raises:
        RewindError: They can't be read.
    """
    rows = [each.row for each in image.history if each.execution == image.record.execution]
    try:
        events = read_rows(rows)
        check(events, image.record.execution)
    except HeldError as error:
        raise RewindError(image.record.id, str(error)) from error
    return events, [row.last for row in rows]


def put_back(
    image: work.InstanceImage, events: Sequence[Any], base: int, tree: Sequence[work.InstanceImage], now: int
) -> work.Put:
    """What puts an instance back to behind event `base`, the last one of a turn.

    Raises:
        RewindError: It can't go back.
    """
    gone = born_behind(image, base, tree)
    family = {each.record.id: each.record for each in tree if each not in gone}
    back = Back(image, events[:base], events[base:], family, now)
    put = back.image()
    forks = events[0].forks
    if base and forks and forks[-1].event > base:
        # It goes its own way from here on, which is before the event at which it was forked.
        first = next(each for each in forks if each.event > base)
        here = ev.ForkedAt(base, first.instance_id, first.incarnation, first.root, forks[-1].secret)
        earlier = tuple(each for each in forks if each.event <= base)
        put = replace(put, history=begun_otherwise(put.history, replace(events[0], forks=(*earlier, here))))
    return work.Put(images=(put,), instead_of=(image.stamp, *(each.stamp for each in gone)), while_open=back.awaited())


def begun_otherwise(history: tuple[work.HistoryImage, ...], started: ev.Started) -> tuple[work.HistoryImage, ...]:
    """A history with another first event."""
    index = next(at for at, each in enumerate(history) if each.execution == started.execution)
    row = history[index].row
    data = ev.encode_events([started, *ev.decode_events(row.data)[1:]])
    anew = replace(history[index], row=replace(row, data=data, crc=ev.checksum(data)))
    return (*history[:index], anew, *history[index + 1 :])


def born_behind(image: work.InstanceImage, base: int, tree: Sequence[work.InstanceImage]) -> list[work.InstanceImage]:
    """The children that were asked for behind an event, with all below them."""
    born = [each for each in tree if _is_born_in(each, image.record, base)]
    return [each for each in tree if each is not image and _is_below(each, born, tree)]


def _is_born_in(image: work.InstanceImage, record: work.InstanceRecord, base: int) -> bool:
    """Whether it is a child that was asked for behind an event: it will be asked for again, under the same id."""
    parent = image.record.parent
    return (
        parent is not None
        and parent.incarnation == record.incarnation
        and parent.execution == record.execution
        and parent.event > base
    )


def _is_below(
    image: work.InstanceImage, born: Sequence[work.InstanceImage], tree: Sequence[work.InstanceImage]
) -> bool:
    """Whether it is one of these, or a descendant of one."""
    known = {each.record.incarnation: each.record for each in tree}
    goes = {each.record.incarnation for each in born}
    at: work.InstanceRecord | None = image.record
    while at is not None:
        if at.incarnation in goes:
            return True
        at = None if at.parent is None else known.get(at.parent.incarnation)
    return False


class Back:
    """The instance as it was behind the last event that is kept, and what it was told since."""

    def __init__(
        self,
        image: work.InstanceImage,
        kept: Sequence[Any],
        dropped: Sequence[Any],
        family: dict[str, work.InstanceRecord],
        now: int,
    ) -> None:
        self._image = image
        self._kept = kept
        self._dropped = dropped
        self._family = family
        self._now = now
        self._open = open_asks(kept)
        self._present = {each.event: each for each in image.tasks}
        self._stopped = {event.source for event in kept if isinstance(event, ev.ActivityStopped)}
        self._waiting = tuple(self._still_waiting())
        messages = [message for _, message in self._waiting]
        self._ended = {each.source for each in messages if isinstance(each, work.ActivityOutcome)}
        self._ended.update(event.source for event in dropped if isinstance(event, ev.ActivityCompleted))
        self._told_of = {each.source for each in messages if isinstance(each, work.ChildOutcome)}
        self._told_of.update(event.source for event in dropped if isinstance(event, ev.ChildCompleted | ev.ChildFailed))

    def image(self) -> work.InstanceImage:
        """All of it."""
        image, last = self._image, len(self._kept)
        return replace(
            image,
            record=self.record(),
            # Whatever is sent from now on, by whatever clock, falls due behind the start that is told again.
            ready_at=image.ready_at if last else max(image.ready_at, self._now),
            history=tuple(
                each for each in image.history if each.execution != image.record.execution or each.row.last <= last
            ),
            messages=tuple(self.messages()),
            timers=tuple(self.timers()),
            tasks=tuple(self.tasks()),
            entries=tuple(self.entries()),
        )

    def record(self) -> work.InstanceRecord:
        """Its own row."""
        record, last = self._image.record, len(self._kept)
        status = self._custom_status()
        changed = status != record.custom_status
        # Whoever has suspended it wants it to stay so.
        stays = record.status is Status.SUSPENDED and record.held_because != RESETTING
        runs = Status.RUNNING if last or record.execution > 1 else Status.PENDING
        return replace(
            record,
            status=record.status if stays else runs,
            last_event=last,
            output=None,
            error=None,
            held_because=record.held_because if stays else None,
            deliveries=1,
            custom_status=status,
            custom_status_version=record.custom_status_version + changed,
            cancel_requested=any(isinstance(event, ev.CancelRequested) for event in self._kept),
        )

    def _custom_status(self) -> bytes | None:
        first = self._first()
        status = first.status
        for event in self._kept:
            if isinstance(event, ev.StatusSet):
                status = event.value
        return work.sealed(bytes(status)) if status else None

    def _first(self) -> ev.Started:
        started: ev.Started = (self._kept or self._dropped)[0]
        return started

    def entries(self) -> Iterable[work.EntryImage]:
        """The KV store as it was; answers that were given stay."""
        values = {kept.key: bytes(kept.value) for kept in self._first().values}
        for event in self._kept:
            if isinstance(event, ev.ValueSet):
                values[event.key] = bytes(event.value)
            elif isinstance(event, ev.ValuesCleared):
                for key in event.keys:
                    values.pop(key, None)
        yield from (each for each in self._image.entries if each.shelf != work.VALUES)
        for key, value in values.items():
            yield work.EntryImage(shelf=work.VALUES, key=key, value=work.sealed(value))

    def timers(self) -> Iterable[work.TimerImage]:
        """The timers that were set; those that have fired since fire again."""
        execution = self._image.record.execution
        for event in self._open.values():
            if isinstance(event, ev.TimerCreated):
                yield work.TimerImage(execution=execution, event=event.id, fire_at=event.fire_at)

    def tasks(self) -> Iterable[work.TaskImage]:
        """The activities that had not ended, those whose failure the turn was told, to be tried again, and places."""
        entered = {event.source for event in self._kept if isinstance(event, ev.LimitEntered)}
        for event in self._open.values():
            if isinstance(event, ev.ActivityScheduled) and event.id not in self._ended:
                yield self._task(event)
            elif isinstance(event, ev.LimitAsked):
                yield self._place(event, has_it=event.id in entered)

    def _place(self, event: ev.LimitAsked, *, has_it: bool) -> work.TaskImage:
        """A place of a limit: the one that it had before the turn, or its turn to wait for one."""
        execution = self._image.record.execution
        return work.TaskImage(
            execution=execution,
            event=event.id,
            name=work.PLACE,
            input=b"",
            scheduled_at=self._now,
            due_at=self._now,
            permit=work.encode_message(work.LimitEntered(execution=execution, source=event.id)),
            is_given=has_it,
            **_numbers(event.limit),
        )

    def _task(self, event: ev.ActivityScheduled) -> work.TaskImage:
        retry = bytes(event.retry) if event.retry else None
        total = None if retry is None else from_wire(retry).total_timeout_us
        to_start = event.schedule_to_start_us
        stopped = event.id in self._stopped
        deadline = None if total is None else self._now + total
        task = work.TaskImage(
            execution=self._image.record.execution,
            event=event.id,
            name=event.name,
            input=work.sealed(bytes(event.input)),
            scheduled_at=self._now,
            due_at=self._now,
            retry=None if retry is None else work.sealed(retry),
            tag=event.tag,
            session=event.session,
            priority=event.priority,
            start_by=None if to_start is None else self._now + to_start,
            deadline=self._now if stopped else deadline,
            stopped=stopped,
            **_numbers(event.limit),
        )
        before = self._present.get(event.id)
        if before is None or before.stopped != stopped:
            return task
        if before.held_because not in (None, RESETTING):
            return replace(before, running=False)
        return replace(
            task,
            scheduled_at=before.scheduled_at,
            attempt=before.attempt,
            deadline=before.deadline,
            last_error=before.last_error,
            details=before.details,
            began_at=before.began_at,
        )

    def messages(self) -> Iterable[work.MessageImage]:
        """What it was told, except that activities have failed; what waits; and what has become of children since."""
        execution = self._image.record.execution
        for event in self._dropped:
            message = self._told(event)
            if message is not None:
                goes_with = execution if isinstance(message, work.ActivityOutcome) else None
                yield work.MessageImage(due_at=self._now, body=work.encode_message(message), execution=goes_with)
        for each, _ in self._waiting:
            yield replace(each, due_at=max(each.due_at, self._now))
        for event in self._open.values():
            if isinstance(event, ev.ChildScheduled) and event.id not in self._told_of:
                child = self._family.get(event.instance_id)
                if child is None:
                    raise RewindError(self._image.record.id, f"its child {event.instance_id!r} is no more")
                if child.status.is_closed:
                    yield work.MessageImage(due_at=self._now, body=work.encode_message(self._outcome(event.id, child)))

    def awaited(self) -> tuple[int, ...]:
        """The incarnations of the children that it waits for: one that ends before it is back would tell nobody."""
        asked = {event.instance_id for event in self._open.values() if isinstance(event, ev.ChildScheduled)}
        return tuple(
            child.incarnation for name, child in self._family.items() if name in asked and not child.status.is_closed
        )

    def _still_waiting(self) -> Iterable[tuple[work.MessageImage, Any]]:
        """The messages that nobody has read, except those that belong to what was dropped or begins again."""
        for each in self._image.messages:
            message = work.decode_message(each.body)
            match message:
                case work.Start() | work.TimerDue() | work.LimitEntered():
                    continue
                case work.ActivityOutcome(error=error) if error is not None or message.source not in self._open:
                    continue
                case work.ChildOutcome() if message.source not in self._open:
                    continue
            yield each, message

    def _told(self, event: Any) -> work.AnyMessage | None:
        execution = self._image.record.execution
        source = getattr(event, "source", None)
        if source is not None and source not in self._open:
            # It answers what was dropped, and the same number may soon be that of something else.
            return None
        match event:
            case ev.Started():
                return _start_of(event)
            case ev.ActivityCompleted():
                return work.ActivityOutcome(
                    execution=execution, source=event.source, result=event.result, attempts=event.attempts
                )
            case ev.EventRaised():
                return work.Raised(name=event.name, data=event.data)
            case ev.UpdateReceived():
                return work.UpdateAsked(request=event.request, name=event.name, data=event.data)
            case ev.ChildCompleted():
                return work.ChildOutcome(
                    execution=execution, source=event.source, ending="completed", result=event.result
                )
            case ev.ChildFailed():
                return self._again(event)
            case _:
                return None

    def _again(self, event: ev.ChildFailed) -> work.ChildOutcome | None:
        """How a child stands that had failed: it may have been rewound before its parent, and have ended since."""
        scheduled = self._open.get(event.source)
        child = self._family.get(scheduled.instance_id) if isinstance(scheduled, ev.ChildScheduled) else None
        if child is not None:
            return self._outcome(event.source, child) if child.status.is_closed else None
        return work.ChildOutcome(
            execution=self._image.record.execution, source=event.source, ending=event.ending, error=event.error
        )

    def _outcome(self, source: int, child: work.InstanceRecord) -> work.ChildOutcome:
        result = ev.ABSENT
        if child.output is not None:
            result = Raw(work.unsealed(child.output, "the stored result of instance %r", child.id))
        return work.ChildOutcome(
            execution=self._image.record.execution,
            source=source,
            ending=child.status.value,
            result=result,
            error=None if child.error is None else read_error(child.error, child.id),
        )


def _numbers(limit: ev.KeyLimit | None) -> dict[str, Any]:
    """The limit that an activity or a place is under, as its row has it."""
    if limit is None:
        return {}
    return {
        "limit_key": limit.key, "concurrency": limit.concurrency, "rate": limit.rate, "per_us": limit.per_us
    }  # fmt: skip


def _start_of(started: ev.Started) -> work.Start:
    return work.Start(
        input=started.input,
        version=started.version,
        execution=started.execution,
        root=started.root,
        parent=started.parent,
        carried=started.carried,
        values=started.values,
        status=started.status,
    )
