"""Perdure: durable orchestrations in plain Python.

A program written with it survives crashes, restarts and deployments, and goes on exactly where it was. What is listed
in `__all__` is the public surface; everything else is private.
"""

from typing import TYPE_CHECKING

from perdure._context import (
    ActivityContext,
    CannotTell,
    ChildFuture,
    Decision,
    DidNotHappen,
    DurableFuture,
    ExternalEvent,
    Failed,
    Happened,
    Key,
    KeyValueStore,
    Limit,
    MapPolicy,
    MapResult,
    OrchestrationContext,
    Query,
    Transaction,
    Update,
    Verdict,
)
from perdure._definitions import Activity, Orchestration, activity, orchestration
from perdure._registry import Registry
from perdure._retry import Backoff, RetryPolicy
from perdure._types import CancelPolicy, ClosePolicy, Duration, OnConflict, Status
from perdure.errors import (
    ActivityError,
    ActivityTimeoutError,
    ClientError,
    DatabaseCorruptError,
    ErrorInfo,
    ExportFileError,
    FencedError,
    ForbiddenCallError,
    ForeignDatabaseError,
    ForkedError,
    HeldError,
    HistoryCorruptError,
    InstanceClosedError,
    InstanceExistsError,
    InstanceHeldError,
    InstanceMovedError,
    InstanceNotFoundError,
    InstanceOpenError,
    LimitError,
    MapError,
    NonRetryableError,
    NotHeldError,
    OrchestrationCancelledError,
    OrchestrationError,
    OrchestrationTerminatedError,
    OutcomeError,
    OutcomeUnknownError,
    PayloadError,
    PayloadTooLargeError,
    PerdureError,
    PoisonedError,
    RegistrationError,
    ReplayMismatchError,
    RequestError,
    RequestRejectedError,
    ResultTimeoutError,
    RetryAfter,
    RewindError,
    SchemaVersionError,
    StorageBusyError,
    StorageError,
    StorageFullError,
    StorageUnavailableError,
    StuckError,
    TurnLimitError,
    UnansweredError,
    UnknownDefinitionError,
    UnknownFormatError,
    UnknownRequestError,
    UsageError,
)

