"""For users' tests: orchestrations in memory on test time, stand-in contexts, and round trips of every type."""

from perdure._context import activity_context
from perdure.testing._clock import ManualClock, SeededEntropy
from perdure.testing.environment import Environment

__all__ = ["Environment", "ManualClock", "SeededEntropy", "activity_context"]
