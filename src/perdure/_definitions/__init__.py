"""Activities and orchestrations as definitions: the decorators, what they read off a function, and direct calls.

A definition is the durable name of a function with the types of its inputs and result. What is wrong with a function's
shape is said at its decorator; its annotations are evaluated later, when it is registered or first used, so that they
may name what is defined further down in the module, and so that importing definitions stays cheap.
"""

from perdure._definitions.builtin import WHILE_STORE_IS_AWAY, read_value
from perdure._definitions.decorators import activity, orchestration
from perdure._definitions.definition import Activity, Orchestration
from perdure._definitions.naming import version_key

__all__ = [
    "WHILE_STORE_IS_AWAY",
    "Activity",
    "Orchestration",
    "activity",
    "orchestration",
    "read_value",
    "version_key",
]
