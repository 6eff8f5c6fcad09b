"""A synchronous client: a thin portal to `Client` on an event loop of its own, for scripts and synchronous servers."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Self, TypeVar, overload

from perdure._client.client import Client
from perdure.errors import UsageError

if TYPE_CHECKING:
    import os
    from collections.abc import Coroutine, Iterable, Iterator, Sequence
    from datetime import datetime
    from types import TracebackType
    from typing import BinaryIO, Literal, Unpack

    from perdure._client.attributes import StartOptions
    from perdure._client.figures import (
        Deletion,
        ExecutionStatus,
        HeldActivity,
        InstanceCount,
        InstanceSizes,
        InstanceTree,
        LimitStatus,
        LimitUser,
        OpenActivity,
        QueueDepths,
    )
    from perdure._client.filters import InstanceFilter
    from perdure._client.handle import InstanceStatus, OrchestrationHandle, Page
    from perdure._client.history import Event
    from perdure._client.moving import Transfer
    from perdure._client.resetting import Dropped
    from perdure._client.sync_schedules import SyncSchedules
    from perdure._client.workers import WorkerStatus
    from perdure._context import Decision
    from perdure._context.asking import AnyQuery, AnyUpdate
    from perdure._context.signatures import Orchestration0, Orchestration1, Orchestration2, Orchestration3
    from perdure._context.state import ReadableKey
    from perdure._context.transaction import Transaction
    from perdure._definitions import Orchestration
    from perdure._types import Duration, OnConflict

T = TypeVar("T")
R = TypeVar("R")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")


class SyncHandle(Generic[R]):
    """A handle whose methods block; see `OrchestrationHandle`."""

    def __init__(self, portal: SyncClient, handle: OrchestrationHandle[R]) -> None:
        self._portal = portal
        self._handle = handle

    @property
    def instance_id(self) -> str:
        """The instance's id."""
        return self._handle.instance_id

    def __repr__(self) -> str:
        return f"<SyncHandle {self.instance_id!r}>"

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            raise AttributeError(f"a handle has no attribute {name!r}: `handle.result()` is what the instance returned")

    def result(self, *, timeout: Duration | None = None) -> R:
        """The result, once the instance has ended."""
        return self._portal.call(self._handle.result(timeout=timeout))

    def status(self) -> InstanceStatus[Any]:
        """Where the instance stands now."""
        return self._portal.call(self._handle.status())

    def wait_for_status_change(self, after: int = 0, /, *, timeout: Duration | None = None) -> InstanceStatus[Any]:
        """The status, once the custom status has a version above `after`, or the instance has ended."""
        return self._portal.call(self._handle.wait_for_status_change(after, timeout=timeout))

    def kv(self, key: ReadableKey[T], /) -> T | None:
        """The value under a key of the instance's KV store."""
        return self._portal.call(self._handle.kv(key))

    def kv_all(self) -> dict[str, Any]:
        """All values of the instance's KV store, in order of their keys."""
        return self._portal.call(self._handle.kv_all())

    def wait_for_kv(self, key: ReadableKey[T], /, *, timeout: Duration | None = None) -> T:
        """The value under a key of the instance's KV store, once there is one."""
        return self._portal.call(self._handle.wait_for_kv(key, timeout=timeout))

    @overload
    def query(self, query: AnyQuery[None, T], /, *, timeout: Duration | None = 30.0) -> T: ...
    @overload
    def query(self, query: AnyQuery[A, T], value: A, /, *, timeout: Duration | None = 30.0) -> T: ...
    @overload
    def query(self, query: str, value: object = None, /, *, timeout: Duration | None = 30.0) -> Any: ...
    def query(self, query: Any, value: Any = None, /, *, timeout: Duration | None = 30.0) -> Any:
        """Ask the running orchestration a question."""
        return self._portal.call(self._handle.query(query, value, timeout=timeout))

    @overload
    def update(
        self, update: AnyUpdate[None, T], /, *, dedup_key: str | None = None, timeout: Duration | None = 30.0
    ) -> T: ...
    @overload
    def update(
        self, update: AnyUpdate[A, T], value: A, /, *, dedup_key: str | None = None, timeout: Duration | None = 30.0
    ) -> T: ...
    @overload
    def update(
        self, update: str, value: object = None, /, *, dedup_key: str | None = None, timeout: Duration | None = 30.0
    ) -> Any: ...
    def update(
        self, update: Any, value: Any = None, /, *, dedup_key: str | None = None, timeout: Duration | None = 30.0
    ) -> Any:
        """Send the running orchestration a request, and wait for its answer."""
        return self._portal.call(self._handle.update(update, value, dedup_key=dedup_key, timeout=timeout))

    def raise_event(
        self, event: Any, /, data: Any = None, *, dedup_key: str | None = None, connection: Any = None
    ) -> None:
        """Send it an external event."""
        _refuse_asynchronous(connection)
        self._portal.call(self._handle.raise_event(event, data, dedup_key=dedup_key, connection=connection))

    def cancel(self, reason: str = "") -> None:
        """Ask it to cancel."""
        self._portal.call(self._handle.cancel(reason))

    def terminate(self, reason: str = "") -> None:
        """End it at once."""
        self._portal.call(self._handle.terminate(reason))


