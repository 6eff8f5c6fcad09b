"""What a client asks of the thread that talks to storage, and how the answers come back to the client's event loop."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any, Generic, Protocol, TypeVar

from msgspec import Struct

from perdure._client.bell import Bell
from perdure._ports import Incarnations
from perdure._types import Status
from perdure._work import InstanceRecord, Item, Outcome
from perdure.errors import ClientError, InstanceNotFoundError, InstanceReplacedError
from perdure.storage.base import Inspector

T = TypeVar("T")

_WATCHES_LOOKED_THROUGH_MIN = 8
_ENTRIES_HELD_BACK_MAX = 256
_FEW = 3


class Ending(Struct, frozen=True, gc=False):
    """How an instance ended."""

    status: Status
    output: bytes | None
    error: bytes | None

    @classmethod
    def of(cls, record: InstanceRecord) -> "Ending | None":
        """The ending of an instance, None while it is open."""
        return cls(record.status, record.output, record.error) if record.status.is_closed else None


# What calls back can be held by whom it calls, as by the frames of an error that it tells: the collector must see it.
class Request(Struct, frozen=True, eq=False):
    """An item, and whom to tell what became of it; `resolve` is called on the thread that talks to storage."""

    item: Item
    resolve: Callable[[Outcome | BaseException], None]


class Watch(Struct, frozen=True, eq=False):
    """Somebody wants to hear of an instance: of its end (an `Ending`), or that it may have changed (None).

    `resolve` gets an exception when there is no such instance. `wanted` says, on any thread, whether anybody still
    waits: who gave up in time is not to be remembered for as long as the instance lives.
    """

    instance_id: str
    incarnation: int | None
    until_closed: bool
    resolve: Callable[[Any], None]
    wanted: Callable[[], bool]


def remember(watches: dict[str, list[Watch]], watch: Watch) -> None:
    """Add a watch to those of its instance, and from time to time forget those that nobody wants any more."""
    known = watches.setdefault(watch.instance_id, [])
    known.append(watch)
    if len(known) >= _WATCHES_LOOKED_THROUGH_MIN and len(known) & (len(known) - 1) == 0:
        known[:] = [each for each in known if each.wanted()]


def standings(inspector: Inspector, instance_ids: Sequence[str]) -> dict[str, tuple[int, Ending | None]]:
    """Which incarnation has each of these ids, and how it ended, None while it is open; nothing of what is not there.

    Of many most are open, and only the records of the others are read.
    """
    still_open = inspector.still_open(instance_ids) if len(instance_ids) > _FEW else {}
    found: dict[str, tuple[int, Ending | None]] = {each: (still_open[each], None) for each in still_open}
    if others := [each for each in instance_ids if each not in still_open]:
        found |= {
            instance_id: (record.incarnation, Ending.of(record))
            for instance_id, record in inspector.get_many(others).items()
        }
    return found


def tell(
    watches: dict[str, list[Watch]], instance_id: str, incarnation: int | None, ending: Ending | None, *, changed: bool
) -> bool:
    """Tell those who watch an instance what is news to them; whether anybody goes on waiting.

    Args:
        watches: All watches; those who go on waiting stay there.
        instance_id: The instance.
        incarnation: The one that has the id now; None if there is none.
        ending: How that ended; None while it is open.
        changed: Whether it may have changed.
    """
    watching = watches.get(instance_id, [])
    if ending is None and incarnation is not None and _all_go_on(watching, incarnation):
        return bool(watching)
    kept: list[Watch] = []
    for watch in watches.pop(instance_id, ()):
        news = _news_for(watch, incarnation, ending, changed=changed)
        if news is watch:
            kept.append(watch)
        else:
            watch.resolve(news)
    if kept:
        watches[instance_id] = kept
    return bool(kept)


def _all_go_on(watching: Iterable[Watch], incarnation: int) -> bool:
    """Whether nothing is news to those who watch this open instance: asked of thousands again and again."""
    for watch in watching:
        if not watch.until_closed or (watch.incarnation is not None and watch.incarnation != incarnation):
            return False
    return True


def _news_for(watch: Watch, incarnation: int | None, ending: Ending | None, *, changed: bool) -> Any:
    """What a watch is to be told; the watch itself if it goes on waiting."""
    if incarnation is None or watch.incarnation not in {None, incarnation}:
        kind = InstanceNotFoundError if incarnation is None else InstanceReplacedError
        return kind(watch.instance_id)
    if watch.until_closed:
        return watch if ending is None else ending
    return None if changed else watch


class Call(Struct, frozen=True, eq=False):
    """Run this on the thread that talks to storage."""

    function: Callable[[], None]


class Inbox(Protocol[T]):
    """The port by which that thread is fed and woken; a simulation has its own."""

    def put(self, entries: list[T]) -> None:
        """Add entries and wake the thread."""
        ...

    def take(self, wait_us: int) -> list[T]:
        """Everything that has come; waits at most `wait_us` for the first."""
        ...


class ThreadInbox(Generic[T]):
    """An inbox for a thread of its own."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[list[T]] = SimpleQueue()

    def put(self, entries: list[T]) -> None:
        """Add entries and wake the thread."""
        self._queue.put(entries)

    def take(self, wait_us: int) -> list[T]:
        """Everything that has come; waits at most `wait_us` for the first."""
        queue = self._queue
        taken: list[T] = []
        if wait_us > 0 and queue.empty():
            try:
                taken += queue.get(timeout=wait_us / 1e6)
            except Empty:
                return taken
        # Nobody else takes, so what is there stays there.
        while not queue.empty():
            taken += queue.get_nowait()
        return taken


