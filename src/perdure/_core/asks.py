"""What an orchestration has asked for in the run of one event, before it is written down.

An ask knows how to become its event, given an id; until then it has none, because an ask that is taken back within the
same run leaves no trace. Comparing a replay's asks with the recorded events is `matching.py`.
"""

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Protocol, TypeVar, cast

from msgspec import Raw
from msgspec.structs import replace

from perdure._context import ChildFuture as PublicChildFuture
from perdure._context import DurableFuture as PublicDurableFuture
from perdure._core.loop import TimerHandle
from perdure._core.tasks import Future
from perdure._events import (
    ActivityCancelled,
    ActivityScheduled,
    ActivityStopped,
    Asked,
    ChildCancelled,
    ChildScheduled,
    TimerCancelled,
    TimerCreated,
    WaitCancelled,
    WaitStarted,
)
from perdure.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Generator

    from perdure._core.execution import Execution

T = TypeVar("T")

_await: Any = asyncio.Future.__await__

TAKEN_BACK = -1
"""The id of an ask that was taken back in the run that made it: it leaves no trace."""


class Decoder(Protocol):
    """What turns stored bytes into a value of the annotated type."""

    def decode(self, data: Any, *, what: str) -> Any:
        """The value."""
        ...


class Ask(Protocol):
    """Something asked for: it can be written down as an event.

    Attributes:
        event_id: The id of that event; 0 until it is written, TAKEN_BACK if it never will be.
        survives: Whether it goes on when it is given up, or when the orchestration ends.
    """

    event_id: int

    @property
    def survives(self) -> bool:
        """See above."""
        ...

    def event(self, event_id: int) -> Asked:
        """The event that records it under this id."""
        ...

    def given_up(self) -> Asked:
        """The event that records that it is no longer wanted; its id is filled in later."""
        ...

    def bind(self, event_id: int) -> None:
        """It has been written down under this id."""
        ...

    def write(self, event_id: int) -> Asked:
        """The event that records it, and under whose id it is from now on written down."""
        ...

    def is_settled(self) -> bool:
        """Whether no event is to come that answers it."""
        ...

    def names(self) -> Iterable[str]:
        """Other names under which history may know it."""
        ...


class DurableFuture(Future[T], PublicDurableFuture[T]):
    """A future that an event of history will resolve."""

    __slots__ = ("event_id", "lost_at", "where")
    survives: ClassVar[bool] = False
    """Whether what was asked for goes on when this future is given up, or the orchestration ends."""

    event_id: int
    where: str | None
    lost_at: str | None

    @property
    def execution(self) -> "Execution":
        """Whose future it is."""
        return cast("Execution", self.get_loop())

    def bind(self, event_id: int) -> None:
        """It has been written down under this id."""
        self.event_id = event_id

    def cancel(self, msg: Any = None) -> bool:
        """Give up what was asked for; recorded at once, before anything else learns of it."""
        if self.done():
            return False
        self.execution.give_up(self)
        return super().cancel(msg)

    def __await__(self) -> "Generator[Any, None, T]":
        if self.cancelled():
            self.refuse("awaited")
        awaiting: Generator[Any, None, T] = _await(self)
        return awaiting

    __hash__ = Future.__hash__

    def __eq__(self, other: object) -> bool:
        if other is not None and not isinstance(other, asyncio.Future):
            self._misused("compared with a value")
        return self is other

    def refuse(self, done_to_it: str) -> NoReturn:
        """Refuse what was cancelled before: a second wait for it would look like a cancelled orchestration."""
        at = "" if self.lost_at is None else f" at {self.lost_at}"
        raise UsageError(
            f"a durable future that was cancelled{at} was {done_to_it}: it lost a select or was given up there. "
            "Ask for a new one before you wait again."
        )

    is_settled = Future.done

    def write(self, event_id: int) -> Asked:
        """The event that records what was asked for, which is from now on written down."""
        event = self.event(event_id)
        self.bind(event_id)
        return event

    def event(self, event_id: int) -> Asked:
        """The event that records what was asked for."""
        raise NotImplementedError  # pragma: no cover - every subclass has its own

    def given_up(self) -> Asked:
        """The event that records that it is no longer wanted; its id is filled in later."""
        raise NotImplementedError  # pragma: no cover - every subclass has its own

    def names(self) -> Iterable[str]:
        """Other names under which history may know it."""
        return ()


