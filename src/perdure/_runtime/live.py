"""An instance in the worker's memory, and the turns that are on their way to storage."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from perdure._client.requests import Request
from perdure._events import Parent
from perdure._runtime.turns import Draft, Owner
from perdure._types import Status
from perdure._work import (
    ActivityOutcome,
    AnyMessage,
    ClaimedInstance,
    Deliver,
    InstanceRecord,
    Item,
    NewInstance,
    Start,
    TimerDue,
    decode_message,
)
from perdure.errors import HeldError, HistoryCorruptError, UsageError

if TYPE_CHECKING:
    from perdure._core.execution import Execution


TORN = "a stored control message (a cancel or a terminate) could not be read, and is gone: send it again"


class Arrival(Struct, frozen=True, eq=False):
    """A message and where it came from: a row (`seq`), a timer's row, or this process's memory (seq 0)."""

    message: AnyMessage
    seq: int = 0
    request: Request | None = None


class Live:
    """An instance that this worker owns. `execution` is the suspended program, or None until replay rebuilds it."""

    __slots__ = (
        "base",
        "children",
        "create",
        "damage",
        "execution",
        "execution_id",
        "for_control",
        "incarnation",
        "instance_id",
        "last_at",
        "name",
        "owner",
        "parent",
        "pending",
        "queued",
        "resets",
        "root",
        "seqs",
        "torn",
        "version",
    )

    def __init__(
        self,
        *,
        instance_id: str,
        incarnation: int,
        name: str,
        version: str | None,
        execution_id: int,
        base: int,
        parent: Parent | None,
        root: str,
        create: NewInstance | None = None,
    ) -> None:
        self.instance_id = instance_id
        self.incarnation = incarnation
        self.name = name
        self.version = version
        self.execution_id = execution_id
        self.base = base
        self.parent = parent
        self.root = root
        self.create = create
        self.resets = 0
        self.last_at = 0
        """The time of its last event, which no later one may precede."""
        self.execution: Execution | None = None
        self.pending: deque[Arrival] = deque()
        self.queued = False
        """Whether it stands in the line for a turn."""
        self.for_control = False
        """Whether it is here for the sake of a control message only, and takes no turn."""
        self.seqs: set[Any] | None = None
        self.children: dict[int, str] | None = None
        self.owner: Owner | None = None
        self.damage: Exception | None = None
        self.torn: tuple[int, ...] = ()
        """Control messages that nobody can read: left where they are, they would come to some worker at once."""

    @classmethod
    def of_record(cls, record: InstanceRecord) -> "Live":
        """The instance of a claimed row."""
        live = cls(
            instance_id=record.id,
            incarnation=record.incarnation,
            name=record.name,
            version=record.version,
            execution_id=record.execution,
            base=record.last_event,
            parent=record.parent,
            root=record.root,
        )
        live.last_at = record.updated_at
        live.resets = record.resets
        return live

    def has(self, key: Any) -> bool:
        """Whether the message or timer with this key is here: rows that were handed out and not consumed come again."""
        return self.seqs is not None and key in self.seqs

    def arrive(self, arrival: Arrival, key: Any) -> None:
        """Add the message or timer of a row."""
        if self.seqs is None:
            self.seqs = set()
        self.seqs.add(key)
        self.pending.append(arrival)

    def is_outrun_by(self, record: InstanceRecord) -> bool:
        """Whether another worker has gone on with it while it was away from here, and nothing here would find out."""
        return self.resets != record.resets or (
            not self.pending and (self.execution_id, self.base) != (record.execution, record.last_event)
        )

    def take_in(self, claimed: ClaimedInstance) -> None:
        """The messages that it has not taken in before."""
        self.for_control = claimed.for_control
        for message in claimed.messages:
            timer = message.timer
            key = message.seq if timer is None else (timer.execution, timer.source)
            if self.has(key):
                continue
            if timer is not None:
                self.arrive(Arrival(timer), key)
                continue
            try:
                self.arrive(Arrival(decode_message(message.body), message.seq), key)
            except Exception as error:  # noqa: BLE001 - any damage to a stored message holds its instance
                if not claimed.for_control:
                    self.damage = HeldError(f"the stored message {message.seq} can't be read: {error}")
                    continue
                self.torn += (message.seq,)
                if claimed.record.status is not Status.SUSPENDED:
                    self.damage = HeldError(f"{TORN} ({error})")

    def check_beginning(self, claimed: ClaimedInstance) -> None:
        """See that what runs has begun: with no event and no start it would wait in silence for ever."""
        record = claimed.record
        if self.base or self.damage is not None or self.for_control or record.status is not Status.RUNNING:
            return
        waiting = {arrival.seq for arrival in self.pending}
        if any(message.timer is None and message.seq not in waiting for message in claimed.messages):
            # A turn that is on its way has taken it, and begins with the start.
            return
        if not any(isinstance(arrival.message, Start) for arrival in self.pending):
            self.damage = HistoryCorruptError(
                f"the stored history of execution {record.execution} is gone: it runs, and has neither an event nor a "
                "start message",
                event_id=1,
            )

    def continue_as_new(self) -> None:
        """The execution has ended in another, which takes along what waits, outcomes of the ended one excepted."""
        self.execution = None
        self.execution_id += 1
        self.base = 0
        self.version = None
        self.children = None
        self.pending = deque(
            arrival for arrival in self.pending if not isinstance(arrival.message, ActivityOutcome | TimerDue)
        )

    def consume(self, arrivals: Iterable[Arrival]) -> None:
        """These rows are gone, so their keys need not be known any more."""
        seqs = self.seqs
        if seqs is None:
            return
        for arrival in arrivals:
            message = arrival.message
            seqs.discard((message.execution, message.source) if isinstance(message, TimerDue) else arrival.seq)
        self.seqs = seqs or None


class Prepared(Struct, eq=False, kw_only=True):
    """A turn that waits for its commit."""

    live: Live
    item: Item
    arrivals: Sequence[Arrival]
    went_on: bool = False
    """Whether the turn did no more than take an outcome and ask for one activity."""
    closes: bool = False
    """Whether it did no more than take an outcome and complete."""
    draft: Draft | None = None
    """What else the events say, if it did more."""
    warnings: Sequence[str] = ()
    goes_back: bool = False
    """Whether it can't go on here, and what had brought it here all the same was only sent on."""
    answers: Mapping[str, bytes] = {}
    """What who asked here is told once the turn is durable, by request."""
    held: str | None = None
    held_by: str = ""
    """The class of what it is held for."""


def bring(request: Request, item: Deliver, live: Live, deliver: Callable[[Live, Arrival], None]) -> None:
    """Deliver what a client sends; a message that can't be read is its own trouble, and not the engine's."""
    try:
        message = decode_message(item.body)
    except Exception as error:  # noqa: BLE001 - whatever a client has put into it
        request.resolve(UsageError(f"what was sent to {item.to_id!r} is no message: {error}"))
        return
    deliver(live, Arrival(message, 0, request))
