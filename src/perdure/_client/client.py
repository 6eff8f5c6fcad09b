"""The client: starts, asks and steers; runs nothing. What it says is durable when a call returns."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from msgspec.structs import replace

from perdure import _work as work
from perdure._client.handle import InstanceStatus, OrchestrationHandle
from perdure._client.management import Management
from perdure._client.receiver import Receiver
from perdure._client.repair import Repair
from perdure._client.starts import new_instance, pairs_of, refuse_another, refused_start
from perdure._client.transactions import Transactions, check_conflict, joining
from perdure._client.transfer import Transfers
from perdure._definitions import Orchestration
from perdure._types import OnConflict, check_count, check_name
from perdure.codec import codec_for
from perdure.errors import OutcomeUnknownError, StorageUnavailableError, UsageError

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
    from datetime import datetime
    from types import TracebackType
    from typing import Unpack

    from perdure._client.attributes import Attribute, StartOptions
    from perdure._client.history import Event
    from perdure._client.requests import Gateway
    from perdure._client.schedules import Schedules
    from perdure._client.transactions import Submit
    from perdure._context import ExternalEvent
    from perdure._context.signatures import Orchestration0, Orchestration1, Orchestration2, Orchestration3

T = TypeVar("T")
R = TypeVar("R")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")

STARTS_PER_BATCH_MAX = 10_000
_UNKNOWN_RETRIES_MAX = 3
_CANCEL_REPLACED = work.encode_message(work.Cancel(reason="its parent was replaced"))


class Client(Management, Repair, Transactions, Transfers):
    """Starts orchestrations, sends them events, and reads them, in a store that workers share.

    Args:
        url: `sqlite:///relative.db`, `sqlite:////absolute.db`, a path, or `postgresql://user@host/database`; of a store
            on several shards all, in order. A worker's own client is `runtime.client`.
        create: Whether a file that is not there is made; with False opening raises `StorageError` instead.

    Example:
        async with Client("sqlite:///shop.db") as client:
            handle = await client.start_orchestration(checkout, order, instance_id="order-1")
            print(await handle.result())
    """

    def __init__(
        self, url: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], /, *, create: bool = True
    ) -> None:
        self._url: Any = url
        self._create = create
        self._gateway = None
        self._own: Any = None

    async def __aenter__(self) -> Self:
        """Open the store.

        Raises:
            StorageError: It can't be opened; the message says why and who must act.
        """
        if self._own is not None or self._gateway is not None:
            raise UsageError("this client is already open")
        if self._url == "memory://":
            raise UsageError(
                "Client('memory://') would open an empty store of its own: use the `client` of the Runtime"
            )
        from perdure._client.gateway import ThreadGateway  # noqa: PLC0415 - a runtime's client never needs it
        from perdure._ports import SystemClock, SystemEntropy  # noqa: PLC0415 - the same
        from perdure.storage import open_storages  # noqa: PLC0415 - the same

        clock, entropy = SystemClock(), SystemEntropy()
        # Off the loop: creating a file takes a while, and other programs may hold it.
        loop = asyncio.get_running_loop()
        if hasattr(loop, "__perdure_orchestration_loop__"):
            raise UsageError("a client can't be opened inside an orchestration: use ctx's verbs, or one in an activity")
        opened = partial(open_storages, self._url, clock=clock, entropy=entropy, create=self._create)
        storages = await loop.run_in_executor(None, opened)
        gateways = [ThreadGateway(storage, clock, entropy) for storage in storages]
        self._own = self._gateway = gateways[0] if len(gateways) == 1 else _sharded(gateways, storages)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Close the store. Calls under way fail; what they asked for may have been committed."""
        own, self._own, self._gateway = self._own, None, None
        if own is not None:
            await own.close()

    @property
    def schedules(self) -> Schedules:
        """The schedules of the store: orchestrations started by the calendar."""
        from perdure._client.schedules import Schedules  # noqa: PLC0415 - few programs have schedules

        return Schedules(self, self._opened())

    # -- starting --------------------------------------------------------------------------------------------------

    @overload
    async def start_orchestration(
        self, orchestration: Orchestration0[R], /, **options: Unpack[StartOptions]
    ) -> OrchestrationHandle[R]: ...
    @overload
    async def start_orchestration(
        self, orchestration: Orchestration1[A, R], a: A, /, **options: Unpack[StartOptions]
    ) -> OrchestrationHandle[R]: ...
    @overload
    async def start_orchestration(
        self, orchestration: Orchestration2[A, B, R], a: A, b: B, /, **options: Unpack[StartOptions]
    ) -> OrchestrationHandle[R]: ...
    @overload
    async def start_orchestration(
        self, orchestration: Orchestration3[A, B, C, R], a: A, b: B, c: C, /, **options: Unpack[StartOptions]
    ) -> OrchestrationHandle[R]: ...
    @overload
    async def start_orchestration(
        self, orchestration: str, /, *inputs: object, returns: type[R], **options: Unpack[StartOptions]
    ) -> OrchestrationHandle[R]: ...
    @overload
    async def start_orchestration(
        self, orchestration: str, /, *inputs: object, **options: Unpack[StartOptions]
    ) -> OrchestrationHandle[Any]: ...
    async def start_orchestration(
        self,
        orchestration: Any,
        /,
        *inputs: Any,
        returns: Any = None,
        instance_id: str | None = None,
        version: str | None = None,
        on_conflict: OnConflict = "fail",
        attributes: Mapping[str, Attribute] | None = None,
        start_at: datetime | None = None,
        connection: Any = None,
    ) -> OrchestrationHandle[Any]:
        """Start an orchestration; it is durable when this returns, or with `connection` once that one's transaction is.

        A definition stands for its name; the version is the latest that the worker has, unless `version` names one.

        Args:
            orchestration: A definition, or a durable name with `returns=` as the type of the result.
            *inputs: Its inputs, 0 to 3.
            returns: The type of the result, for a start by name.
            instance_id: 1 to 256 bytes; default a new UUID (version 7).
            version: An exact version.
            on_conflict: When the id is taken: "fail" (default), "use_existing", "restart_if_closed" or
                "terminate_and_restart".
            attributes: Values to find the instance by in `list_instances`.
            start_at: Not before this instant (aware); it is pending until then.
            connection: One of your own to the store's PostgreSQL database, in a transaction (asyncpg, psycopg or
                SQLAlchemy), or what `transaction()` lends on SQLite. It starts if and only if that transaction commits;
                until then nobody sees it, and the handle knows of no instance.

        Raises:
            InstanceExistsError: The id is taken; with "use_existing", by an instance of another orchestration.
            InstanceComingError: It was to be replaced, and is on its way here from another store.
            PayloadError: An input does not fit its annotation.
            UsageError: An option is wrong, or the connection can't be used for this.
            StorageUnavailableError: Nothing was started; try again.
            OutcomeUnknownError: It was started or not, and even asking again has not told: look before you start it.
        """
        gateway = self._opened()
        new = new_instance(
            gateway,
            orchestration,
            inputs,
            instance_id=instance_id,
            version=version,
            on_conflict=on_conflict,
            attributes=attributes,
            start_at=start_at,
        )
        if connection is not None:
            check_conflict(on_conflict)
        submit = gateway.submit if connection is None else joining(gateway, connection)
        new, outcome = await self._commit_start(gateway, new, on_conflict, orchestration, submit)
        return self._started(gateway, orchestration, returns, new, outcome)

    async def start_many(
        self,
        orchestration: Orchestration1[A, R],
        inputs: Iterable[tuple[str, A]],
        /,
        *,
        on_conflict: OnConflict = "fail",
    ) -> list[OrchestrationHandle[R]]:
        """Start one orchestration for each `(instance_id, input)`, in as few commits as the store allows.

        All or none is not promised: each start lands on its own, and the first that was refused is raised after all
        have been tried. Durable when this returns.

        Raises:
            InstanceExistsError: An id is taken, and `on_conflict` is "fail"; or by another orchestration's instance.
            PayloadError: An input does not fit its annotation; nothing was started.
            UsageError: What was given are no pairs, or an id is wrong; nothing was started.
        """
        gateway = self._opened()
        new = [
            new_instance(gateway, orchestration, (item,), instance_id=instance_id, on_conflict=on_conflict)
            for instance_id, item in pairs_of(inputs)
        ]
        handles: list[OrchestrationHandle[R]] = []
        refused: BaseException | None = None
        for begin in range(0, len(new), STARTS_PER_BATCH_MAX):
            chunk = new[begin : begin + STARTS_PER_BATCH_MAX]
            outcomes = await asyncio.gather(
                *(self._commit_start(gateway, each, on_conflict, orchestration, gateway.submit) for each in chunk),
                return_exceptions=True,
            )
            for outcome in outcomes:
                if isinstance(outcome, BaseException):
                    refused = refused or outcome
                else:
                    handles.append(self._started(gateway, orchestration, None, *outcome))
        if refused is not None:
            raise refused
        return handles

    async def _commit_start(
        self, gateway: Gateway, new: work.NewInstance, on_conflict: OnConflict, orchestration: Any, submit: Submit
    ) -> tuple[work.NewInstance, work.Applied]:
        item = work.StartInstance(new=new, on_conflict=on_conflict, cancel=_CANCEL_REPLACED)
        unknown: OutcomeUnknownError | None = None
        for _ in range(_UNKNOWN_RETRIES_MAX):
            try:
                outcome = await submit(item)
            except OutcomeUnknownError as error:
                # The incarnation names this very start: what it has begun, sent again it does not begin once more.
                unknown, item = error, replace(item, again=True)
                continue
            except StorageUnavailableError as error:
                if unknown is None:
                    raise
                raise unknown from error
            if isinstance(outcome, work.Applied):
                if outcome.existing is not None:
                    refuse_another(orchestration, outcome.existing)
                return item.new, outcome
            if outcome.reason is not work.Refusal.INCARNATION:
                raise unknown if outcome.reason is work.Refusal.BUSY and unknown else refused_start(new.id, outcome)
            # Whoever has it shows that this start has not landed.
            unknown = None
            item = replace(item, new=replace(item.new, incarnation=gateway.draw_incarnation(new.id)), again=False)
        raise unknown or StorageUnavailableError(f"no free incarnation was found for {new.id!r}: try again")

    def _started(
        self, gateway: Gateway, orchestration: Any, returns: Any, new: work.NewInstance, outcome: work.Applied
    ) -> OrchestrationHandle[Any]:
        incarnation = new.incarnation if outcome.existing is None else outcome.existing.incarnation
        codec = orchestration.result_codec if isinstance(orchestration, Orchestration) else codec_for(returns or Any)
        return OrchestrationHandle(gateway, new.id, codec, incarnation)

    @overload
    def get_handle(self, instance_id: str, /) -> OrchestrationHandle[Any]: ...
    @overload
    def get_handle(self, instance_id: str, orchestration: Orchestration[..., R], /) -> OrchestrationHandle[R]: ...
    def get_handle(self, instance_id: str, orchestration: Any = None, /) -> OrchestrationHandle[Any]:
        """A handle for whoever has the id when it is used, perhaps nobody yet; by a definition the result is typed."""
        check_name("instance id", instance_id)
        if not isinstance(orchestration, Orchestration | None):
            raise UsageError(f"get_handle takes a definition made with @orchestration, or none, not {orchestration!r}")
        codec = orchestration.result_codec if orchestration is not None else codec_for(Any)
        return OrchestrationHandle(self._opened(), instance_id, codec, None)

    # -- steering --------------------------------------------------------------------------------------------------

    @overload
    async def raise_event(
        self,
        instance_id: str,
        event: ExternalEvent[T],
        /,
        data: T,
        *,
        dedup_key: str | None = None,
        connection: Any = None,
    ) -> None: ...
    @overload
    async def raise_event(
        self,
        instance_id: str,
        event: str,
        /,
        data: object = None,
        *,
        dedup_key: str | None = None,
        connection: Any = None,
    ) -> None: ...
    async def raise_event(
        self,
        instance_id: str,
        event: Any,
        /,
        data: Any = None,
        *,
        dedup_key: str | None = None,
        connection: Any = None,
    ) -> None:
        """Send an external event; it waits in the instance's mailbox until it is read. Durable when this returns.

        With a `dedup_key`, sending it again is harmless. With a `connection` (see `start_orchestration`) it is sent if
        and only if that one's transaction commits; an instance that ends before that does not read it.

        Raises:
            InstanceNotFoundError: There is no such instance.
            InstanceClosedError: It has ended.
            InstanceComingError: It is on its way here from another store.
            PayloadError: The data does not fit the event's type.
            UsageError: The connection can't be used for this.
        """
        receiver = Receiver(self._opened(), check_name("instance id", instance_id))
        await receiver.raise_event(event, data, dedup_key, connection)

    async def cancel(self, instance_id: str, /, reason: str = "") -> None:
        """Ask an instance to cancel: `CancelledError` is raised in it, and it may compensate. A second time is a no-op.

        One that waits for its `start_at`, or was suspended before it began, ends as cancelled without running; one that
        was suspended later hears of it when it is resumed.

        Raises:
            InstanceNotFoundError: There is no such instance.
            InstanceClosedError: It has ended.
            InstanceComingError: It is on its way here from another store.
        """
        await Receiver(self._opened(), check_name("instance id", instance_id)).cancel(reason)

    async def terminate(self, instance_id: str, /, reason: str = "") -> None:
        """End an instance at once, without running its code; its children are terminated too.

        Raises:
            InstanceNotFoundError: There is no such instance.
            InstanceClosedError: It has ended.
            InstanceComingError: It is on its way here from another store.
        """
        await Receiver(self._opened(), check_name("instance id", instance_id)).terminate(reason)

    # -- reading ---------------------------------------------------------------------------------------------------

    async def get_status(self, instance_id: str, /) -> InstanceStatus[Any]:
        """Where an instance stands.

        Raises:
            InstanceNotFoundError: There is no such instance.
        """
        return await self.get_handle(instance_id).status()

    async def history(self, instance_id: str, /, *, execution_id: int | None = None) -> AsyncGenerator[Event, None]:
        """The events of an execution (default: the current one), in order.

        Raises:
            InstanceNotFoundError: There is no such instance.
            HistoryCorruptError: The stored history is damaged.
            UsageError: `execution_id` is no whole number, 1 or more.
        """
        from perdure._client.history import read_events  # noqa: PLC0415 - loaded when it is asked for

        if execution_id is not None:
            check_count("execution_id", execution_id)
        gateway = self._opened()
        record = await self._record(instance_id)
        execution = record.execution if execution_id is None else execution_id
        rows = await gateway.read(gateway.inspector.read_history, record.incarnation, execution)
        for event in read_events(rows):
            yield event


def _sharded(gateways: Sequence[Any], storages: Sequence[Any]) -> Any:
    from perdure._client.shards import ShardedGateway  # noqa: PLC0415 - few stores have shards

    return ShardedGateway(gateways, storages)


class EngineClient(Client):
    """The client of a runtime, over its engine; open as long as that is."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__("")
        self._gateway = gateway
