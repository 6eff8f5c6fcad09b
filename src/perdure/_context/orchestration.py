"""The context of an orchestration: what users and type checkers see; the core implements it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar, overload

from perdure._context.limits import Limiting
from perdure._context.trace import Traces

if TYPE_CHECKING:
    import logging
    import random
    import uuid
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
    from datetime import datetime
    from typing import Unpack

    from perdure._context.asking import Query, Update
    from perdure._context.futures import ChildFuture, DurableFuture, ExternalEvent
    from perdure._context.maps import MapPolicy, MapResult
    from perdure._context.signatures import (
        Activity0,
        Activity1,
        Activity2,
        Activity3,
        ActivityOptions,
        ChildOptions,
        DetachedOptions,
        Orchestration0,
        Orchestration1,
        Orchestration2,
        Orchestration3,
        PollOptions,
    )
    from perdure._context.state import KeyValueStore, ReadableKey
    from perdure._retry import RetryPolicy
    from perdure._types import Duration

T = TypeVar("T")
R = TypeVar("R")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")


class OrchestrationContext(Limiting, Traces, ABC):
    """What an orchestration sees and asks for. All of it is the same on replay."""

    __slots__ = ()

    @property
    @abstractmethod
    def instance_id(self) -> str:
        """The instance's id."""

    @property
    @abstractmethod
    def execution_id(self) -> int:
        """From 1; `continue_as_new` makes the next."""

    @property
    @abstractmethod
    def orchestration_name(self) -> str:
        """The orchestration's durable name."""

    @property
    @abstractmethod
    def version(self) -> str:
        """The version that this execution runs, until it ends."""

    @property
    @abstractmethod
    def is_replaying(self) -> bool:
        """Whether the code is catching up with history. For output only: it must not decide anything durable."""

    @property
    @abstractmethod
    def history_length(self) -> int:
        """The number of events of this execution up to the one being handled."""

    @property
    @abstractmethod
    def should_continue_as_new(self) -> bool:
        """Whether history is long enough that an endless orchestration should call `continue_as_new`."""

    @property
    @abstractmethod
    def random(self) -> random.Random:
        """Random numbers that are the same on replay, seeded from a secret drawn at the start. No secrets of yours."""

    @property
    @abstractmethod
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger (`perdure.orchestration`) that is silent while replaying."""

    @abstractmethod
    def utc_now(self) -> datetime:
        """The time of the event being handled (aware, UTC). Never goes back inside an instance; needs no await."""

    @abstractmethod
    def new_guid(self) -> uuid.UUID:
        """A fresh random UUID, the same on replay; needs no await."""

    @property
    @abstractmethod
    def custom_status(self) -> Any:
        """What was last given to `set_custom_status`, as JSON; also by an earlier execution. None before that."""

    @abstractmethod
    def patched(self, patch_id: str, /) -> bool:
        """Whether a change of this code applies to this execution: one answer, the same on replay.

        Executions that reach the first call after the change is deployed take it, and history remembers that; those
        that were past it go on as before. Once none of these is open, remove the call and the old branch: markers of
        removed calls are passed over. An id is used for one change, and never again.

        Raises:
            UsageError: The id is no name.

        Example:
            if ctx.patched("check stock first"):
                await ctx.schedule_activity(check_stock, order)
        """

    @abstractmethod
    def set_custom_status(self, status: object, /) -> None:
        """Publish `status`, any JSON-able value, for `handle.status()`, `watch()` and `wait_for_status_change()`.

        It stays when the instance ends, and when it continues as new. None resets it. Each call counts the version of
        the custom status up by one, also when the value is the same.

        Raises:
            PayloadError: The value can't be encoded.
            PayloadTooLargeError: It has more than 262,144 bytes of JSON.
        """

    @property
    @abstractmethod
    def kv(self) -> KeyValueStore:
        """The instance's KV store: values under keys, which others may read at any time."""

    @overload
    def on_query(self, query: Query[None, R], handler: Callable[[], R], /) -> None: ...
    @overload
    def on_query(self, query: Query[A, R], handler: Callable[[A], R], /) -> None: ...
    @abstractmethod
    def on_query(self, query: Any, handler: Any, /) -> None:
        """Answer this query from now on, with a plain function that only looks; a later one takes its place.

        It runs between two events, sees the program's variables as they are then, and leaves no event. A verb of `ctx`
        that asks for something is refused in it, and so is waking a task.

        Raises:
            UsageError: What was given is no query, or no function.
        """

    @overload
    def on_update(
        self,
        update: Update[None, R],
        handler: Callable[[], R | Awaitable[R]],
        /,
        *,
        validator: Callable[[], object] | None = None,
    ) -> None: ...
    @overload
    def on_update(
        self,
        update: Update[A, R],
        handler: Callable[[A], R | Awaitable[R]],
        /,
        *,
        validator: Callable[[A], object] | None = None,
    ) -> None: ...
    @abstractmethod
    def on_update(self, update: Any, handler: Any, /, *, validator: Any = None) -> None:
        """Answer this update from now on; a later handler takes its place.

        The handler may change the program's variables, use the verbs of `ctx`, and raise: the exception is the answer.
        A plain function answers within the turn in which the update arrives; an `async def` may wait, and who sent the
        update waits with it. When the execution ends first, it is cancelled, and the answer is an `UnansweredError`.

        Args:
            update: The update.
            handler: Called with the update's value; without one for an `Update[None, ...]`.
            validator: Called before, and only looks; when it raises, the update is rejected and leaves no event.

        Raises:
            UsageError: What was given is no update, or no function.
        """

    @overload
    def schedule_activity(self, activity: Activity0[R], /, **options: Unpack[ActivityOptions]) -> DurableFuture[R]: ...
    @overload
    def schedule_activity(
        self, activity: Activity1[A, R], a: A, /, **options: Unpack[ActivityOptions]
    ) -> DurableFuture[R]: ...
    @overload
    def schedule_activity(
        self, activity: Activity2[A, B, R], a: A, b: B, /, **options: Unpack[ActivityOptions]
    ) -> DurableFuture[R]: ...
    @overload
    def schedule_activity(
        self, activity: Activity3[A, B, C, R], a: A, b: B, c: C, /, **options: Unpack[ActivityOptions]
    ) -> DurableFuture[R]: ...
    @overload
    def schedule_activity(
        self, activity: str, /, *inputs: object, returns: type[R], **options: Unpack[ActivityOptions]
    ) -> DurableFuture[R]: ...
    @abstractmethod
    def schedule_activity(self, activity: Any, /, *inputs: Any, **options: Any) -> DurableFuture[Any]:
        """Run an activity, by its definition or by name; it starts once this turn is durable.

        Options: `retry`, `tag`, `session`, `limit`, `priority`, `schedule_to_start`; by name also `returns`, the
        result's type, and `retry` and `limit` alone decide: the definition may be known to another worker only.
        `on_cancel="wait"`: when it is cancelled while it runs, the cancellation is raised here only when the activity
        has ended; if it had an outcome all the same, the future then has it.

        Raises (at the call):
            PayloadError: An input does not fit its annotation or can't be encoded.
            UsageError: An option is unknown or has a value that can't be used.
        Raises (when awaited):
            ActivityError: It failed, and no attempts are left; `ActivityTimeoutError` if by a time limit.
            PayloadError: Its result does not fit the annotation.

        Example:
            receipt = await ctx.schedule_activity(charge, order, retry=RetryPolicy(5))
        """

    @overload
    def schedule_sub_orchestration(
        self, orchestration: Orchestration0[R], /, **options: Unpack[ChildOptions]
    ) -> ChildFuture[R]: ...
    @overload
    def schedule_sub_orchestration(
        self, orchestration: Orchestration1[A, R], a: A, /, **options: Unpack[ChildOptions]
    ) -> ChildFuture[R]: ...
    @overload
    def schedule_sub_orchestration(
        self, orchestration: Orchestration2[A, B, R], a: A, b: B, /, **options: Unpack[ChildOptions]
    ) -> ChildFuture[R]: ...
    @overload
    def schedule_sub_orchestration(
        self, orchestration: Orchestration3[A, B, C, R], a: A, b: B, c: C, /, **options: Unpack[ChildOptions]
    ) -> ChildFuture[R]: ...
    @overload
    def schedule_sub_orchestration(
        self, orchestration: str, /, *inputs: object, returns: type[R], **options: Unpack[ChildOptions]
    ) -> ChildFuture[R]: ...
    @abstractmethod
    def schedule_sub_orchestration(self, orchestration: Any, /, *inputs: Any, **options: Any) -> ChildFuture[Any]:
        """Run another orchestration as a child. A definition stands for its name: the version is the latest one.

        Options: `instance_id` (default: derived from this instance's), `version`, and `on_close`: what becomes of the
        child when this instance ends first, "cancel" (default), "terminate" or "abandon".

        Raises (at the call):
            PayloadError: An input does not fit its annotation or can't be encoded.
            UsageError: An option is unknown or has a value that can't be used.
        Raises (when awaited):
            OrchestrationError: The child failed, was cancelled or terminated, or its instance id was taken.

        Example:
            parcel = await ctx.schedule_sub_orchestration(ship, order)
        """

    @overload
    def schedule_orchestration(
        self, orchestration: Orchestration0[Any], /, **options: Unpack[DetachedOptions]
    ) -> str: ...
    @overload
    def schedule_orchestration(
        self, orchestration: Orchestration1[A, Any], a: A, /, **options: Unpack[DetachedOptions]
    ) -> str: ...
    @overload
    def schedule_orchestration(
        self, orchestration: Orchestration2[A, B, Any], a: A, b: B, /, **options: Unpack[DetachedOptions]
    ) -> str: ...
    @overload
    def schedule_orchestration(
        self, orchestration: Orchestration3[A, B, C, Any], a: A, b: B, c: C, /, **options: Unpack[DetachedOptions]
    ) -> str: ...
    @overload
    def schedule_orchestration(
        self, orchestration: str, /, *inputs: object, **options: Unpack[DetachedOptions]
    ) -> str: ...
    @abstractmethod
    def schedule_orchestration(self, orchestration: Any, /, *inputs: Any, **options: Any) -> str:
        """Start an orchestration that lives on its own, and return its instance id. There is nothing to await.

        Options: `instance_id` (default: derived from this instance's) and `version`.

        Raises:
            PayloadError: An input does not fit its annotation or can't be encoded.
            UsageError: An option is unknown or has a value that can't be used.

        Example:
            actor_id = ctx.schedule_orchestration(instance_actor, name, instance_id=f"actor-{name}")
        """

    @abstractmethod
    def schedule_timer(self, until: Duration | datetime, /) -> DurableFuture[None]:
        """A durable timer: seconds, a timedelta, or an instant (an aware datetime).

        Raises:
            UsageError: A negative duration, or a datetime without a zone.

        Example:
            await ctx.schedule_timer(timedelta(days=3))
        """

    @overload
    def schedule_wait(self, event: ExternalEvent[T], /) -> DurableFuture[T]: ...
    @overload
    def schedule_wait(self, event: str, /, returns: type[T]) -> DurableFuture[T]: ...
    @overload
    def schedule_wait(self, event: str, /) -> DurableFuture[Any]: ...
    @abstractmethod
    def schedule_wait(self, event: Any, /, returns: Any = Any) -> DurableFuture[Any]:
        """Wait for the next external event of this name. Events that came early are still there; none is lost.

        An `ExternalEvent` says the type of its data; with a bare name `returns` does, and without that any JSON fits.

        Raises (when awaited):
            PayloadError: The event's data does not fit the type.

        Example:
            approved = await ctx.schedule_wait(APPROVED)
        """

    @abstractmethod
    def mailbox(self, event: ExternalEvent[T], /) -> AsyncIterator[T]:
        """The events of one name, one after another, for ever: `async for command in ctx.mailbox(COMMANDS)`."""

    @overload
    def raise_event(self, instance_id: str, event: ExternalEvent[T], /, data: T) -> None: ...
    @overload
    def raise_event(self, instance_id: str, event: str, /, data: object = None) -> None: ...
    @abstractmethod
    def raise_event(self, instance_id: str, event: Any, /, data: Any = None) -> None:
        """Send an external event to another instance, without an activity; it leaves when this turn is durable.

        Raises:
            PayloadError: The data does not fit the event's type.
            UsageError: The instance id or the event is none.
        """

    @abstractmethod
    def read_value(self, instance_id: str, key: ReadableKey[T], /) -> DurableFuture[T | None]:
        """The value under a key of another instance's KV store; None without one, or without such an instance.

        A worker reads it once, as it is then, and history keeps the answer.

        Raises (at the call):
            UsageError: The instance id or the key is none.
        Raises (when awaited):
            PayloadError: The value does not fit the key's type.
        """

    @abstractmethod
    async def select2(
        self, first: Awaitable[A], second: Awaitable[B], /
    ) -> tuple[Literal[0], A] | tuple[Literal[1], B]:
        """Wait for the first of two, cancel the other, and return which it was with its result.

        Example:
            match await ctx.select2(ctx.schedule_timer(60), ctx.schedule_wait(APPROVED)):
                case 1, verdict: ...
        """

    @overload
    async def select(
        self, first: Awaitable[A], second: Awaitable[B], third: Awaitable[C], /
    ) -> tuple[Literal[0], A] | tuple[Literal[1], B] | tuple[Literal[2], C]: ...
    @overload
    async def select(
        self, first: Awaitable[A], second: Awaitable[B], third: Awaitable[C], fourth: Awaitable[D], /
    ) -> tuple[Literal[0], A] | tuple[Literal[1], B] | tuple[Literal[2], C] | tuple[Literal[3], D]: ...
    @overload
    async def select(
        self,
        first: Awaitable[A],
        second: Awaitable[B],
        third: Awaitable[C],
        fourth: Awaitable[D],
        fifth: Awaitable[E],
        /,
    ) -> (
        tuple[Literal[0], A] | tuple[Literal[1], B] | tuple[Literal[2], C] | tuple[Literal[3], D] | tuple[Literal[4], E]
    ): ...
    @overload
    async def select(self, *awaitables: Awaitable[T]) -> tuple[int, T]: ...
    @abstractmethod
    async def select(self, *awaitables: Awaitable[Any]) -> tuple[int, Any]:
        """Wait for the first of several, cancel the others, and return its position with its result.

        With three to five of different types a type checker knows the result's type by the position, in a `match`.
        """

    @overload
    def poll_until(self, activity: Activity0[R | None], /, **options: Unpack[PollOptions]) -> DurableFuture[R]: ...
    @overload
    def poll_until(
        self, activity: Activity1[A, R | None], a: A, /, **options: Unpack[PollOptions]
    ) -> DurableFuture[R]: ...
    @overload
    def poll_until(
        self, activity: Activity2[A, B, R | None], a: A, b: B, /, **options: Unpack[PollOptions]
    ) -> DurableFuture[R]: ...
    @overload
    def poll_until(
        self, activity: Activity3[A, B, C, R | None], a: A, b: B, c: C, /, **options: Unpack[PollOptions]
    ) -> DurableFuture[R]: ...
    @overload
    def poll_until(
        self, activity: str, /, *inputs: object, returns: type[R], **options: Unpack[PollOptions]
    ) -> DurableFuture[R]: ...
    @abstractmethod
    def poll_until(self, activity: Any, /, *inputs: Any, **options: Any) -> DurableFuture[Any]:
        """Repeat an activity until it has an answer: until it returns something else than None.

        It is asked again `every` so long after it had none, by whichever worker is free, and holds no slot meanwhile.
        History has one event for the question and one for the answer, however often it was asked. Failures are what
        `retry` makes of them, and count in a row: an attempt that came through begins the count anew.

        Options: `every`, `timeout`, and those of `schedule_activity`.

        Raises (at the call):
            PayloadError: An input does not fit its annotation or can't be encoded.
            UsageError: An option is unknown or has a value that can't be used.
        Raises (when awaited):
            ActivityTimeoutError: There was no answer within `timeout`.
            ActivityError: It failed, and no attempts are left.

        Example:
            endpoint = await ctx.poll_until(find_endpoint, server_id, every=5, timeout=600)
        """

    @overload
    async def map(
        self,
        activity: Activity1[A, R],
        items: Iterable[A],
        /,
        *,
        max_concurrency: int | None = None,
        retry: RetryPolicy | None = None,
        policy: None = None,
    ) -> list[R]: ...
    @overload
    async def map(
        self,
        activity: Activity1[A, R],
        items: Iterable[A],
        /,
        *,
        max_concurrency: int | None = None,
        retry: RetryPolicy | None = None,
        policy: MapPolicy,
    ) -> MapResult[R]: ...
    @abstractmethod
    async def map(self, activity: Any, items: Iterable[Any], /, **options: Any) -> Any:
        """Run an activity for each item, `max_concurrency` at a time, and return the results in the items' order.

        An item is asked for when its turn has come: ten thousand, ten at a time, are ten tasks, and 20,001 events.
        Without a `policy` the first failure is raised, and the rest is given up. With one, a `MapResult` says what came
        of each item.

        Raises (when awaited):
            ActivityError: One failed, and there is no policy.
            MapError: More failed than the policy allows; it has the result so far.
            PayloadError: An item does not fit the activity.

        Example:
            sizes = await ctx.map(fetch, urls, max_concurrency=10)
        """

    @abstractmethod
    def continue_as_new(self, *inputs: object, version: str | None = None) -> NoReturn:
        """End this execution and begin the next one with `inputs`, an empty history and the unread events.

        The next one runs the latest version unless `version` names one. The one call that no type checker checks: the
        inputs are compared with the running definition when it is made.

        Raises:
            PayloadError: The inputs don't fit the orchestration.
            UsageError: The option is not `version`, or that is no semantic version.
        """
        raise NotImplementedError
