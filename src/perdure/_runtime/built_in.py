"""What every worker can run beside its registry: the orchestration that keeps schedules."""

from perdure._registry import Registry
from perdure._schedules.program import look, schedule, wait_for_end


def with_built_ins(registry: Registry) -> Registry:
    """The registry with the built-in definitions."""
    return Registry(registry, look, wait_for_end, schedule)
