"""The client: starting, steering and reading instances. It knows no worker."""

from perdure._client.client import Client, EngineClient
from perdure._client.figures import (
    ActivityQueue,
    Deletion,
    ExecutionStatus,
    HeldActivity,
    InstanceCount,
    InstanceTree,
    LimitStatus,
    LimitUser,
    QueueDepths,
)
from perdure._client.filters import InstanceFilter
from perdure._client.handle import InstanceStatus, OrchestrationHandle, Page
from perdure._client.history import Event
from perdure._client.moving import Transfer
from perdure._client.tags import Tags
from perdure._client.workers import WorkerStatus

__all__ = [
    "ActivityQueue",
    "Client",
    "Deletion",
    "EngineClient",
    "Event",
    "ExecutionStatus",
    "HeldActivity",
    "InstanceCount",
    "InstanceFilter",
    "InstanceStatus",
    "InstanceTree",
    "LimitStatus",
    "LimitUser",
    "OrchestrationHandle",
    "Page",
    "QueueDepths",
    "Tags",
    "Transfer",
    "WorkerStatus",
]
