"""What an orchestration has asked for in the run of one event, before it is written down.

An ask knows how to become its event, given an id; until then it has none, because an ask that is taken back within the
same run leaves no trace. Comparing a replay's asks with the recorded events is `matching.py`.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from msgspec import Raw
from msgspec.structs import replace

from perdure._context import DurableFuture as PublicDurableFuture
from perdure._events import (
    ActivityCancelled,
    ActivityScheduled,
    Asked,
    ChildCancelled,
    ChildScheduled,
    DetachedStarted,
    EventSent,
    StatusSet,
    TimerCancelled,
    TimerCreated,
    WaitCancelled,
    WaitStarted,
)
from perdure._core.loop import Future, TimerHandle
from perdure.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Generator

    from perdure._core.execution import Execution

T = TypeVar("T")


class Decoder(Protocol):
    """What turns stored bytes into a value of the annotated type."""

    def decode(self, data: Any, *, what: str) -> Any:
        """The value."""
        ...


class Ask(Protocol):
    """Something asked for: it can be written down as an event."""

    event_id: int

    def event(self, event_id: int) -> Asked:
        """The event that records it under this id."""
        ...

    def names(self) -> Iterable[str]:
        """Other names under which history may know it."""
        ...


class DurableFuture(Future[T], PublicDurableFuture[T]):  # type: ignore[misc]  # one asyncio.Future at run time
    """A future that an event of history will resolve."""

    __slots__ = ("event_id", "execution", "lost_at", "where")
    execution: "Execution"
    event_id: int
    where: str | None
    lost_at: str | None

    def cancel(self, msg: Any = None) -> bool:
        """Give up what was asked for; recorded at once, before anything else learns of it."""
        if self.done():
            return False
        self.execution.give_up(self)
        return super().cancel(msg)

    def __await__(self) -> "Generator[Any, None, T]":
        if not self.done():
            self._asyncio_future_blocking = True
            yield self
        elif self.cancelled():
            raise UsageError(
                f"this durable future was cancelled at {self.lost_at}: it lost a select or was given up there. "
                "Ask for a new one before you wait again."
            )
        return self.result()

    __iter__ = __await__

    def event(self, event_id: int) -> Asked:
        """The event that records what was asked for."""
        raise NotImplementedError  # pragma: no cover - every subclass has its own

    def given_up(self) -> Asked | None:
        """The event that records that it is no longer wanted; its id is filled in later."""
        raise NotImplementedError  # pragma: no cover - every subclass has its own

    def names(self) -> Iterable[str]:
        """Other names under which history may know it."""
        return ()


class ActivityFuture(DurableFuture[T]):
    """The outcome of an activity."""

    __slots__ = ("aliases", "decoder", "input", "name", "priority", "retry", "schedule_to_start_us", "session", "tag")
    name: str
    input: bytes
    decoder: Decoder
    aliases: tuple[str, ...]
    retry: Raw
    tag: str | None
    session: str | None
    priority: int
    schedule_to_start_us: int | None

    def event(self, event_id: int) -> ActivityScheduled:
        """The event that records the activity."""
        return ActivityScheduled(
            id=event_id,
            where=self.where,
            name=self.name,
            input=Raw(self.input),
            retry=self.retry,
            tag=self.tag,
            session=self.session,
            priority=self.priority,
            schedule_to_start_us=self.schedule_to_start_us,
        )

    def given_up(self) -> ActivityCancelled:
        """The event that records its cancellation."""
        return ActivityCancelled(id=0, source=self.event_id)

    def names(self) -> Iterable[str]:
        """The activity's former names."""
        return self.aliases


class TimerFuture(DurableFuture[None]):
    """A durable timer."""

    __slots__ = ("fire_at",)
    fire_at: int

    def event(self, event_id: int) -> TimerCreated:
        """The event that records the timer."""
        return TimerCreated(id=event_id, where=self.where, fire_at=self.fire_at)

    def given_up(self) -> TimerCancelled:
        """The event that records its cancellation."""
        return TimerCancelled(id=0, source=self.event_id)


class WaitFuture(DurableFuture[T]):
    """A wait for an external event: `got` is the event's id and data once it has one, `read` whether code saw it."""

    __slots__ = ("decoder", "got", "name", "read", "took")
    name: str
    decoder: Decoder | None
    got: "tuple[int, Raw] | None"
    read: bool
    took: int | None

    def event(self, event_id: int) -> WaitStarted:
        """The event that records the wait."""
        return WaitStarted(id=event_id, where=self.where, name=self.name, took=self.took)

    def given_up(self) -> WaitCancelled:
        """The event that records its cancellation."""
        return WaitCancelled(id=0, source=self.event_id)

    def result(self) -> T:
        """The event's data; from now on it counts as read."""
        self.read = True
        return super().result()

    def __await__(self) -> "Generator[Any, None, T]":
        try:
            return (yield from super().__await__())
        except BaseException:
            # The awaiting task was cancelled in the very run in which the event arrived: nobody has seen it.
            if self.got is not None and self.done() and not self.cancelled() and self.exception() is None:
                self.execution.give_back(self)
            raise

    __iter__ = __await__


class ChildFuture(DurableFuture[T]):
    """The outcome of a sub-orchestration."""

    __slots__ = ("aliases", "decoder", "input", "instance_id", "name", "on_close", "version")
    name: str
    input: bytes
    decoder: Decoder
    aliases: tuple[str, ...]
    instance_id: str
    version: str | None
    on_close: str

    def event(self, event_id: int) -> ChildScheduled:
        """The event that records the sub-orchestration."""
        return ChildScheduled(
            id=event_id,
            where=self.where,
            name=self.name,
            input=Raw(self.input),
            instance_id=self.instance_id,
            version=self.version,
            on_close=self.on_close,
        )

    def given_up(self) -> ChildCancelled:
        """The event that records its cancellation."""
        return ChildCancelled(id=0, source=self.event_id)

    def names(self) -> Iterable[str]:
        """The orchestration's former names."""
        return self.aliases


class LoopTimer:
    """A timer that asyncio asked for: a sleep or a timeout."""

    __slots__ = ("event_id", "handle", "where")

    def __init__(self, handle: TimerHandle, where: str | None) -> None:
        self.handle = handle
        self.where = where
        self.event_id = 0

    def event(self, event_id: int) -> TimerCreated:
        """The event that records the timer."""
        return TimerCreated(id=event_id, where=self.where, fire_at=self.handle.fire_at)

    def given_up(self) -> TimerCancelled:
        """The event that records its cancellation."""
        return TimerCancelled(id=0, source=self.event_id)

    def names(self) -> Iterable[str]:
        """A timer has no name."""
        return ()


class Note:
    """Something asked for that nothing will answer: a detached start, an event sent, a status, a cancellation."""

    __slots__ = ("event_id", "template")

    def __init__(self, template: DetachedStarted | EventSent | StatusSet) -> None:
        self.template = template
        self.event_id = 0

    def event(self, event_id: int) -> Asked:
        """The event that records it."""
        return with_id(self.template, event_id)

    def names(self) -> Iterable[str]:
        """It has no other name."""
        return ()


def with_id(event: Any, event_id: int) -> Any:
    """The same event under another id."""
    return replace(event, id=event_id)