class SyncClient:
    """A client whose methods block. Not for use inside an event loop: use `Client` there.

    Args:
        url: As for `Client`.
        create: As for `Client`.

    Example:
        with SyncClient("sqlite:///shop.db") as client:
            print(client.start_orchestration(checkout, order).result())
    """

    def __init__(
        self, url: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], /, *, create: bool = True
    ) -> None:
        self._client = Client(url, create=create)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Open the store."""
        if self._loop is not None:
            raise UsageError("this client is already open")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=_run, args=(self._loop,), name="perdure-sync-client", daemon=True)
        self._thread.start()
        try:
            self.call(self._client.__aenter__())
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Close the store."""
        try:
            self.call(self._client.__aexit__(kind, error, traceback))
        finally:
            self._stop()

    def _stop(self) -> None:
        loop, thread = self._loop, self._thread
        self._loop = self._thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine of the asynchronous client and wait for it.

        Raises:
            UsageError: The client is not open, or the caller runs in an event loop, which would stand still.
        """
        loop = self._loop
        problem = None
        if loop is None:
            problem = "this client is not open: use it inside `with SyncClient(url) as client:`"
        elif asyncio._get_running_loop() is not None:
            problem = "SyncClient blocks and was called inside an event loop: use `async with Client(url)` there"
        if loop is None or problem is not None:
            coroutine.close()
            raise UsageError(problem)
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)
        try:
            return future.result()
        except BaseException:
            # Ctrl-C ends the wait; nobody will look at what the coroutine still does.
            future.cancel()
            raise

    @overload
    def start_orchestration(
        self, orchestration: Orchestration0[R], /, **options: Unpack[StartOptions]
    ) -> SyncHandle[R]: ...
    @overload
    def start_orchestration(
        self, orchestration: Orchestration1[A, R], a: A, /, **options: Unpack[StartOptions]
    ) -> SyncHandle[R]: ...
    @overload
    def start_orchestration(
        self, orchestration: Orchestration2[A, B, R], a: A, b: B, /, **options: Unpack[StartOptions]
    ) -> SyncHandle[R]: ...
    @overload
    def start_orchestration(
        self, orchestration: Orchestration3[A, B, C, R], a: A, b: B, c: C, /, **options: Unpack[StartOptions]
    ) -> SyncHandle[R]: ...
    @overload
    def start_orchestration(
        self, orchestration: str, /, *inputs: object, returns: type[R], **options: Unpack[StartOptions]
    ) -> SyncHandle[R]: ...
    @overload
    def start_orchestration(
        self, orchestration: str, /, *inputs: object, **options: Unpack[StartOptions]
    ) -> SyncHandle[Any]: ...
    def start_orchestration(self, orchestration: Any, /, *inputs: Any, **options: Any) -> SyncHandle[Any]:
        """Start an orchestration; see `Client.start_orchestration`. A `connection` must be a synchronous one."""
        _refuse_asynchronous(options.get("connection"))
        return SyncHandle(self, self.call(self._client.start_orchestration(orchestration, *inputs, **options)))

    def start_many(
        self,
        orchestration: Orchestration1[A, R],
        inputs: Iterable[tuple[str, A]],
        /,
        *,
        on_conflict: OnConflict = "fail",
    ) -> list[SyncHandle[R]]:
        """Start one orchestration for each `(instance_id, input)`."""
        started = self.call(self._client.start_many(orchestration, inputs, on_conflict=on_conflict))
        return [SyncHandle(self, each) for each in started]

    @overload
    def get_handle(self, instance_id: str, /) -> SyncHandle[Any]: ...
    @overload
    def get_handle(self, instance_id: str, orchestration: Orchestration[..., R], /) -> SyncHandle[R]: ...
    def get_handle(self, instance_id: str, orchestration: Any = None, /) -> SyncHandle[Any]:
        """A handle for an instance."""
        return SyncHandle(self, self._client.get_handle(instance_id, orchestration))

    @property
    def schedules(self) -> SyncSchedules:
        """The schedules of the store."""
        from perdure._client.sync_schedules import SyncSchedules  # noqa: PLC0415 - few programs have schedules

        return SyncSchedules(self, self._client.schedules)

    def raise_event(
        self,
        instance_id: str,
        event: Any,
        /,
        data: Any = None,
        *,
        dedup_key: str | None = None,
        connection: Any = None,
    ) -> None:
        """Send an external event."""
        _refuse_asynchronous(connection)
        self.call(self._client.raise_event(instance_id, event, data, dedup_key=dedup_key, connection=connection))

    @contextmanager
    def transaction(self, *, timeout: Duration = 2.0) -> Iterator[Transaction]:
        """A transaction of the store's SQLite file, lent for a short time; see `Client.transaction`."""
        lent = self._client.transaction(timeout=timeout)
        transaction = self.call(lent.__aenter__())
        try:
            yield transaction
        except BaseException as error:
            self.call(lent.__aexit__(type(error), error, error.__traceback__))
            raise
        self.call(lent.__aexit__(None, None, None))

    def get_status(self, instance_id: str, /) -> InstanceStatus[Any]:
        """Where an instance stands."""
        return self.call(self._client.get_status(instance_id))

    def cancel(self, instance_id: str, /, reason: str = "") -> None:
        """Ask an instance to cancel."""
        self.call(self._client.cancel(instance_id, reason))

    def terminate(self, instance_id: str, /, reason: str = "") -> None:
        """End an instance at once."""
        self.call(self._client.terminate(instance_id, reason))

    def suspend(self, instance_id: str, /, reason: str = "") -> None:
        """Set an open instance aside."""
        self.call(self._client.suspend(instance_id, reason))

    def resume(self, instance_id: str, /) -> None:
        """Let a suspended or held instance go on."""
        self.call(self._client.resume(instance_id))

    def retry(self, instance_id: str, /, *, event_id: int | None = None) -> None:
        """Try again what is held."""
        self.call(self._client.retry(instance_id, event_id=event_id))

    def discard(self, instance_id: str, /, *, event_id: int | None = None, reason: str = "") -> None:
        """Give up what is held."""
        self.call(self._client.discard(instance_id, event_id=event_id, reason=reason))

    def export_instances(
        self,
        file: str | os.PathLike[str] | BinaryIO,
        /,
        *,
        instance_ids: Iterable[str] | None = None,
        **filters: Unpack[InstanceFilter],
    ) -> Transfer:
        """Write root instances and everything below them to a file."""
        return self.call(self._client.export_instances(file, instance_ids=instance_ids, **filters))

    def import_instances(
        self,
        file: str | os.PathLike[str] | BinaryIO,
        /,
        *,
        run: bool = False,
        on_conflict: Literal["fail", "skip", "replace"] = "fail",
    ) -> Transfer:
        """Take in the instances of a file."""
        return self.call(self._client.import_instances(file, run=run, on_conflict=on_conflict))

    def move_instances(
        self,
        target: SyncClient,
        /,
        *,
        instance_ids: Iterable[str] | None = None,
        run: bool = True,
        grace: Duration = 30.0,
        **filters: Unpack[InstanceFilter],
    ) -> Transfer:
        """Move root instances and everything below them to another store."""
        there = target._client
        return self.call(self._client.move_instances(there, instance_ids=instance_ids, run=run, grace=grace, **filters))

    def rewind(self, instance_id: str, /) -> None:
        """Let a failed instance go on from before the turn in which it failed."""
        self.call(self._client.rewind(instance_id))

    def reset(
        self,
        instance_id: str,
        /,
        *,
        to_event: int | None = None,
        to: Literal["start", "last"] | None = None,
        grace: Duration = 30.0,
    ) -> Dropped:
        """Let an instance go on from an earlier event."""
        return self.call(self._client.reset(instance_id, to_event=to_event, to=to, grace=grace))

    def fork(
        self, instance_id: str, new_id: str | None = None, /, *, from_event: int | None = None, run: bool = False
    ) -> SyncHandle[Any]:
        """Make an instance that has the history of another one up to an event."""
        return SyncHandle(self, self.call(self._client.fork(instance_id, new_id, from_event=from_event, run=run)))

    def resolve(self, held: HeldActivity | str, decision: Decision[Any], /, *, event_id: int | None = None) -> None:
        """Say what came of a held activity."""
        self.call(self._client.resolve(held, decision, event_id=event_id))

    def list_held_activities(self, *, instance_id: str | None = None, limit: int = 100) -> list[HeldActivity]:
        """The activities that were set aside."""
        return self.call(self._client.list_held_activities(instance_id=instance_id, limit=limit))

    def delete(self, instance_id: str, /, *, force: bool = False) -> int:
        """Delete a closed instance and its descendants."""
        return self.call(self._client.delete(instance_id, force=force))

    def delete_instances(self, *, force: bool = False, **filters: Unpack[InstanceFilter]) -> Deletion:
        """Delete the root instances that match, with their descendants."""
        return self.call(self._client.delete_instances(force=force, **filters))

    def prune(self, instance_id: str, /, *, keep: int | None = None, before: datetime | None = None) -> int:
        """Delete the histories of past executions of an instance."""
        return self.call(self._client.prune(instance_id, keep=keep, before=before))

    def prune_instances(
        self, *, keep: int | None = None, before: datetime | None = None, **filters: Unpack[InstanceFilter]
    ) -> int:
        """The same for all instances that match."""
        return self.call(self._client.prune_instances(keep=keep, before=before, **filters))

    def list_instances(
        self, *, limit: int = 100, after: str | None = None, **filters: Unpack[InstanceFilter]
    ) -> Page[InstanceStatus[Any]]:
        """One page of instances; it may be short, even empty, and have a `next`."""
        return self.call(self._client.list_instances(limit=limit, after=after, **filters))

    def count_instances(self, **filters: Unpack[InstanceFilter]) -> list[InstanceCount]:
        """How many instances there are, by orchestration and status."""
        return self.call(self._client.count_instances(**filters))

    def get_tree(self, instance_id: str, /) -> InstanceTree:
        """An instance and everything below it."""
        return self.call(self._client.get_tree(instance_id))

    def list_executions(self, instance_id: str, /) -> list[ExecutionStatus]:
        """The executions of an instance."""
        return self.call(self._client.list_executions(instance_id))

    def get_sizes(self, instance_id: str, /) -> InstanceSizes:
        """How large the history and the KV store of an instance are."""
        return self.call(self._client.get_sizes(instance_id))

    def list_open_activities(self, instance_id: str, /, *, limit: int = 100) -> list[OpenActivity]:
        """The activities of an instance that have not ended."""
        return self.call(self._client.list_open_activities(instance_id, limit=limit))

    def get_queues(self) -> QueueDepths:
        """What waits in the store."""
        return self.call(self._client.get_queues())

    def list_limits(self) -> list[LimitStatus]:
        """The limits by key that something has a place of, or waits for."""
        return self.call(self._client.list_limits())

    def list_limit_users(self, key: str, /, *, limit: int = 100) -> list[LimitUser]:
        """Who has a place of a limit, then who waits for one."""
        return self.call(self._client.list_limit_users(key, limit=limit))

    def list_workers(self) -> list[WorkerStatus]:
        """The workers of the store."""
        return self.call(self._client.list_workers())

    def history(self, instance_id: str, /, *, execution_id: int | None = None) -> Iterator[Event]:
        """The events of an execution, in order."""

        async def gather() -> list[Event]:
            return [event async for event in self._client.history(instance_id, execution_id=execution_id)]

        return iter(self.call(gather()))


def _refuse_asynchronous(connection: Any) -> None:
    if asyncio.iscoroutinefunction(getattr(connection, "execute", None)):
        raise UsageError(
            f"connection= is {connection!r}, which belongs to an event loop: pass a synchronous one (psycopg's or "
            "SQLAlchemy's), or use `async with Client(url)` in that loop"
        )


def _run(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()
