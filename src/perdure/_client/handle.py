"""A handle on one instance, and what its status says."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, overload

from msgspec import Raw

from perdure import _work as work
from perdure._client.answers import Asked, asked_with, read_answer
from perdure._client.late import too_late
from perdure._client.opened import check_seen
from perdure._client.receiver import Receiver
from perdure._client.stored import read_custom_status, read_error, read_output
from perdure._context import Query, Update
from perdure._context.state import name_of
from perdure._types import Duration, Status, check_name, duration_us, from_us
from perdure._work import VALUES, sealed, unsealed
from perdure.codec import codec_for, decode_any, encode_any
from perdure.errors import (
    ErrorInfo,
    HeldError,
    InstanceClosedError,
    InstanceHeldError,
    InstanceMovedError,
    InstanceNotFoundError,
    OrchestrationCancelledError,
    OrchestrationError,
    OrchestrationTerminatedError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from perdure._client.requests import Gateway
    from perdure._context import ExternalEvent
    from perdure._context.asking import AnyQuery, AnyUpdate
    from perdure._context.state import ReadableKey
    from perdure._work import InstanceRecord

T = TypeVar("T")
R = TypeVar("R")
A = TypeVar("A")
R_co = TypeVar("R_co", covariant=True)

_ERRORS = {
    Status.CANCELLED: OrchestrationCancelledError,
    Status.TERMINATED: OrchestrationTerminatedError,
}


@dataclass(frozen=True, slots=True)
class InstanceStatus(Generic[R]):
    """Where an instance stands. `output` is set when it completed, `error` when it failed or was ended."""

    instance_id: str
    execution_id: int
    name: str
    version: str | None
    status: Status
    custom_status: Any
    custom_status_version: int
    output: R | None
    error: ErrorInfo | None
    held_because: str | None
    created_at: datetime
    updated_at: datetime
    parent_id: str | None = None

    @property
    def is_closed(self) -> bool:
        """Whether it has ended."""
        return self.status.is_closed

    def custom_status_as(self, type_: type[T], /) -> T:
        """The custom status as a value of the type that the orchestration gave to `ctx.set_custom_status`.

        Raises:
            PayloadError: It is of another type, or none was set and the type does not allow None.

        Example:
            progress = (await handle.status()).custom_status_as(Progress)
        """
        what = f"custom status of {self.instance_id}"
        value: T = codec_for(type_).decode(encode_any(self.custom_status, what=what), what=what)
        return value


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list, perhaps an empty one; `next` goes into `after=` for the page behind it, None at the end."""

    items: Sequence[T]
    next: str | None


def status_of(record: InstanceRecord, codec: Any) -> InstanceStatus[Any]:
    """The status that a stored record says."""
    custom = record.custom_status
    return InstanceStatus(
        instance_id=record.id,
        execution_id=record.execution,
        name=record.name,
        version=record.version,
        status=record.status,
        custom_status=None if custom is None else read_custom_status(custom, record.id),
        custom_status_version=record.custom_status_version,
        output=read_output(record.output, record.id, codec),
        error=None if record.error is None else read_error(record.error, record.id),
        held_because=record.held_because,
        created_at=from_us(record.created_at),
        updated_at=from_us(record.updated_at),
        parent_id=None if record.parent is None else record.parent.instance_id,
    )