class Bridge:
    """Carries entries from an event loop to the thread that talks to storage, and calls back; many for one wake-up.

    Each side wakes the other when it has finished its round: woken earlier, that would only wait for the interpreter's
    lock.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, waiting: "list[Bridge]", inbox: "Inbox[Any]") -> None:
        self.loop = loop
        self._waiting = waiting
        self._inbox = inbox
        self._entries: list[Any] = []
        self._calls: deque[tuple[Callable[[Any], None], Any]] = deque()
        self._calls_due: deque[tuple[Callable[[Any], None], Any]] = deque()
        """Those of rounds that are over."""
        self._bell = Bell(loop, self._run)
        self._asked = 0
        """How often something was asked since the other side has called back."""
        self._is_alone = False
        """Whether that was once, before it did: whoever asks next is answered soonest if it is not held back."""
        self.has_answered = False
        """Whether somebody was answered in the present round of the loop, who may ask for more in the next."""

    def send(self, *entries: Any) -> None:
        """Add entries to the inbox, once what is ready on the loop has run."""
        self._asked += 1
        if self._is_alone and not self._entries:
            self._is_alone = False
            self._inbox.put([*entries])
        else:
            self._hold(entries)

    def bring(self, entries: list[Any]) -> None:
        """Add what was not asked for at once; but one by itself goes with what somebody who was answered asks next."""
        if self.has_answered and len(entries) == 1:
            self._hold(entries)
        else:
            self._inbox.put(entries)

    def _hold(self, entries: Iterable[Any]) -> None:
        if not self._entries:
            self.loop.call_soon(self.deliver)
        self._entries += entries
        if len(self._entries) >= _ENTRIES_HELD_BACK_MAX:
            self.deliver()

    def deliver(self) -> None:
        """Add at once what was held back."""
        if self._entries:
            entries, self._entries = self._entries, []
            self._inbox.put(entries)

    def post(self, function: Callable[[Any], None], argument: Any) -> None:
        """Call `function(argument)` on the loop, once the round is over."""
        if not self._calls:
            self._waiting.append(self)
        self._calls.append((function, argument))

    def wake(self) -> None:
        """Wake the loop; what was posted is dropped when the loop has closed."""
        self._calls_due += self._calls
        self._calls.clear()
        self._bell.ring()

    def close(self) -> None:
        """Nobody will wake the loop any more. Called on a loop, this one or another."""
        if self.loop is asyncio.get_running_loop():
            self._bell.close()
            return
        try:
            self.loop.call_soon_threadsafe(self._bell.close)
        except RuntimeError:
            # It has closed: there is nothing to be taken back from it.
            self._bell.close()

    def _run(self) -> None:
        calls = self._calls_due
        if not calls:
            return
        self._is_alone, self._asked = self._asked == 1, 0
        try:
            while calls:
                function, argument = calls.popleft()
                function(argument)
        finally:
            self.has_answered = False


class Ask:
    """A question of the loop's, which is answered on the thread that talks to storage."""

    __slots__ = ("_bridge", "future", "send")

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self.send = bridge.send
        self.future: asyncio.Future[Any] = bridge.loop.create_future()

    def resolve(self, answer: Any) -> None:
        """Answer it; an exception is raised where it is awaited."""
        self._bridge.post(self._settle, answer)

    def is_awaited(self) -> bool:
        """Whether nobody has answered and nobody has given up."""
        return not self.future.done()

    def _settle(self, answer: Any) -> None:
        if self.future.done():
            return
        self._bridge.has_answered = True
        if isinstance(answer, BaseException):
            self.future.set_exception(answer)
        else:
            self.future.set_result(answer)


