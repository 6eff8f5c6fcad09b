"""The orchestration's context: every verb becomes an ask of its execution. Deterministic by construction."""

from _thread import get_ident
from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar

from msgspec import Raw

from perdure._context import ExternalEvent, KeyValueStore, OrchestrationContext, Query, Update, event_name
from perdure._context.determined import guid, orchestration_logger, seeded_random
from perdure._context.state import ReadableKey, name_of
from perdure._core.asks import (
    ActivityFuture,
    ChildFuture,
    DurableFuture,
    Note,
    StoppableFuture,
    TimerFuture,
    WaitFuture,
)
from perdure._core.callsite import where_asked
from perdure._core.handlers import handled, handler_of
from perdure._core.limits import Section, section
from perdure._core.maps import check_map, run_map
from perdure._core.options import (
    ACTIVITY_OPTIONS,
    CHILD_OPTIONS,
    DETACHED_OPTIONS,
    MAP_OPTIONS,
    NEXT_OPTIONS,
    POLL_OPTIONS,
    check_known,
    close_policy,
    exact_version,
    polling_of,
    scheduling,
    waits_for_the_end,
)
from perdure._core.patches import is_patched
from perdure._core.races import Race
from perdure._core.state import Found, Store, shown
from perdure._definitions import WHILE_STORE_IS_AWAY, Activity, Orchestration, read_value
from perdure._events import ActivityScheduled, DetachedStarted, EventSent, StatusSet
from perdure._types import (
    CUSTOM_STATUS_BYTES_MAX,
    Duration,
    check_instance_id,
    check_name,
    child_id,
    duration_us,
    from_us,
    instant_us,
)
from perdure.codec import codec_for, decode_any, encode_any
from perdure.errors import PayloadTooLargeError, UsageError

if TYPE_CHECKING:
    from random import Random
    from uuid import UUID

    from perdure._context import ContextLogger
    from perdure._core.execution import Execution
    from perdure._events import ForkedAt

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")

HISTORY_EVENTS_HINT = 10_000
"""Events of one execution from which `should_continue_as_new` is true."""


def _new(kind: type[Any], execution: "Execution") -> Any:
    """A durable future of this execution that has no event yet."""
    future = kind(loop=execution)
    execution._sequence = future._number = execution._sequence + 1  # noqa: SLF001 - between the loop and its futures
    future.event_id = 0
    future.lost_at = None
    return future


def _new_activity(execution: "Execution", options: dict[str, Any]) -> ActivityFuture[Any]:
    """The future of an activity with options."""
    if not waits_for_the_end(options):
        plain: ActivityFuture[Any] = _new(ActivityFuture, execution)
        return plain
    future: StoppableFuture[Any] = _new(StoppableFuture, execution)
    future.stopped = False
    future.message = None
    return future