class OrchestrationHandle(Generic[R_co]):
    """One instance: wait for its result, look at it, steer it. Survives continue-as-new.

    One that a start has returned is of what was started, or found, then. Once that was deleted or replaced, no call
    reaches whoever has the id by then: it raises `InstanceNotFoundError`, as an `InstanceReplacedError` where there is
    another one. A handle by `client.get_handle(id)` is of whoever has the id when a call is made.
    """

    def __init__(self, gateway: Gateway, instance_id: str, codec: Any, incarnation: int | None) -> None:
        self._gateway = gateway
        self._instance_id = instance_id
        self._codec = codec
        self._receiver = Receiver(gateway, instance_id, incarnation)

    @property
    def instance_id(self) -> str:
        """The instance's id."""
        return self._instance_id

    def __repr__(self) -> str:
        return f"<OrchestrationHandle {self._instance_id!r}>"

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            raise AttributeError(
                f"a handle has no attribute {name!r}: `await handle.result()` is what the instance returned"
            )

    async def result(self, *, timeout: Duration | None = None) -> R_co:
        """The result, once the instance has ended; follows continue-as-new.

        Args:
            timeout: Seconds or a timedelta; None (the default) waits for ever. The instance goes on either way.

        Raises:
            OrchestrationError: It failed, or was ended: `OrchestrationCancelledError`, `OrchestrationTerminatedError`.
            ResultTimeoutError: It did not end in time.
            InstanceNotFoundError: There is no such instance.
            InstanceMovedError: It goes on in another store, which the error names.
            PayloadError: The result does not fit the annotation.
        """
        wait = partial(self._gateway.ending, self._instance_id, self._receiver.incarnation)
        ending = await self._within(timeout, wait, "end")
        if ending.status is Status.COMPLETED:
            result: R_co = read_output(ending.output or sealed(b"null"), self._instance_id, self._codec)
            return result
        if ending.status is Status.MOVED:
            raise InstanceMovedError(self._instance_id, (await self._receiver.record()).held_because)
        error = (
            ErrorInfo(type=f"perdure.{ending.status.value}", message="")
            if ending.error is None
            else read_error(ending.error, self._instance_id)
        )
        raise _ERRORS.get(ending.status, OrchestrationError)(error, instance_id=self._instance_id)

    async def status(self) -> InstanceStatus[Any]:
        """Where the instance stands now.

        Raises:
            InstanceNotFoundError: There is no such instance.
        """
        return status_of(await self._receiver.record(), self._codec)

    async def watch(self) -> AsyncGenerator[InstanceStatus[Any], None]:
        """The instance's status now and at every change of it; ends when the instance has ended.

        Changes that follow each other faster than they are read may be told as one.

        Example:
            async for status in handle.watch():
                print(status.status, status.custom_status)
        """
        last: InstanceStatus[Any] | None = None
        async with aclosing(self._news(self._receiver)) as statuses:
            async for status in statuses:
                if last is None or _differs(status, last):
                    last = status
                    yield status

    async def _news(self, receiver: Receiver) -> AsyncGenerator[InstanceStatus[Any], None]:
        """Its status now and whenever something may have happened; ends when the instance has ended."""
        while True:
            # Asked before reading, so that nothing which happens in between is missed.
            news = await self._gateway.news(self._instance_id)
            try:
                status = status_of(await receiver.record(), self._codec)
                yield status
                if status.is_closed:
                    return
                await news
            finally:
                if not news.cancel():
                    news.exception()

    async def wait_for_status_change(
        self, after: int = 0, /, *, timeout: Duration | None = None
    ) -> InstanceStatus[Any]:
        """The status, once the custom status has a version above `after`, or the instance has ended.

        In the process whose worker has the instance it is pushed as soon as the turn is durable; elsewhere the store's
        own signal of a change says when to look.

        Args:
            after: The `custom_status_version` that was seen last; 0 waits for the first.
            timeout: Seconds or a timedelta; None (the default) waits for ever.

        Raises:
            ResultTimeoutError: Neither came in time.
            InstanceNotFoundError: There is no such instance.

        Example:
            status = await handle.status()
            while not status.is_closed:
                status = await handle.wait_for_status_change(status.custom_status_version)
        """
        check_seen(after)

        async def change() -> InstanceStatus[Any]:
            async with aclosing(self._news(self._receiver)) as statuses:
                status = await anext(statuses)
                while status.custom_status_version <= after and not status.is_closed:
                    status = await anext(statuses)
            return status

        return await self._within(timeout, change, "set its custom status")

    async def kv(self, key: ReadableKey[T], /) -> T | None:
        """The value under a key of the instance's KV store, as the last durable turn left it; None without one.

        Raises:
            InstanceNotFoundError: There is no such instance.
            PayloadError: The value that is there does not fit the key's type.
            UsageError: It is no `Key`.
        """
        found = await self._values([name_of(key)])
        return _value_of(key, found) if found else None

    async def kv_all(self) -> dict[str, Any]:
        """All values of the instance's KV store, as JSON, in order of their keys.

        Raises:
            InstanceNotFoundError: There is no such instance.
        """
        return {name: decode_any(data) for name, data in (await self._values(None)).items()}

    async def wait_for_kv(self, key: ReadableKey[T], /, *, timeout: Duration | None = None) -> T:
        """The value under a key of the instance's KV store, once there is one.

        Raises:
            ResultTimeoutError: It did not come in time.
            InstanceClosedError: The instance ended without it.
            InstanceNotFoundError: There is no such instance.
            PayloadError: The value does not fit the key's type.
            UsageError: It is no `Key`.
        """
        name = name_of(key)

        async def value() -> T:
            async with aclosing(self._news(self._receiver)) as statuses:
                status = await anext(statuses)
                # Read after the status: an instance that had ended by then has left all that it will.
                while not (found := await self._values([name])):
                    if status.is_closed:
                        raise InstanceClosedError(self._instance_id, status.status)
                    status = await anext(statuses)
            return _value_of(key, found)

        return await self._within(timeout, value, f"set {name!r}")

    async def _values(self, keys: Sequence[str] | None) -> dict[str, bytes]:
        gateway = self._gateway
        incarnation = (await self._receiver.record()).incarnation
        entries = await gateway.read(gateway.inspector.entries, incarnation, VALUES, keys)
        where = "the stored value of key %r of instance %r"
        return {key: unsealed(stored, where, key, self._instance_id) for key, stored in entries.items()}

    def _within(self, timeout: Duration | None, wait: Callable[[], Awaitable[T]], what: str) -> Awaitable[T]:
        """What comes of waiting for the instance to do something."""
        return wait() if timeout is None else self._in_time(timeout, wait, what)

    async def _in_time(self, timeout: Duration, wait: Callable[[], Awaitable[T]], what: str) -> T:
        seconds = duration_us(timeout, what="timeout") / 1e6
        try:
            async with asyncio.timeout(seconds):
                return await wait()
        except TimeoutError:
            raise await too_late(self._receiver, self._instance_id, seconds, what) from None

    @overload
    async def query(self, query: AnyQuery[None, R], /, *, timeout: Duration | None = 30.0) -> R: ...
    @overload
    async def query(self, query: AnyQuery[A, R], value: A, /, *, timeout: Duration | None = 30.0) -> R: ...
    @overload
    async def query(self, query: str, value: object = None, /, *, timeout: Duration | None = 30.0) -> Any: ...
    async def query(self, query: Any, value: Any = None, /, *, timeout: Duration | None = 30.0) -> Any:
        """Ask the running orchestration a question; it answers between two events, and history does not notice.

        It is asked in order with everything else that was sent: it sees what an event that was raised before has done.

        Args:
            query: A `Query`, or its name; then the answer is plain JSON.
            value: What it is asked with.
            timeout: Seconds or a timedelta; None waits for ever, as for an instance that has not started yet.

        Raises:
            RequestError: Its handler raised, or asked for something, which only an update may.
            UnknownRequestError: It has no handler of this name.
            InstanceHeldError: It is held.
            InstanceClosedError: It has ended: its result, custom status and KV store are still there.
            InstanceNotFoundError: There is no such instance.
            ResultTimeoutError: No answer came in time.
            PayloadError: The value or the answer does not fit its type.
        """
        asked = asked_with(Query, query, value)
        return await self._ask(work.QueryAsked, asked, self._gateway.draw_id(), timeout)

    @overload
    async def update(
        self,
        update: AnyUpdate[None, R],
        /,
        *,
        dedup_key: str | None = None,
        timeout: Duration | None = 30.0,
    ) -> R: ...
    @overload
    async def update(
        self,
        update: AnyUpdate[A, R],
        value: A,
        /,
        *,
        dedup_key: str | None = None,
        timeout: Duration | None = 30.0,
    ) -> R: ...
    @overload
    async def update(
        self, update: str, value: object = None, /, *, dedup_key: str | None = None, timeout: Duration | None = 30.0
    ) -> Any: ...
    async def update(
        self, update: Any, value: Any = None, /, *, dedup_key: str | None = None, timeout: Duration | None = 30.0
    ) -> Any:
        """Send the running orchestration a request, and wait for its answer; all of it is durable when this returns.

        Args:
            update: An `Update`, or its name; then the answer is plain JSON.
            value: What it is sent with.
            dedup_key: Sending it again with the same key is harmless and gives the same answer, also after the end.
            timeout: Seconds or a timedelta; None waits for ever. What was sent stays, and may still be carried out.

        Raises:
            RequestRejectedError: It was not let in, and has changed nothing.
            RequestError: Its handler raised; `caused_by(UnansweredError)` if the execution ended before it answered.
            UnknownRequestError: There is no handler of this name; nothing was changed.
            InstanceHeldError: The instance is held. If that came in between, the update waits there and is carried out
                once the instance is mended.
            InstanceClosedError: It has ended without an answer.
            InstanceNotFoundError: There is no such instance.
            ResultTimeoutError: No answer came in time.
            OutcomeUnknownError: The store broke off while it was sent: with a `dedup_key` send it again.
            PayloadError: The value or the answer does not fit its type.
        """
        asked = asked_with(Update, update, value)
        request = self._gateway.draw_id() if dedup_key is None else work.KEPT + check_name("dedup key", dedup_key)
        return await self._ask(work.UpdateAsked, asked, request, timeout)

    async def _ask(
        self,
        kind: type[work.QueryAsked | work.UpdateAsked],
        asked: Asked,
        request: str,
        timeout: Duration | None,
    ) -> Any:
        message = kind(request=request, name=asked.name, data=Raw(asked.data))
        body = work.encode_message(message)
        key = request if request.startswith(work.KEPT) else None

        async def answer() -> bytes:
            while True:
                record = await self._receiver.record()
                if record.status is Status.HELD:
                    raise InstanceHeldError(self._instance_id, record.held_because)
                # The answer will be with this one, whoever has the id by then.
                item = work.Deliver(to_id=record.id, body=body, dedup_key=key, incarnation=record.incarnation)
                outcome = await self._gateway.submit(item)
                present = Receiver(self._gateway, record.id, record.incarnation)
                if isinstance(outcome, work.Applied):
                    return outcome.answer or await self._answer_of(present, record.incarnation, request)
                await present.refuse(outcome)
                # It went between the look and the question: another look says who is there now.

        found = await self._within(timeout, answer, f"answer {asked.name!r}")
        return read_answer(found, self._instance_id, asked)

    async def _answer_of(self, present: Receiver, incarnation: int, request: str) -> bytes:
        """The answer, from the store; looked for after the status, so that what has ended has left it by then."""
        gateway = self._gateway
        async with aclosing(self._news(present)) as statuses:
            async for status in statuses:
                found = await gateway.read(gateway.inspector.entries, incarnation, work.ANSWERS, [request])
                if found:
                    return found[request]
                if status.status is Status.HELD:
                    raise InstanceHeldError(self._instance_id, status.held_because)
                if status.is_closed:
                    raise InstanceClosedError(self._instance_id, status.status)
        raise InstanceNotFoundError(self._instance_id)

    @overload
    async def raise_event(
        self, event: ExternalEvent[T], /, data: T, *, dedup_key: str | None = None, connection: Any = None
    ) -> None: ...
    @overload
    async def raise_event(
        self, event: str, /, data: object = None, *, dedup_key: str | None = None, connection: Any = None
    ) -> None: ...
    async def raise_event(
        self, event: Any, /, data: Any = None, *, dedup_key: str | None = None, connection: Any = None
    ) -> None:
        """Send it an external event; see `Client.raise_event`."""
        await self._receiver.raise_event(event, data, dedup_key, connection)

    async def cancel(self, reason: str = "") -> None:
        """Ask it to cancel; see `Client.cancel`."""
        await self._receiver.cancel(reason)

    async def terminate(self, reason: str = "") -> None:
        """End it at once; see `Client.terminate`."""
        await self._receiver.terminate(reason)