class ActivityFuture(DurableFuture[T]):
    """The outcome of an activity."""

    __slots__ = ("aliases", "decoder", "name", "wanted")
    _kind = "activity"
    name: str
    decoder: Decoder
    aliases: tuple[str, ...]
    wanted: ActivityScheduled | None
    """The event that records it, its id a guess; None once that is written: very many of these wait in memory."""

    def event(self, event_id: int) -> ActivityScheduled:
        """The event that records the activity."""
        wanted: Any = self.wanted
        # It is made with the id that it will have unless another ask comes before it or is taken back.
        event: ActivityScheduled = wanted if wanted.id == event_id else replace(wanted, id=event_id)
        return event

    def bind(self, event_id: int) -> None:
        """It has been written down under this id."""
        self.event_id = event_id
        self.wanted = None

    def write(self, event_id: int) -> ActivityScheduled:
        """The event that records the activity, which is from now on written down."""
        wanted: Any = self.wanted
        self.event_id = event_id
        self.wanted = None
        event: ActivityScheduled = wanted if wanted.id == event_id else replace(wanted, id=event_id)
        return event

    def given_up(self) -> ActivityCancelled:
        """The event that records its cancellation."""
        return ActivityCancelled(id=0, where=self.lost_at, source=self.event_id)

    def names(self) -> Iterable[str]:
        """The activity's former names."""
        return self.aliases


class StoppableFuture(ActivityFuture[T]):
    """The outcome of an activity that is waited for also when it is cancelled: it is asked to end, and then does.

    Whoever awaits it meanwhile gets the cancellation then, and not the outcome; whoever asks later gets the outcome, or
    the cancellation if there is none.
    """

    __slots__ = ("message", "stopped")
    stopped: bool
    message: Any

    def cancel(self, msg: Any = None) -> bool:
        """Ask the activity to end; what was not even written down is given up at once."""
        if self.done():
            return False
        if self.event_id == 0 or self.execution.over is not None:
            return super().cancel(msg)
        if not self.stopped:
            self.execution.ask_to_end(self)
            self.stopped = True
            self.message = msg
        return True

    def asked_to_end(self) -> ActivityStopped:
        """The event that records that it shall end; its id is filled in later."""
        return ActivityStopped(id=0, where=self.lost_at, source=self.event_id)

    def has_stopped(self) -> None:
        """It has ended as it was asked to, without an outcome."""
        Future.cancel(self, self.message)

    def __await__(self) -> "Generator[Any, None, T]":
        if self.done():
            return (yield from super().__await__())
        asked_before = self.stopped
        self._asyncio_future_blocking = True
        try:
            yield self
        except Exception as error:
            if self.stopped and not asked_before:
                raise self._cancellation() from error
            raise
        if self.stopped and not asked_before:
            raise self._cancellation()
        return self.result()

    def _cancellation(self) -> asyncio.CancelledError:
        return asyncio.CancelledError() if self.message is None else asyncio.CancelledError(self.message)


class TimerFuture(DurableFuture[None]):
    """A durable timer."""

    __slots__ = ("fire_at",)
    _kind = "timer"
    fire_at: int

    def event(self, event_id: int) -> TimerCreated:
        """The event that records the timer."""
        return TimerCreated(id=event_id, where=self.where, fire_at=self.fire_at)

    def given_up(self) -> TimerCancelled:
        """The event that records its cancellation."""
        return TimerCancelled(id=0, where=self.lost_at, source=self.event_id)


class WaitFuture(DurableFuture[T]):
    """A wait for an external event: `got` is the event's id and data while it has one, `read` whether code saw it.

    An event that no code has seen is given back when the wait is cancelled, or when the only task that awaits it is, in
    the very run in which the event arrived. The wait then counts as cancelled, though asyncio thinks it done.
    """

    __slots__ = ("awaited", "decoder", "got", "name", "read", "took")
    _kind = "external event"
    name: str
    decoder: Decoder
    got: "tuple[int, Raw] | None"
    read: bool
    took: int | None
    awaited: int

    def event(self, event_id: int) -> WaitStarted:
        """The event that records the wait."""
        return WaitStarted(id=event_id, where=self.where, name=self.name, took=self.took)

    def given_up(self) -> WaitCancelled:
        """The event that records its cancellation."""
        return WaitCancelled(id=0, where=self.lost_at, source=self.event_id)

    def cancel(self, msg: Any = None) -> bool:
        """Stop waiting; an event that it has and nobody saw is unread again."""
        if self.got is None or self.read or self.awaited:
            return super().cancel(msg)
        self.execution.give_back(self)
        return True

    def cancelled(self) -> bool:
        """Whether it was cancelled, or has given its event back."""
        return self.done() and self.got is None

    def exception(self) -> BaseException | None:
        """Why the event's data could not be read, if so."""
        self._check_kept()
        return super().exception()

    def result(self) -> T:
        """The event's data; from now on it counts as read."""
        self._check_kept()
        if not self.awaited:
            self._see()
        return super().result()

    def __await__(self) -> "Generator[Any, None, T]":
        if not self.done():
            # A task that is about to wake asks for the result by itself: that is not yet code that sees it.
            self.awaited += 1
            self._asyncio_future_blocking = True
            try:
                yield self
            except BaseException as error:
                self.awaited -= 1
                if self.got is not None:
                    self._left(error)
                raise
            self.awaited -= 1
            self._see()
            return super().result()
        if self.cancelled():
            self.refuse("awaited")
        return self.result()

    def _see(self) -> None:
        # What code sees while its execution is unwinding is lost on it: the next execution shall read it.
        if self.execution.over is None:
            self.read = True

    def _check_kept(self) -> None:
        if self.got is None and self.done() and not super().cancelled():
            raise asyncio.CancelledError

    def _left(self, error: BaseException) -> None:
        if error is super().exception():
            self._see()
        elif not self.read and not self.awaited:
            self.execution.give_back(self)