class Gateway(Protocol):
    """What a client needs of whoever talks to storage."""

    @property
    def inspector(self) -> Inspector:
        """The read side."""
        ...

    def draw_incarnation(self, instance_id: str) -> int:
        """A fresh incarnation for a start of this id."""
        ...

    def draw_id(self) -> str:
        """A fresh instance id: a UUID of version 7."""
        ...

    def submit(self, item: Item) -> Awaitable[Outcome]:
        """Have an item committed; durable when it has been awaited."""
        ...

    def ending(self, instance_id: str, incarnation: int | None = None) -> Awaitable[Ending]:
        """Wait for the instance's end."""
        ...

    async def news(self, instance_id: str) -> "asyncio.Future[None]":
        """A future that is done when the instance may have changed after this returned."""
        ...

    async def read(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a method of the inspector off the event loop."""
        ...


class Desk:
    """The event-loop side of a gateway: turns requests into futures, and answers into their results."""

    def __init__(self, inbox: Inbox[Any]) -> None:
        self._inbox = inbox
        self._bridges: dict[asyncio.AbstractEventLoop, Bridge] = {}
        self._building = Lock()
        self._waiting: list[Bridge] = []
        self.closed = False

    def refuse_if_closed(self) -> None:
        """Raise `ClientError` once the client has closed."""
        if self.closed:
            raise ClientError("this client is closed: use it inside its `async with` block")

    def close(self) -> None:
        """Take no more requests; those that this loop has made so far are in the inbox when this returns."""
        self.closed = True
        self.bridge().deliver()

    def hang_up(self) -> None:
        """The thread that answers has ended. Called on a loop."""
        with self._building:
            for bridge in self._bridges.values():
                bridge.close()

    def flush(self) -> None:
        """Wake the loops for which something was posted; called on the thread that posts, at the end of its round."""
        while self._waiting:
            self._waiting.pop().wake()

    def bridge(self) -> Bridge:
        """The bridge to the running loop."""
        loop = asyncio.get_running_loop()
        bridge = self._bridges.get(loop)
        if bridge is None:
            with self._building:
                for known in [known for known in self._bridges if known.is_closed()]:
                    self._bridges.pop(known).close()
                bridge = self._bridges[loop] = Bridge(loop, self._waiting, self._inbox)
        return bridge

    def submit(self, item: Item) -> "asyncio.Future[Outcome]":
        """Have an item committed."""
        ask = self._ask()
        ask.send(Request(item, ask.resolve))
        return ask.future

    def ending(self, instance_id: str, incarnation: int | None = None) -> "asyncio.Future[Ending]":
        """Wait for an instance's end."""
        ask = self._ask()
        ask.send(Watch(instance_id, incarnation, True, ask.resolve, ask.is_awaited))  # noqa: FBT003 - a record's field
        return ask.future

    async def news(self, instance_id: str) -> "asyncio.Future[None]":
        """A future that is done when the instance may have changed after this returned."""
        news = self._ask()
        heard = self._ask()
        watch = Watch(instance_id, None, False, news.resolve, news.is_awaited)  # noqa: FBT003 - a record's field
        # The entries are taken in order, so when the call is made the watch is known: what happens later is told, what
        # happened before can be read.
        heard.send(watch, Call(partial(heard.resolve, None)))
        try:
            await heard.future
        except BaseException:
            news.future.cancel()
            raise
        return news.future

    def _ask(self) -> "Ask":
        if self.closed:
            self.refuse_if_closed()
        return Ask(self.bridge())


class DeskGateway:
    """What every gateway does alike: it asks at its desk, and leaves reading off the event loop to its kind.

    Attributes:
        draw_id: Draws a fresh instance id.
        submit: Has an item committed.
        ending: Waits for an instance's end.
    """

    def __init__(self, inbox: Inbox[Any], inspector: Inspector, incarnations: Incarnations) -> None:
        self._desk = desk = Desk(inbox)
        self._inspector = inspector
        self._incarnations = incarnations
        # What every start and every wait for an end needs is bound here: one call less for each.
        self.draw_id = incarnations.draw_id
        self.submit = desk.submit
        self.ending = desk.ending

    @property
    def inspector(self) -> Inspector:
        """The read side."""
        return self._inspector

    def draw_incarnation(self, instance_id: str) -> int:  # noqa: ARG002 - the same whatever it is
        """A fresh incarnation for a start."""
        return self._incarnations.draw()

    async def news(self, instance_id: str) -> "asyncio.Future[None]":
        """A future that is done when the instance may have changed after this returned."""
        return await self._desk.news(instance_id)