async def result_unless_held(handle: OrchestrationHandle[R]) -> R:
    """The result, for callers that would otherwise wait for somebody to mend the code that is running them.

    Raises:
        HeldError: The instance is held; the message says why.
    """
    ending = asyncio.ensure_future(handle.result())
    held = asyncio.ensure_future(_why_held(handle))
    try:
        await asyncio.wait([ending, held], return_when=asyncio.FIRST_COMPLETED)
        why = held.result() if held.done() and not ending.done() else None
        if why is not None:
            raise HeldError(f"orchestration instance {handle.instance_id!r} is held: {why}")
        return await ending
    finally:
        held.cancel()
        ending.cancel()


async def _why_held(handle: OrchestrationHandle[Any]) -> str | None:
    async with aclosing(handle.watch()) as statuses:
        async for status in statuses:
            if status.status is Status.HELD:
                return status.held_because
    return None


def _value_of(key: ReadableKey[T], found: dict[str, bytes]) -> T:
    value: T = codec_for(key.type_).decode(found[key.name], what=f"value of {key.name!r}")
    return value


def _differs(one: InstanceStatus[Any], other: InstanceStatus[Any]) -> bool:
    return _shown(one) != _shown(other)


def _shown(status: InstanceStatus[Any]) -> tuple[object, ...]:
    return (
        status.status,
        status.execution_id,
        status.version,
        status.custom_status_version,
        status.held_because,
        status.created_at,
    )
