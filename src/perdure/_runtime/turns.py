"""From the events of a turn to what storage commits: pure, one line per kind of event."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from perdure import _events as ev
from perdure import _work as work
from perdure._core.history import open_children
from perdure._retry import from_wire
from perdure._types import Status, slot_of
from perdure.errors import ErrorInfo

REFUSED_CHILD = ErrorInfo(
    type="perdure.errors.InstanceExistsError",
    message="the child's instance id is taken by another instance: choose another instance_id",
    types=("perdure.errors.InstanceExistsError", "perdure.errors.ClientError", "perdure.errors.PerdureError"),
    retryable=False,
)
_CLOSING: dict[Any, Status] = {
    ev.Completed: Status.COMPLETED,
    ev.Failed: Status.FAILED,
    ev.Cancelled: Status.CANCELLED,
    ev.Terminated: Status.TERMINATED,
}
_encode = msgspec.json.Encoder().encode


class Owner(Struct, frozen=True, gc=False, kw_only=True):
    """Whose turn it is: what events alone do not say."""

    instance_id: str
    incarnation: int
    name: str
    root: str
    execution: int
    parent: ev.Parent | None
    version: str | None = None


class Draft:
    """What the events of a turn ask of storage and of the worker, while they are read."""

    __slots__ = (
        "activities_cancelled",
        "addressed",
        "answers",
        "change",
        "children",
        "draw_incarnation",
        "ended",
        "entries",
        "messages",
        "next_start",
        "owner",
        "shard",
        "starts",
        "take_slot",
        "tasks",
        "tasks_gone",
        "tasks_stopped",
        "timers",
        "timers_gone",
    )

    def __init__(
        self,
        owner: Owner,
        draw_incarnation: Callable[[], int],
        take_slot: Callable[[str], bool],
        children: dict[int, str] | None = None,
        shard: work.Shard | None = None,
    ) -> None:
        self.owner = owner
        self.draw_incarnation = draw_incarnation
        self.take_slot = take_slot
        self.shard = shard
        self.tasks: list[work.NewTask] = []
        self.tasks_gone: list[int] = []
        self.tasks_stopped: list[int] = []
        self.activities_cancelled: list[int] = []
        self.timers: list[tuple[int, int]] = []
        self.timers_gone: list[int] = []
        self.starts: list[work.ChildStart] = []
        self.messages: list[work.OutMessage] = []
        self.addressed: list[str] = []
        self.change: dict[str, Any] = {}
        self.next_start: bytes | None = None
        self.children: dict[int, str] = {} if children is None else children
        self.entries: dict[tuple[str, str], work.Entry] = {}
        self.answers: dict[str, bytes] = {}
        self.ended: Any = None

    def read(self, events: Sequence[Any]) -> None:
        """Take in the events of the turn."""
        for event in events:
            reader = _READERS.get(type(event))
            if reader is not None:
                reader(self, event)

    def end_all(self, stored: Sequence[Any]) -> None:
        """Stop what a history shows as open, for an instance that is ended without its code."""
        # It may have had places of limits.
        self.take_slot(IN_LINE)
        running: set[int] = set()
        for event in stored:
            if isinstance(event, ev.ActivityScheduled):
                running.add(event.id)
            elif isinstance(event, ev.ActivityCompleted | ev.ActivityFailed | ev.ActivityCancelled):
                running.discard(event.source)
        self.activities_cancelled += sorted(running)
        for child in open_children(stored):
            if child.on_close != "abandon":
                self.children[child.id] = child.instance_id
                self._child_cancelled(ev.ChildCancelled(id=0, source=child.id, terminate=True))

    def instance_change(self) -> work.InstanceChange | None:
        """What changes on the instance's row, if anything."""
        return work.InstanceChange(**self.change) if self.change else None

    # -- one reader per kind of event ------------------------------------------------------------------------------

    def _answered(self, event: ev.ActivityCompleted | ev.ActivityFailed) -> None:
        self.tasks_gone.append(event.source)

    def _scheduled(self, event: ev.ActivityScheduled) -> None:
        self.tasks.append(new_task(event, self.take_slot))

    def _activity_cancelled(self, event: ev.ActivityCancelled) -> None:
        self.tasks_gone.append(event.source)
        self.activities_cancelled.append(event.source)
        # It may have had a place of a limit, which another can have with the same commit.
        self.take_slot(IN_LINE)

    def _place_asked(self, event: ev.LimitAsked) -> None:
        self.take_slot(IN_LINE)
        permit = work.LimitEntered(execution=self.owner.execution, source=event.id)
        self.tasks.append(
            work.NewTask(
                event=event.id,
                name=work.PLACE,
                input=b"",
                local=False,
                limit=event.limit,
                permit=work.encode_message(permit),
            )
        )

    def _place_left(self, event: ev.LimitLeft) -> None:
        self.take_slot(IN_LINE)
        self.tasks_gone.append(event.source)

    def _activity_stopped(self, event: ev.ActivityStopped) -> None:
        self.tasks_stopped.append(event.source)

    def _timer(self, event: ev.TimerCreated) -> None:
        self.timers.append((event.id, event.fire_at))

    def _timer_gone(self, event: ev.TimerFired | ev.TimerCancelled) -> None:
        self.timers_gone.append(event.source)

    def _child(self, event: ev.ChildScheduled) -> None:
        owner = self.owner
        parent = ev.Parent(
            instance_id=owner.instance_id, incarnation=owner.incarnation, execution=owner.execution, event=event.id
        )
        refused = work.ChildOutcome(execution=owner.execution, source=event.id, ending="refused", error=REFUSED_CHILD)
        self.children[event.id] = event.instance_id
        self._start(work.ChildStart(new=self._new(event, parent), refused=work.encode_message(refused)))

    def _detached(self, event: ev.DetachedStarted) -> None:
        self.addressed.append(event.instance_id)
        self._start(work.ChildStart(new=self._new(event, None)))

    def _start(self, start: work.ChildStart) -> None:
        shard = None if self.shard is None else self.shard.far(start.new.id)
        if shard is None:
            self.starts.append(start)
        else:
            self.messages.append(_parcel(shard, start))

    def _tell(self, instance_id: str, message: work.OutMessage) -> None:
        shard = None if self.shard is None else self.shard.far(instance_id)
        self.messages.append(message if shard is None else _parcel(shard, message))

    def _new(self, event: ev.ChildScheduled | ev.DetachedStarted, parent: ev.Parent | None) -> work.NewInstance:
        root = (self.owner.root or self.owner.instance_id) if parent is not None else event.instance_id
        start = work.Start(input=event.input, version=event.version, root=root, parent=parent)
        slot, incarnation = slot_of(event.instance_id), self.draw_incarnation()
        return work.NewInstance(
            id=event.instance_id,
            incarnation=incarnation if self.shard is None else work.with_slot(incarnation, slot),
            name=event.name,
            version=event.version,
            start=work.encode_message(start),
            root=root,
            parent=parent,
            slot=slot,
        )

    def _child_cancelled(self, event: ev.ChildCancelled) -> None:
        message: work.AnyMessage = work.Cancel(reason="its parent no longer wants it")
        if event.terminate:
            message = work.Terminate(reason="its parent ended")
        child = self.children[event.source]
        self._tell(
            child,
            work.OutMessage(
                body=work.encode_message(message),
                to_id=child,
                child_of=self.owner.incarnation,
                control=event.terminate,
            ),
        )

    def _sent(self, event: ev.EventSent) -> None:
        self.addressed.append(event.instance_id)
        raised = work.Raised(name=event.name, data=event.data)
        self._tell(event.instance_id, work.OutMessage(body=work.encode_message(raised), to_id=event.instance_id))

    def _status(self, event: ev.StatusSet) -> None:
        self.change["custom_status"] = work.sealed(bytes(event.value))
        self.change["custom_status_sets"] = self.change.get("custom_status_sets", 0) + 1

    def _value_set(self, event: ev.ValueSet) -> None:
        self._keep(work.Entry(shelf=work.VALUES, key=event.key, value=work.sealed(bytes(event.value))))

    def _values_cleared(self, event: ev.ValuesCleared) -> None:
        for key in event.keys:
            self._keep(work.Entry(shelf=work.VALUES, key=key))

    def _keep(self, entry: work.Entry) -> None:
        # Only the last of a turn is ever seen.
        self.entries[entry.shelf, entry.key] = entry

    def _update_answered(self, event: ev.UpdateAnswered) -> None:
        self.answers[event.request] = work.encode_answer(work.Answer(result=event.result, error=event.error))

    def _began(self, event: ev.Started) -> None:
        if event.min_reader > 1:
            self.change["min_reader"] = event.min_reader

    def _cancel_asked(self, _: ev.CancelRequested) -> None:
        self.change["cancel_requested"] = True

    def _continued(self, event: ev.ContinuedAsNew) -> None:
        owner = self.owner
        start = work.Start(
            input=event.input,
            version=event.version,
            since=owner.version if event.version is None else None,
            execution=owner.execution + 1,
            root=owner.root,
            parent=owner.parent,
            carried=event.carried,
            values=event.values,
            status=event.status,
        )
        self.next_start = work.encode_message(start)
        self.change["execution"] = owner.execution + 1
        # Else open: any worker that has the name may take it, and move it to its latest version.
        self.change["version"] = event.version
        self.ended = event

    def _ended(self, event: Any) -> None:
        self.ended = event
        self.change["status"] = _CLOSING[type(event)]
        error: ErrorInfo | None = None
        if isinstance(event, ev.Completed):
            self.change["output"] = work.sealed(bytes(event.output))
        elif isinstance(event, ev.Failed):
            error = event.error
        elif event.reason:
            error = ErrorInfo(type=f"perdure.{type(event).__name__}", message=event.reason)
        if error is not None:
            self.change["error"] = work.sealed(_encode(error))
        parent = self.owner.parent
        if parent is not None:
            outcome = work.ChildOutcome(
                execution=parent.execution,
                source=parent.event,
                ending=self.change["status"].value,
                result=event.output if isinstance(event, ev.Completed) else ev.ABSENT,
                error=error,
            )
            message = work.OutMessage(body=work.encode_message(outcome), to_incarnation=parent.incarnation)
            self._tell(parent.instance_id, message)