class Context(OrchestrationContext):
    """What an orchestration sees; see `OrchestrationContext`."""

    __slots__ = ("_execution", "_guids", "_logger", "_random", "_secret")

    def __init__(self, execution: "Execution", secret: bytes) -> None:
        self._execution = execution
        self._secret = secret
        self._guids = 0
        self._random: Random | None = None
        self._logger: ContextLogger | None = None

    @property
    def instance_id(self) -> str:
        return self._execution.instance_id

    @property
    def execution_id(self) -> int:
        return self._execution.execution_id

    @property
    def orchestration_name(self) -> str:
        return self._execution.name

    @property
    def version(self) -> str:
        return self._execution.version

    @property
    def is_replaying(self) -> bool:
        execution = self._execution
        return execution.replaying or execution.ready is None or execution.over is not None

    @property
    def history_length(self) -> int:
        return self._execution.last_event + 1

    @property
    def should_continue_as_new(self) -> bool:
        return self._execution.last_event >= HISTORY_EVENTS_HINT

    @property
    def random(self) -> "Random":
        if self._execution.over is not None:
            # What only looks draws from numbers of its own: the program's would be others after that.
            return seeded_random(self._secret)
        if self._random is None:
            self._random = seeded_random(self._secret)
        return self._random

    @property
    def logger(self) -> "ContextLogger":
        if self._logger is None:
            extra = {
                "instance_id": self.instance_id,
                "execution_id": self.execution_id,
                "orchestration": self.orchestration_name,
                "orchestration_version": self.version,
            }
            self._logger = orchestration_logger(extra, lambda: self.is_replaying)
        return self._logger

    def utc_now(self) -> datetime:
        return from_us(self._execution.now_us)

    def new_guid(self) -> "UUID":
        self._execution.gate("ctx.new_guid")
        self._guids += 1
        return guid(self._secret, self._guids)

    @property
    def custom_status(self) -> Any:
        state = self._execution.state
        return None if state is None or state.status is None else decode_any(state.status)

    @property
    def kv(self) -> KeyValueStore:
        return Store(self._execution)

    def patched(self, patch_id: str, /) -> bool:
        execution = self._execution
        execution.gate("ctx.patched")
        return is_patched(execution, check_name("patch", patch_id))

    def set_custom_status(self, status: object, /) -> None:
        execution = self._execution
        execution.gate("ctx.set_custom_status")
        value = encode_any(status, what="custom status")
        if len(value) > CUSTOM_STATUS_BYTES_MAX:
            raise PayloadTooLargeError(
                f"the custom status has {len(value):,} bytes of JSON; at most {CUSTOM_STATUS_BYTES_MAX:,} are allowed: "
                "keep large data elsewhere and a reference to it here",
                size_bytes=len(value),
                limit_bytes=CUSTOM_STATUS_BYTES_MAX,
            )
        shown(execution).status = value
        execution.ask(Note(StatusSet(id=0, where=where_asked(), value=Raw(value))))

    def on_query(self, query: Any, handler: Any, /) -> None:
        execution = self._execution
        execution.gate("ctx.on_query")
        if not isinstance(query, Query):
            raise UsageError(f"ctx.on_query takes a query, as in Query[None, int]('balance'), not {query!r}")
        handled(execution).queries[query.name] = handler_of(query, handler)

    def on_update(self, update: Any, handler: Any, /, *, validator: Any = None) -> None:
        execution = self._execution
        execution.gate("ctx.on_update")
        if not isinstance(update, Update):
            raise UsageError(f"ctx.on_update takes an update, as in Update[Item, int]('add'), not {update!r}")
        handled(execution).updates[update.name] = handler_of(update, handler, validator)

    def schedule_activity(self, activity: Any, /, *inputs: Any, **options: Any) -> DurableFuture[Any]:
        # Few calls have options, and taking all of them by name would cost every call.
        execution = self._execution
        # As `admits` does it, without the call: nearly all asks are for activities.
        ready = execution.ready
        if (execution.over is not None or ready is None or ready.thread != get_ident()) and not execution.admits(
            "ctx.schedule_activity"
        ):
            return execution.refused(DurableFuture)
        future: ActivityFuture[Any]
        if options:
            check_known("schedule_activity", options, ACTIVITY_OPTIONS, activity)
            future = _new_activity(execution, options)
        else:
            future = _new(ActivityFuture, execution)
        if isinstance(activity, Activity):
            future.name = activity.name
            future.aliases = activity.aliases
            data = activity.inputs_codec.encode(inputs)
            future.decoder = activity.result_codec
            plain = activity.retry is None and activity.tag is None and activity.limit is None
        else:
            future.name = _named(activity, "activity", "schedule_activity")
            future.aliases = ()
            data = encode_any(inputs, what=f"inputs of activity {activity}")
            future.decoder = codec_for(options.get("returns", Any))
            plain = True
        where = future.where = where_asked()
        if plain and not options:
            asks = execution.asks
            # As `next_event` and `ask` do it, without the calls.
            event_id = execution.last_event + (2 if asks is None else 2 + len(asks))
            future.wanted = ActivityScheduled(id=event_id, where=where, name=future.name, input=Raw(data))
            execution.asked += 1
            if asks is None:
                execution.asks = [future]
            else:
                asks.append(future)
            return future
        fields = scheduling(options, activity, inputs)
        future.wanted = ActivityScheduled(
            id=execution.next_event, where=where, name=future.name, input=Raw(data), **fields
        )
        execution.ask(future)
        return future

    def poll_until(self, activity: Any, /, *inputs: Any, **options: Any) -> DurableFuture[Any]:
        execution = self._execution
        if not execution.admits("ctx.poll_until"):
            return execution.refused(DurableFuture)
        check_known("poll_until", options, POLL_OPTIONS, activity)
        future = _new_activity(execution, options)
        if isinstance(activity, Activity):
            future.name, future.aliases, future.decoder = activity.name, activity.aliases, activity.result_codec
            data = activity.inputs_codec.encode(inputs)
        else:
            future.name, future.aliases = _named(activity, "activity", "poll_until"), ()
            data = encode_any(inputs, what=f"inputs of activity {activity}")
            future.decoder = codec_for(options.get("returns", Any))
        where = future.where = where_asked()
        fields = polling_of(options, activity, inputs)
        future.wanted = ActivityScheduled(
            id=execution.next_event, where=where, name=future.name, input=Raw(data), **fields
        )
        execution.ask(future)
        return future

    def limit(self, key: Any, concurrency: Any = None, /, *, rate: Any = None, per: Any = 1.0) -> Section:
        return section(self._execution, key, concurrency, rate, per)

    def map(self, activity: Any, items: Iterable[Any], /, **options: Any) -> Coroutine[Any, Any, Any]:
        check_known("map", options, MAP_OPTIONS, activity)
        if not isinstance(activity, Activity):
            _named(activity, "activity", "map")
        most, policy = options.pop("max_concurrency", None), options.pop("policy", None)
        check_map(most, policy, items)

        def schedule(item: Any) -> DurableFuture[Any]:
            return self.schedule_activity(activity, item, **options)

        return _said_where("map", run_map(list(items), most, policy, schedule))

    def schedule_sub_orchestration(self, orchestration: Any, /, *inputs: Any, **options: Any) -> ChildFuture[Any]:
        execution = self._execution
        if not execution.admits("ctx.schedule_sub_orchestration"):
            return execution.refused(ChildFuture)
        check_known("schedule_sub_orchestration", options, CHILD_OPTIONS, orchestration)
        future: ChildFuture[Any] = _new(ChildFuture, execution)
        future.name, future.aliases, future.input = _target(orchestration, inputs, "schedule_sub_orchestration")
        if isinstance(orchestration, Orchestration):
            future.decoder = orchestration.result_codec
        else:
            future.decoder = codec_for(options.get("returns", Any))
        future.instance_id = self._derived_id(options.get("instance_id"))
        future.version = exact_version(options)
        future.on_close = close_policy(options)
        future.where = where_asked()
        execution.ask(future)
        return future

    def schedule_orchestration(self, orchestration: Any, /, *inputs: Any, **options: Any) -> str:
        execution = self._execution
        execution.gate("ctx.schedule_orchestration")
        check_known("schedule_orchestration", options, DETACHED_OPTIONS, orchestration)
        name, _, data = _target(orchestration, inputs, "schedule_orchestration")
        new_id = self._derived_id(options.get("instance_id"))
        started = DetachedStarted(
            id=0,
            where=where_asked(),
            name=name,
            input=Raw(data),
            instance_id=new_id,
            version=exact_version(options),
        )
        execution.ask(Note(started))
        return new_id

    def _derived_id(self, instance_id: str | None) -> str:
        if instance_id is not None:
            return check_instance_id(instance_id)
        execution = self._execution
        root, incarnation = self._family()
        return child_id(root, incarnation, execution.execution_id, execution.asked + 1)

    def _family(self) -> tuple[str, int]:
        """The root and the incarnation by which children are named."""
        execution = self._execution
        return execution.root or execution.instance_id, execution.incarnation

    def schedule_timer(self, until: Duration | datetime, /) -> DurableFuture[None]:
        execution = self._execution
        if not execution.admits("ctx.schedule_timer"):
            return execution.refused(DurableFuture)
        if isinstance(until, datetime):
            fire_at = instant_us(until, what="timer")
        else:
            fire_at = execution.now_us + duration_us(until, what="timer")
        future: TimerFuture = _new(TimerFuture, execution)
        future.fire_at = fire_at
        future.where = where_asked()
        execution.ask(future)
        return future

    def schedule_wait(self, event: Any, /, returns: Any = Any) -> DurableFuture[Any]:
        execution = self._execution
        if not execution.admits("ctx.schedule_wait"):
            return execution.refused(DurableFuture)
        future: WaitFuture[Any] = _new(WaitFuture, execution)
        if isinstance(event, ExternalEvent):
            future.name = event.name
            future.decoder = codec_for(event.type_)
        else:
            future.name = event_name(event)
            future.decoder = codec_for(returns)
        future.took = future.got = None
        future.awaited = 0
        future.read = False
        future.where = where_asked()
        execution.wait_for(future)
        return future

    def mailbox(self, event: ExternalEvent[T], /) -> AsyncIterator[T]:
        return Mailbox(self, event)

    def raise_event(self, instance_id: str, event: Any, /, data: Any = None) -> None:
        execution = self._execution
        execution.gate("ctx.raise_event")
        to = check_name("instance id", instance_id)
        if isinstance(event, ExternalEvent):
            name = event.name
            body = codec_for(event.type_).encode(data, what=f"external event {name!r}")
        else:
            name = event_name(event)
            body = encode_any(data, what=f"external event {name!r}")
        execution.ask(
            Note(
                EventSent(
                    id=0,
                    where=where_asked(),
                    instance_id=to,
                    name=name,
                    data=Raw(body),
                )
            )
        )

    def read_value(self, instance_id: str, key: ReadableKey[T], /) -> DurableFuture[T | None]:
        execution = self._execution
        if not execution.admits("ctx.read_value"):
            return execution.refused(DurableFuture)
        future: ActivityFuture[T | None] = _new(ActivityFuture, execution)
        future.name = read_value.name
        future.aliases = ()
        future.decoder = Found(key)
        data = read_value.inputs_codec.encode((check_name("instance id", instance_id), name_of(key)))
        where = future.where = where_asked()
        future.wanted = ActivityScheduled(
            id=execution.next_event,
            where=where,
            name=future.name,
            input=Raw(data),
            retry=Raw(WHILE_STORE_IS_AWAY.wire_json),
        )
        execution.ask(future)
        return future

    def select2(
        self, first: Awaitable[A], second: Awaitable[B], /
    ) -> Coroutine[Any, Any, tuple[Literal[0], A] | tuple[Literal[1], B]]:
        return _race("select2", (first, second))

    def select(self, *awaitables: Awaitable[Any]) -> Coroutine[Any, Any, Any]:
        if not awaitables:
            raise UsageError("ctx.select needs at least one awaitable")
        return _race("select", awaitables)

    def continue_as_new(self, *inputs: object, **options: Any) -> NoReturn:
        execution = self._execution
        execution.gate("ctx.continue_as_new")
        check_known("continue_as_new", options, NEXT_OPTIONS, execution.definition)
        data = execution.definition.inputs_codec.encode(inputs)
        raise execution.continue_with(data, exact_version(options))