class ChildFuture(DurableFuture[T], PublicChildFuture[T]):
    """The outcome of a sub-orchestration."""

    __slots__ = ("aliases", "decoder", "input", "instance_id", "name", "on_close", "version")
    _kind = "sub-orchestration"
    name: str
    input: bytes
    decoder: Decoder
    aliases: tuple[str, ...]
    instance_id: str
    version: str | None
    on_close: str

    @property
    def survives(self) -> bool:  # type: ignore[override]  # of each child, where other kinds have it in common
        """Whether the child goes on."""
        return self.on_close == "abandon"

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
        """The event that records that it shall end."""
        return ChildCancelled(id=0, where=self.lost_at, source=self.event_id, terminate=self.on_close == "terminate")

    def names(self) -> Iterable[str]:
        """The orchestration's former names."""
        return self.aliases


for _each in (ActivityFuture, StoppableFuture, TimerFuture, WaitFuture, ChildFuture):
    # Said of whatever has no such attribute or operator, or fits no annotation: mostly an outcome that was not awaited.
    _each.__name__ = _each.__qualname__ = f"un-awaited {_each._kind}"  # noqa: SLF001 - of this very module


class LoopTimer(TimerHandle):
    """A timer that asyncio asked for, a sleep or a timeout: the handle of its callback is the ask itself."""

    __slots__ = ("event_id", "lost_at", "where")
    survives: ClassVar[bool] = False
    event_id: int
    lost_at: str | None
    where: str | None

    def event(self, event_id: int) -> TimerCreated:
        """The event that records the timer."""
        return TimerCreated(id=event_id, where=self.where, fire_at=self.fire_at)

    def bind(self, event_id: int) -> None:
        """It has been written down under this id."""
        self.event_id = event_id

    def given_up(self) -> TimerCancelled:
        """The event that records its cancellation."""
        return TimerCancelled(id=0, where=self.lost_at, source=self.event_id)

    def write(self, event_id: int) -> TimerCreated:
        """The event that records the timer, which is from now on written down."""
        self.event_id = event_id
        return self.event(event_id)

    def is_settled(self) -> bool:
        """It is to fire."""
        return False

    def names(self) -> Iterable[str]:
        """A timer has no name."""
        return ()


class Note:
    """What nothing will answer: a detached start, an event sent, a status, a cancellation, the end."""

    __slots__ = ("event_id", "template")
    survives: ClassVar[bool] = True

    def __init__(self, template: Asked) -> None:
        self.template = template
        self.event_id = 0

    def event(self, event_id: int) -> Asked:
        """The event that records it."""
        template: Any = self.template
        event: Asked = template if template.id == event_id else replace(template, id=event_id)
        return event

    def bind(self, event_id: int) -> None:
        """It has been written down under this id."""
        self.event_id = event_id

    def given_up(self) -> Asked:
        """It can't be given up."""
        raise NotImplementedError  # pragma: no cover - nothing waits for it

    def write(self, event_id: int) -> Asked:
        """The event that records it, which is from now on written down."""
        self.event_id = event_id
        return self.event(event_id)

    def is_settled(self) -> bool:
        """Nothing is to come."""
        return True

    def names(self) -> Iterable[str]:
        """It has no other name."""
        return ()


def resolve(future: DurableFuture[Any], decoder: Decoder, data: Raw, what: str) -> None:
    """Give a future its value; data that doesn't fit its annotation is for the awaiting code to see."""
    try:
        value = decoder.decode(data, what=what)
    except Exception as error:  # noqa: BLE001 - a type's own validation may raise anything
        future.set_exception(error)
    else:
        future.set_result(value)


def by_source(event: Any) -> int:
    """The event that an event is about."""
    return int(event.source)


def awaits_an_answer(ask: Ask) -> bool:
    """Whether it was not taken back, and something is to come."""
    return ask.event_id != TAKEN_BACK and not ask.is_settled()
