"""The client of a simulated process: the production client over the engine's inbox, driven by the world."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from perdure._client.requests import Call, Request, Watch
from perdure.errors import ClientError
from perdure.testing.simulation.port import Dead

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from perdure import _work as work
    from perdure._ports import Incarnations
    from perdure.testing.simulation.host import Host

T = TypeVar("T")


class Reply:
    """What a client waits for."""

    __slots__ = ("answer", "is_done", "session")

    def __init__(self) -> None:
        self.is_done = False
        self.answer: Any = None
        self.session: Session | None = None

    def __await__(self) -> Generator[Reply, None, Any]:
        while not self.is_done:
            yield self
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    def cancel(self) -> bool:
        """Nobody waits any more."""
        self.is_done = True
        return True


class Session:
    """One coroutine of a client's code. It dies with its process, and nobody is told."""

    def __init__(
        self, coroutine: Coroutine[Any, Any, Any], over: Callable[[Any, BaseException | None], None], since: int
    ) -> None:
        self._coroutine = coroutine
        self._over = over
        self.since = since
        self._is_running = False
        self.is_over = False

    def advance(self) -> None:
        """Run until it waits for something, or is over."""
        if self.is_over:
            return
        self._is_running = True
        try:
            while True:
                reply = self._coroutine.send(None)
                if not reply.is_done:
                    reply.session = self
                    return
        except StopIteration as stop:
            self._finish(stop.value, None)
        except Exception as error:  # noqa: BLE001 - whatever the client says
            self._finish(None, error)
        except Dead:
            self._finish(None, ClientError("the process died"))
        finally:
            self._is_running = False

    def _finish(self, result: Any, error: BaseException | None) -> None:
        if not self.is_over:
            self.is_over = True
            self._over(result, error)

    def die(self) -> None:
        """The process is gone, and the coroutine with it; one that is just running unwinds by itself."""
        if not self.is_over:
            if not self._is_running:
                # Before Python 3.13 a coroutine that waits through an async generator can't be closed in peace.
                with suppress(RuntimeError):
                    self._coroutine.close()
            self._finish(None, ClientError("the process died"))


class HostGateway:
    """A `Gateway` over the inbox of a simulated process."""

    def __init__(self, host: Host, incarnations: Incarnations) -> None:
        self._host = host
        self.incarnations = incarnations
        self.answered: list[Reply] = []
        self._sessions: list[Session] = []
        self._closed = False

    def open(self, make: Callable[[], Coroutine[Any, Any, Any]], over: Callable[..., None]) -> None:
        """Run a coroutine of a client; `over` is told its result, or its error."""
        session = Session(make(), over, self._host.world.timeline.now)
        self._sessions = [each for each in self._sessions if not each.is_over]
        self._sessions.append(session)
        session.advance()

    # -- what a client asks of it ----------------------------------------------------------------------------------

    @property
    def inspector(self) -> Any:
        """The read side."""
        return self._host.port

    def draw_incarnation(self, instance_id: str) -> int:  # noqa: ARG002 - the same whatever it is
        """A fresh incarnation for a start."""
        return self.incarnations.draw()

    def draw_id(self) -> str:
        """A fresh instance id."""
        return self.incarnations.draw_id()

    def submit(self, item: work.Item) -> Reply:
        """Have an item committed."""
        reply = Reply()
        self._put([Request(item, self._resolver(reply))])
        return reply

    def ending(self, instance_id: str, incarnation: int | None = None) -> Reply:
        """Wait for an instance's end."""
        reply = Reply()
        self._put([Watch(instance_id, incarnation, True, self._resolver(reply), lambda: not reply.is_done)])  # noqa: FBT003 - a record's field
        return reply

    async def news(self, instance_id: str) -> Any:
        """Something that is done when the instance may have changed after this returned."""
        news, heard = Reply(), Reply()
        watch = Watch(instance_id, None, False, self._resolver(news), lambda: not news.is_done)  # noqa: FBT003 - a record's field
        resolve = self._resolver(heard)
        self._put([watch, Call(lambda: resolve(None))])
        await heard
        return news

    async def read(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a method of the inspector; for an activity beside its loop, as on a thread of the process."""
        loop = asyncio._get_running_loop()
        if loop is None or asyncio.current_task(loop) is None:
            return function(*arguments)
        answer: asyncio.Future[T] = loop.create_future()
        reading = answer, partial(function, *arguments)
        self._host.world.timeline.after(self._host.world.dice.below(300), self._host.answer, reading)
        return await answer

    def _put(self, entries: list[Any]) -> None:
        if self._closed:
            raise ClientError("this client is closed")
        self._host.inbox.put(entries)

    def _resolver(self, reply: Reply) -> Callable[[Any], None]:
        def resolve(answer: Any) -> None:
            if not reply.is_done:
                reply.is_done = True
                reply.answer = answer
                self.answered.append(reply)

        return resolve

    # -- what the process does with it -----------------------------------------------------------------------------

    def flush(self) -> None:
        """The engine's round is over: the answers go to whoever waits."""
        for reply in self.answered:
            if reply.session is not None:
                self._host.world.timeline.after(self._host.world.dice.below(300), self._advance, reply.session)
        self.answered.clear()

    def _advance(self, session: Session) -> None:
        timeline = self._host.world.timeline
        if timeline.now < self._host.paused_until:
            timeline.at(self._host.paused_until, self._advance, session)
        elif self._host.alive:
            session.advance()

    def unanswered(self, since: int) -> int:
        """How many of its clients have waited since this time or longer."""
        return sum(not session.is_over and session.since <= since for session in self._sessions)

    def close(self) -> None:
        """Take no more requests."""
        self._closed = True

    def die(self) -> None:
        """The process is gone."""
        self._closed = True
        sessions, self._sessions = self._sessions, []
        for session in sessions:
            session.die()


class TaskGateway(HostGateway):
    """The gateway of a client whose calls are awaited by tasks of the process's loop."""

    def __init__(self, host: Host, drawn: HostGateway) -> None:
        super().__init__(host, drawn.incarnations)
        self._loop = host.loop

    async def submit(self, item: work.Item) -> Any:  # type: ignore[override]  # awaited all the same
        """Have an item committed."""
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._put([Request(item, partial(_settle, answer))])
        outcome = await answer
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


def _settle(answer: asyncio.Future[Any], outcome: Any) -> None:
    if not answer.done():
        answer.set_result(outcome)
