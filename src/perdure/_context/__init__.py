"""What orchestrations and activities are handed: the two contexts, durable futures, and typed external events.

Users annotate with these classes and type checkers read them.
"""

from perdure._context.activity import (
    ActivityContext,
    ActivityServices,
    Progress,
    activity_context,
    current_activity_context,
    running_activity_context,
)
from perdure._context.asking import Query, Update
from perdure._context.futures import ChildFuture, DurableFuture, ExternalEvent, event_name
from perdure._context.limits import Limit
from perdure._context.maps import MapPolicy, MapResult
from perdure._context.orchestration import OrchestrationContext
from perdure._context.state import Key, KeyValueStore
from perdure._context.trace import ContextLogger
from perdure._context.transaction import Transaction
from perdure._context.verdicts import CannotTell, Decision, DidNotHappen, Failed, Happened, Verdict

__all__ = [
    "ActivityContext",
    "ActivityServices",
    "CannotTell",
    "ChildFuture",
    "ContextLogger",
    "Decision",
    "DidNotHappen",
    "DurableFuture",
    "ExternalEvent",
    "Failed",
    "Happened",
    "Key",
    "KeyValueStore",
    "Limit",
    "MapPolicy",
    "MapResult",
    "OrchestrationContext",
    "Progress",
    "Query",
    "Transaction",
    "Update",
    "Verdict",
    "activity_context",
    "current_activity_context",
    "event_name",
    "running_activity_context",
]