def _parcel(shard: int, what: work.ChildStart | work.OutMessage) -> work.OutMessage:
    from perdure._work.parcels import parcel_for  # noqa: PLC0415 - few stores have shards

    return parcel_for(shard, what)


IN_LINE = ""
"""Takes the slot of no activity, and so has new work claimed with the commit of the turn."""


def new_task(event: ev.ActivityScheduled, take_slot: Callable[[str], bool]) -> work.NewTask:
    """The activity that an event asks for; this worker runs it if it has a slot."""
    retry = bytes(event.retry) if event.retry else None
    in_line = event.tag or event.limit or event.session
    special = retry or event.priority or in_line or event.schedule_to_start_us is not None
    local = take_slot(IN_LINE if in_line else event.name)
    if not special:
        return work.NewTask(event=event.id, name=event.name, input=work.sealed(bytes(event.input)), local=local)
    return work.NewTask(
        event=event.id,
        name=event.name,
        input=work.sealed(bytes(event.input)),
        local=local,
        retry=None if retry is None else work.sealed(retry),
        tag=event.tag,
        session=event.session,
        priority=event.priority,
        limit=event.limit,
        schedule_to_start_us=event.schedule_to_start_us,
        total_timeout_us=None if retry is None else from_wire(retry).total_timeout_us,
    )


