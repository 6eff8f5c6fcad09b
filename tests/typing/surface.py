"""What the programs of this folder import; the part outside orchestrations is declared only, as far as they use it."""

from collections.abc import AsyncIterator
from datetime import timedelta
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, overload

from perdure._context import (
    ActivityContext,
    ChildFuture,
    DurableFuture,
    ExternalEvent,
    OrchestrationContext,
    activity_context,
)
from perdure._context.signatures import Orchestration0, Orchestration1, Orchestration2, Orchestration3
from perdure._definitions import Activity, Orchestration, activity, orchestration
from perdure._registry import Registry
from perdure._retry import Backoff, RetryPolicy
from perdure.errors import ActivityError, NonRetryableError, OrchestrationError, RetryAfter

__all__ = [
    "Activity",
    "ActivityContext",
    "ActivityError",
    "Backoff",
    "ChildFuture",
    "Client",
    "DurableFuture",
    "ExternalEvent",
    "NonRetryableError",
    "Orchestration",
    "OrchestrationContext",
    "OrchestrationError",
    "OrchestrationHandle",
    "Registry",
    "RetryAfter",
    "RetryPolicy",
    "Runtime",
    "activity",
    "activity_context",
    "orchestration",
    "run",
]

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")


class OrchestrationHandle(Generic[R_co]):
    """A started instance."""

    @property
    def instance_id(self) -> str:
        raise NotImplementedError

    async def result(self, *, timeout: timedelta | float | None = None) -> R_co:
        raise NotImplementedError

    def watch(self) -> AsyncIterator[object]:
        raise NotImplementedError

    @overload
    async def raise_event(self, event: ExternalEvent[T], data: T, /) -> None: ...
    @overload
    async def raise_event(self, event: str, data: object = None, /) -> None: ...
    async def raise_event(self, event: Any, data: Any = None, /) -> None:
        raise NotImplementedError

    async def cancel(self, reason: str = "") -> None:
        raise NotImplementedError


class Client:
    """Starts and asks."""

    def __init__(self, url: str, /) -> None:
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        raise NotImplementedError

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        raise NotImplementedError

    @overload
    async def start_orchestration(
        self, orchestration: Orchestration0[R], /, *, instance_id: str | None = None
    ) -> OrchestrationHandle[R]: ...
    @overload
    async def start_orchestration(
        self, orchestration: Orchestration1[A, R], a: A, /, *, instance_id: str | None = None
    ) -> OrchestrationHandle[R]: ...
    @overload
    async def start_orchestration(
        self, orchestration: Orchestration2[A, B, R], a: A, b: B, /, *, instance_id: str | None = None
    ) -> OrchestrationHandle[R]: ...
    @overload
    async def start_orchestration(
        self, orchestration: Orchestration3[A, B, C, R], a: A, b: B, c: C, /, *, instance_id: str | None = None
    ) -> OrchestrationHandle[R]: ...
    async def start_orchestration(
        self, orchestration: Any, /, *inputs: Any, **options: Any
    ) -> OrchestrationHandle[Any]:
        raise NotImplementedError

    @overload
    def get_handle(self, instance_id: str, /) -> OrchestrationHandle[Any]: ...
    @overload
    def get_handle(self, instance_id: str, orchestration: Orchestration[..., R], /) -> OrchestrationHandle[R]: ...
    def get_handle(self, instance_id: str, orchestration: Any = None, /) -> OrchestrationHandle[Any]:
        raise NotImplementedError


class Runtime:
    """A worker and a client."""

    def __init__(self, url: str, registry: Registry, /) -> None:
        raise NotImplementedError

    @property
    def client(self) -> Client:
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        raise NotImplementedError

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        raise NotImplementedError


@overload
def run(orchestration: Orchestration0[R], /, *, url: str = "memory://", registry: Registry | None = None) -> R: ...
@overload
def run(
    orchestration: Orchestration1[A, R], a: A, /, *, url: str = "memory://", registry: Registry | None = None
) -> R: ...
def run(orchestration: Any, /, *inputs: Any, **options: Any) -> Any:
    raise NotImplementedError
