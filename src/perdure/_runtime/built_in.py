"""What every worker can run beside its registry: a look at another instance, and the keeping of schedules."""

from perdure._definitions import read_value
from perdure._registry import Registry
from perdure._schedules.program import look, schedule, wait_for_end


def with_built_ins(registry: Registry) -> Registry:
    """The registry with the built-in definitions."""
    return Registry(registry, read_value, look, wait_for_end, schedule)