if TYPE_CHECKING:
    from perdure._client import Client, InstanceFilter, InstanceStatus, OrchestrationHandle, Page
    from perdure._client.figures import (
        ActivityQueue,
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
    from perdure._client.history import Event
    from perdure._client.moving import Transfer
    from perdure._client.resetting import Dropped
    from perdure._client.schedules import ScheduleHandle, Schedules, ScheduleStatus
    from perdure._client.sync import SyncClient
    from perdure._client.tags import Tags
    from perdure._client.workers import WorkerStatus
    from perdure._runtime import Retention, Runtime
    from perdure._runtime.script import run
    from perdure._schedules.calendar import Cron, Every
    from perdure._schedules.spec import SLOT
    from perdure.observability.metrics import (
        ActivityMetrics,
        Distribution,
        Metrics,
        OrchestrationMetrics,
        StorageMetrics,
    )

__version__ = "0.1.0"

# Loaded when they are first named: a module that only defines orchestrations pays for no worker and no client.
_LAZY = {
    "ActivityQueue": "perdure._client.figures",
    "Client": "perdure._client",
    "Deletion": "perdure._client.figures",
    "Dropped": "perdure._client.resetting",
    "Event": "perdure._client.history",
    "ExecutionStatus": "perdure._client.figures",
    "HeldActivity": "perdure._client.figures",
    "InstanceCount": "perdure._client.figures",
    "ActivityMetrics": "perdure.observability.metrics",
    "Distribution": "perdure.observability.metrics",
    "InstanceFilter": "perdure._client",
    "Cron": "perdure._schedules.calendar",
    "Every": "perdure._schedules.calendar",
    "InstanceSizes": "perdure._client.figures",
    "InstanceStatus": "perdure._client",
    "InstanceTree": "perdure._client.figures",
    "LimitStatus": "perdure._client.figures",
    "LimitUser": "perdure._client.figures",
    "Metrics": "perdure.observability.metrics",
    "OpenActivity": "perdure._client.figures",
    "OrchestrationHandle": "perdure._client",
    "OrchestrationMetrics": "perdure.observability.metrics",
    "Page": "perdure._client",
    "QueueDepths": "perdure._client.figures",
    "Retention": "perdure._runtime",
    "Runtime": "perdure._runtime",
    "StorageMetrics": "perdure.observability.metrics",
    "SLOT": "perdure._schedules.spec",
    "ScheduleHandle": "perdure._client.schedules",
    "ScheduleStatus": "perdure._client.schedules",
    "Schedules": "perdure._client.schedules",
    "SyncClient": "perdure._client.sync",
    "Tags": "perdure._client.tags",
    "Transfer": "perdure._client.moving",
    "WorkerStatus": "perdure._client.workers",
    "run": "perdure._runtime.script",
}


def __getattr__(name: str) -> object:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module 'perdure' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - only where something lazy is named

    value: object = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


__all__ = [
    "SLOT",
    "Activity",
    "ActivityContext",
    "ActivityError",
    "ActivityMetrics",
    "ActivityQueue",
    "ActivityTimeoutError",
    "Backoff",
    "CancelPolicy",
    "CannotTell",
    "ChildFuture",
    "Client",
    "ClientError",
    "ClosePolicy",
    "Cron",
    "DatabaseCorruptError",
    "Decision",
    "Deletion",
    "DidNotHappen",
    "Distribution",
    "Dropped",
    "DurableFuture",
    "Duration",
    "ErrorInfo",
    "Event",
    "Every",
    "ExecutionStatus",
    "ExportFileError",
    "ExternalEvent",
    "Failed",
    "FencedError",
    "ForbiddenCallError",
    "ForeignDatabaseError",
    "ForkedError",
    "Happened",
    "HeldActivity",
    "HeldError",
    "HistoryCorruptError",
    "InstanceClosedError",
    "InstanceCount",
    "InstanceExistsError",
    "InstanceFilter",
    "InstanceHeldError",
    "InstanceMovedError",
    "InstanceNotFoundError",
    "InstanceOpenError",
    "InstanceSizes",
    "InstanceStatus",
    "InstanceTree",
    "Key",
    "KeyValueStore",
    "Limit",
    "LimitError",
    "LimitStatus",
    "LimitUser",
    "MapError",
    "MapPolicy",
    "MapResult",
    "Metrics",
    "NonRetryableError",
    "NotHeldError",
    "OnConflict",
    "OpenActivity",
    "Orchestration",
    "OrchestrationCancelledError",
    "OrchestrationContext",
    "OrchestrationError",
    "OrchestrationHandle",
    "OrchestrationMetrics",
    "OrchestrationTerminatedError",
    "OutcomeError",
    "OutcomeUnknownError",
    "Page",
    "PayloadError",
    "PayloadTooLargeError",
    "PerdureError",
    "PoisonedError",
    "Query",
    "QueueDepths",
    "RegistrationError",
    "Registry",
    "ReplayMismatchError",
    "RequestError",
    "RequestRejectedError",
    "ResultTimeoutError",
    "Retention",
    "RetryAfter",
    "RetryPolicy",
    "RewindError",
    "Runtime",
    "ScheduleHandle",
    "ScheduleStatus",
    "Schedules",
    "SchemaVersionError",
    "Status",
    "StorageBusyError",
    "StorageError",
    "StorageFullError",
    "StorageMetrics",
    "StorageUnavailableError",
    "StuckError",
    "SyncClient",
    "Tags",
    "Transaction",
    "Transfer",
    "TurnLimitError",
    "UnansweredError",
    "UnknownDefinitionError",
    "UnknownFormatError",
    "UnknownRequestError",
    "Update",
    "UsageError",
    "Verdict",
    "WorkerStatus",
    "__version__",
    "activity",
    "orchestration",
    "run",
]
