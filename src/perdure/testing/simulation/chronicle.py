"""What one instance has been told and has asked for, read from the history that was accepted, event by event.

The rules of a history are kept here a second time, independently of the engine, and its program is run again beside
it: every prefix must ask for what is recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure import _events as ev
from perdure import _work as work
from perdure._core.execution import Execution
from perdure._types import INSTANT_US_MAX
from perdure.testing.simulation.ledger import Violation
from perdure.testing.simulation.letters import check_letter
from perdure.testing.simulation.programs import NAME, REGISTRIES

if TYPE_CHECKING:
    from perdure._core.stage import Stage

_ACTIVITY = (ev.ActivityCompleted, ev.ActivityFailed, ev.ActivityCancelled)
_TIMER = (ev.TimerFired, ev.TimerCancelled)
_CHILD = (ev.ChildCompleted, ev.ChildFailed, ev.ChildCancelled)
_ENDING = (ev.Ended, ev.Terminated)
_CLOSING = (ev.Completed, ev.Failed, ev.Cancelled, ev.Terminated)


class Chronicle:
    """The history of one instance so far, and what in it is open.

    Attributes:
        read: What came out of the mailboxes, by the external events' data, in the order of their arrival.
        tasks: The activities that have no outcome, by the event that asked for them; so are timers and children.
    """

    def __init__(self, instance_id: str, incarnation: int, parent: ev.Parent | None) -> None:
        self.instance_id = instance_id
        self.incarnation = incarnation
        self.parent = parent
        self.execution = 1
        self.last = 0
        self.at = 0
        self.name = NAME
        self.version: str | None = None
        self.input: Any = None
        self.first_input: Any = None
        self.ended: Any = None
        self.cancel_requested = False
        self.raised: list[str] = []
        self.begins = 0
        """How much of that was raised before the present execution."""
        self.histories: set[int] = set()
        """The executions whose events are kept."""
        self.tasks: dict[int, ev.ActivityScheduled] = {}
        self.places: dict[int, ev.LimitAsked] = {}
        """Places of limits that are waited for or held, by the event that asked for them."""
        self.entered: set[int] = set()
        """Those of them that are held."""
        self.asked: set[int] = set()
        """The activities of the present execution, whatever became of them."""
        self.answered: set[int] = set()
        """Those that have ended, or were given up."""
        self.given_up: set[int] = set()
        """Those that were given up."""
        self.forked_from: int | None = None
        """The incarnation whose history this was before."""
        self.timers: dict[int, int] = {}
        self.children: dict[int, ev.ChildScheduled] = {}
        self.waits: dict[int, str] = {}
        self.updates: dict[int, str] = {}
        self.requests: set[str] = set()
        self.values: dict[str, bytes] = {}
        self.status: bytes | None = None
        self.status_version = 0
        self._unread: dict[int, tuple[str, bytes]] = {}
        self._given: dict[int, tuple[int, str, bytes]] = {}
        self._carried: tuple[ev.Carried, ...] | None = None
        self._shadow: Execution | None = None

    @classmethod
    def of_image(cls, image: work.InstanceImage, stage: Stage) -> Chronicle:
        """The history of an instance as it was written, read as it would have been accepted."""
        record, rows = image.record, image.history
        chronicle = cls(record.id, record.incarnation, record.parent)
        chronicle.execution = rows[0].execution if rows else record.execution
        if chronicle.execution > 1:
            # What it showed before is in its beginning.
            starts = [each for each in map(_message, image.messages) if isinstance(each, work.Start)]
            start: Any = ev.decode_events(rows[0].row.data)[0] if rows else starts[0]
            chronicle.values = {kept.key: bytes(kept.value) for kept in start.values}
            chronicle.status = bytes(start.status) or None
        for each in rows:
            chronicle.extend(each.row, each.execution, INSTANT_US_MAX, stage)
        if chronicle.last == 0:
            chronicle.name, chronicle.version = record.name, record.version
        return chronicle

    def drop(self, stage: Stage) -> None:
        """Let go of the program that runs beside the history."""
        shadow, self._shadow = self._shadow, None
        if shadow is not None:
            with stage.on(shadow):
                shadow.drop()

    def extend(self, row: work.HistoryRow, execution: int, now: int, stage: Stage) -> list[Any]:
        """Take in the events of one accepted turn; returns them."""
        if execution != self.execution:
            raise self._wrong(f"a turn of execution {execution} was accepted in execution {self.execution}")
        if ev.checksum(row.data) != row.crc:
            raise self._wrong("the checksum of an accepted row is wrong")
        events = ev.decode_events(row.data)
        if [event.id for event in events] != list(range(self.last + 1, row.last + 1)) or row.first != self.last + 1:
            raise self._wrong(f"events {row.first}-{row.last} were accepted behind event {self.last}")
        for event in events:
            if self.ended is not None:
                raise self._wrong(f"event {event.id} was accepted behind the end")
            self._take(event, now)
        self.last = row.last
        self.histories.add(execution)
        self._replay(events, stage)
        if isinstance(self.ended, ev.ContinuedAsNew):
            self._continue(stage)
        elif self.ended is not None:
            self.drop(stage)
        return events

    def _wrong(self, why: str) -> Violation:
        return Violation(f"{self.instance_id} ({self.incarnation}): {why}")

    # -- events ----------------------------------------------------------------------------------------------------

    def _take(self, event: Any, now: int) -> None:
        if isinstance(event, ev.Inbound):
            if event.at < self.at:
                raise self._wrong(f"event {event.id} is older than one before it")
            self.at = event.at
        taker = _TAKERS.get(type(event))
        if taker is not None:
            taker(self, event)
        elif isinstance(event, _ACTIVITY):
            self._answered(self.tasks, event)
            self.answered.add(event.source)
            if isinstance(event, ev.ActivityCancelled):
                self.given_up.add(event.source)
        elif isinstance(event, _TIMER):
            fire_at = self._answered(self.timers, event)
            if isinstance(event, ev.TimerFired) and (event.at < fire_at or now < fire_at):
                raise self._wrong(f"timer {event.source} fired at {event.at}, due at {fire_at}, stored at {now}")
        elif isinstance(event, _CHILD):
            self._answered(self.children, event)
        if isinstance(event, _ENDING):
            self._end(event)

    def _answered(self, asked: dict[int, Any], event: Any) -> Any:
        if event.source not in asked:
            raise self._wrong(f"event {event.id} ({type(event).__name__}) answers {event.source}, which is not open")
        return asked.pop(event.source)

    def _started(self, event: ev.Started) -> None:
        if event.id != 1 or event.execution != self.execution:
            raise self._wrong(f"execution {event.execution} begins at event {event.id} of {self.execution}")
        if self._carried is not None and tuple(event.carried) != self._carried:
            raise self._wrong(f"execution {event.execution} was not given what the one before it had not read")
        self.name, self.version = event.name, event.version
        self.input = event.input
        self.forked_from = event.forks[-1].incarnation if event.forks else None
        given = {kept.key: bytes(kept.value) for kept in event.values}
        if given != self.values or (bytes(event.status) or None) != self.status:
            raise self._wrong(f"execution {event.execution} does not begin with what the one before it showed")
        for number, entry in enumerate(event.carried, start=-len(event.carried)):
            self._unread[number] = (entry.name, bytes(entry.data))
        if self.execution == 1:
            self.first_input = event.input

    def _asked_activity(self, event: ev.ActivityScheduled) -> None:
        self.tasks[event.id] = event
        self.asked.add(event.id)

    def _stopped_activity(self, event: ev.ActivityStopped) -> None:
        if event.source not in self.tasks:
            raise self._wrong(f"event {event.id} stops {event.source}, which is no open activity")

    def _asked_place(self, event: ev.LimitAsked) -> None:
        self.places[event.id] = event

    def _entered(self, event: ev.LimitEntered) -> None:
        if event.source not in self.places or event.source in self.entered:
            raise self._wrong(f"event {event.id} enters {event.source}, which is no place that is waited for")
        self.entered.add(event.source)

    def _left(self, event: ev.LimitLeft) -> None:
        self._answered(self.places, event)
        self.entered.discard(event.source)

    def _asked_timer(self, event: ev.TimerCreated) -> None:
        self.timers[event.id] = event.fire_at

    def _asked_child(self, event: ev.ChildScheduled) -> None:
        self.children[event.id] = event

    def _asked_wait(self, event: ev.WaitStarted) -> None:
        if event.took is None:
            self.waits[event.id] = event.name
            return
        oldest = min((number for number, (name, _) in self._unread.items() if name == event.name), default=None)
        if event.took != oldest:
            raise self._wrong(f"wait {event.id} took external event {event.took}; the oldest unread one is {oldest}")
        self._given[event.id] = (event.took, *self._unread.pop(event.took))

    def _cancelled_wait(self, event: ev.WaitCancelled) -> None:
        if event.gave_back is None:
            if self.waits.pop(event.source, None) is None:
                raise self._wrong(f"event {event.id} cancels {event.source}, which is no open wait")
            return
        given = self._given.pop(event.source)
        if event.gave_to is None:
            self._unread[given[0]] = given[1:]
        else:
            self._give(event.id, event.gave_to, given)

    def _raised(self, event: ev.EventRaised) -> None:
        text = bytes(event.data).decode()
        check_letter(self.incarnation, text)
        self.raised.append(text)
        if event.wait is None:
            self._unread[event.id] = (event.name, bytes(event.data))
        else:
            self._give(event.id, event.wait, (event.id, event.name, bytes(event.data)))

    def _give(self, event_id: int, wait: int, given: tuple[int, str, bytes]) -> None:
        if self.waits.pop(wait, None) != given[1]:
            raise self._wrong(f"event {event_id} gives {given[0]} to {wait}, which is no open wait for {given[1]}")
        self._given[wait] = given

    def _updated(self, event: ev.UpdateReceived) -> None:
        if event.request in self.requests:
            raise self._wrong(f"update {event.request} is in its history twice")
        self.requests.add(event.request)
        self.updates[event.id] = event.request

    def _answered_update(self, event: ev.UpdateAnswered) -> None:
        if self.updates.pop(event.source, None) != event.request:
            raise self._wrong(f"event {event.id} answers {event.source}, which is no open update {event.request}")

    def _set_status(self, event: ev.StatusSet) -> None:
        self.status = bytes(event.value)
        self.status_version += 1

    def _set_value(self, event: ev.ValueSet) -> None:
        self.values[event.key] = bytes(event.value)

    def _clear_values(self, event: ev.ValuesCleared) -> None:
        for key in event.keys:
            if self.values.pop(key, None) is None:
                raise self._wrong(f"event {event.id} clears {key!r}, which is not there")

    def _cancel(self, event: ev.CancelRequested) -> None:
        if self.cancel_requested:
            raise self._wrong(f"event {event.id} asks again for a cancel")
        self.cancel_requested = True

    def _end(self, event: Any) -> None:
        self.ended = event
        if isinstance(event, ev.Terminated):
            return
        wanted = [child.id for child in self.children.values() if child.on_close != "abandon"]
        # What is held goes with the execution.
        left = [*self.tasks, *(self.places.keys() - self.entered), *self.timers, *self.waits, *self.updates, *wanted]
        if left:
            raise self._wrong(f"it ended while events {left} were open, and did not give them up")
        if isinstance(event, ev.ContinuedAsNew):
            unread = [(name, data) for _, (name, data) in sorted(self._unread.items())]
            carried = [(entry.name, bytes(entry.data)) for entry in event.carried]
            if carried != unread:
                raise self._wrong(f"it goes on with {carried} of the unread external events {unread}")

    def _continue(self, stage: Stage) -> None:
        self._carried = tuple(self.ended.carried)
        self.drop(stage)
        self.execution += 1
        self.last = 0
        self.ended = None
        self.cancel_requested = False
        self.tasks, self.timers, self.children, self.waits = {}, {}, {}, {}
        self.places, self.entered = {}, set()
        self.asked, self.answered, self.given_up = set(), set(), set()
        self.begins = len(self.raised)
        self._unread, self._given = {}, {}

    @property
    def is_closed(self) -> bool:
        """Whether it has ended, and not to go on in another execution."""
        return isinstance(self.ended, _CLOSING)

    # -- replay ----------------------------------------------------------------------------------------------------

    def _replay(self, events: list[Any], stage: Stage) -> None:
        if self._shadow is None:
            started = events[0]
            if isinstance(started, ev.Terminated):
                return
            definition = REGISTRIES["all"].orchestration(started.name, started.version)
            assert definition is not None  # noqa: S101 - the registry has all versions
            self._shadow = Execution(self.instance_id, self.incarnation, definition)  # type: ignore[abstract]  # set by name
        stage.enter(self._shadow)
        try:
            self._shadow.replay(events)
        except Exception as error:
            raise self._wrong(f"a replay up to event {events[-1].id} differs: {error}") from error
        finally:
            stage.leave(self._shadow)
        # That an abandoned child is no longer waited for is written nowhere.
        waited_for = self._shadow.open
        for event in [event for event, child in self.children.items() if child.on_close == "abandon"]:
            if event not in waited_for:
                del self.children[event]


def _message(image: work.MessageImage) -> work.AnyMessage:
    return work.decode_message(image.body)


_TAKERS: dict[type, Any] = {
    ev.Started: Chronicle._started,
    ev.ActivityScheduled: Chronicle._asked_activity,
    ev.ActivityStopped: Chronicle._stopped_activity,
    ev.LimitAsked: Chronicle._asked_place,
    ev.LimitEntered: Chronicle._entered,
    ev.LimitLeft: Chronicle._left,
    ev.TimerCreated: Chronicle._asked_timer,
    ev.ChildScheduled: Chronicle._asked_child,
    ev.WaitStarted: Chronicle._asked_wait,
    ev.WaitCancelled: Chronicle._cancelled_wait,
    ev.EventRaised: Chronicle._raised,
    ev.CancelRequested: Chronicle._cancel,
    ev.UpdateReceived: Chronicle._updated,
    ev.UpdateAnswered: Chronicle._answered_update,
    ev.StatusSet: Chronicle._set_status,
    ev.ValueSet: Chronicle._set_value,
    ev.ValuesCleared: Chronicle._clear_values,
}
