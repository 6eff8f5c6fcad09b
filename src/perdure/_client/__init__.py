"""The client: starting, steering and reading instances. It knows no worker."""

from perdure._client.client import Client, EngineClient, Page
from perdure._client.handle import InstanceStatus, OrchestrationHandle
from perdure._client.history import Event

__all__ = ["Client", "EngineClient", "Event", "InstanceStatus", "OrchestrationHandle", "Page"]