def history_row(events: list[Any], base: int, at: int) -> work.HistoryRow:
    """The stored form of a turn's events, which follow event `base`."""
    data = ev.encode_events(events)
    return work.HistoryRow(first=base + 1, last=base + len(events), at=at, data=data, crc=ev.checksum(data))


_READERS: dict[type, Callable[[Draft, Any], None]] = {
    ev.Started: Draft._began,
    ev.ActivityCompleted: Draft._answered,
    ev.ActivityFailed: Draft._answered,
    ev.ActivityScheduled: Draft._scheduled,
    ev.ActivityCancelled: Draft._activity_cancelled,
    ev.ActivityStopped: Draft._activity_stopped,
    ev.LimitAsked: Draft._place_asked,
    ev.LimitLeft: Draft._place_left,
    ev.TimerCreated: Draft._timer,
    ev.TimerFired: Draft._timer_gone,
    ev.TimerCancelled: Draft._timer_gone,
    ev.ChildScheduled: Draft._child,
    ev.ChildCancelled: Draft._child_cancelled,
    ev.DetachedStarted: Draft._detached,
    ev.EventSent: Draft._sent,
    ev.StatusSet: Draft._status,
    ev.ValueSet: Draft._value_set,
    ev.ValuesCleared: Draft._values_cleared,
    ev.UpdateAnswered: Draft._update_answered,
    ev.CancelRequested: Draft._cancel_asked,
    ev.ContinuedAsNew: Draft._continued,
    ev.Completed: Draft._ended,
    ev.Failed: Draft._ended,
    ev.Cancelled: Draft._ended,
    ev.Terminated: Draft._ended,
}