def _race(verb: str, awaitables: tuple[Awaitable[Any], ...]) -> Coroutine[Any, Any, Any]:
    where = where_asked()
    return _said_where(verb, _run_race(awaitables, where), where)


def _said_where(verb: str, coroutine: Coroutine[Any, Any, Any], where: str | None = None) -> Coroutine[Any, Any, Any]:
    """The coroutine, of which Python, if it is never awaited, says where it was asked for and names none of ours."""
    named: Any = coroutine
    named.__qualname__ = f"ctx.{verb}, asked for at {where or where_asked()},"
    return coroutine


async def _run_race(awaitables: tuple[Awaitable[T], ...], where: str | None) -> tuple[int, T]:
    # Nothing of it begins before it is awaited.
    return await Race(awaitables, where).winner()


def context_of(execution: "Execution", secret: bytes, forks: "tuple[ForkedAt, ...]") -> Context:
    """The context of an execution that begins."""
    if not forks:
        return Context(execution, secret)
    from perdure._core.forks import ForkedContext  # noqa: PLC0415 - made of contexts, and seldom needed

    return ForkedContext(execution, secret, forks)


class Mailbox(AsyncIterator[T]):
    """The external events of one name. No generator: one of those would be over when a read of it is cancelled."""

    __slots__ = ("_context", "_event")

    def __init__(self, context: Context, event: ExternalEvent[T]) -> None:
        self._context = context
        self._event = event

    def __anext__(self) -> DurableFuture[T]:
        return self._context.schedule_wait(self._event)


def _named(target: Any, kind: str, verb: str) -> str:
    if isinstance(target, str):
        return check_name(kind, target)
    if isinstance(target, Activity | Orchestration):
        right = "schedule_activity" if isinstance(target, Activity) else "schedule_sub_orchestration"
        raise UsageError(f"ctx.{verb} got {target!r}: use ctx.{right} for it")
    raise UsageError(
        f"ctx.{verb} takes an {kind} made with @{kind}, or its name, not {target!r}"
        if not callable(target)
        else f"ctx.{verb} got the plain function {getattr(target, '__qualname__', target)!r}: decorate it with @{kind}"
    )


def _target(orchestration: Any, inputs: tuple[Any, ...], verb: str) -> tuple[str, tuple[str, ...], bytes]:
    if isinstance(orchestration, Orchestration):
        return orchestration.name, orchestration.aliases, orchestration.inputs_codec.encode(inputs)
    name = _named(orchestration, "orchestration", verb)
    return name, (), encode_any(inputs, what=f"inputs of orchestration {name}")
