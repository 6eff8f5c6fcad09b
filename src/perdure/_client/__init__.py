"""The client: starting, steering and reading instances. It knows no worker."""

from perdure._client.client import Client, EngineClient
from perdure._client.handle import InstanceStatus, OrchestrationHandle, Page
from perdure._client.history import Event
from perdure._client.workers import WorkerStatus

__all__ = ["Client", "EngineClient", "Event", "InstanceStatus", "OrchestrationHandle", "Page", "WorkerStatus"]
