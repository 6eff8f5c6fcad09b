"""The client: starting, steering and reading instances. It knows no worker."""

from perdure._client.client import Client, EngineClient
from perdure._client.filters import InstanceFilter
from perdure._client.handle import InstanceStatus, OrchestrationHandle, Page

__all__ = [
    "Client",
    "EngineClient",
    "InstanceFilter",
    "InstanceStatus",
    "OrchestrationHandle",
    "Page",
]
