"""For users' tests: orchestrations in memory on test time, stand-in contexts, and round trips of every type."""

from perdure._context import activity_context
from perdure.testing._clock import ManualClock, SeededEntropy
from perdure.testing.environment import Environment
from perdure.testing.roundtrip import assert_round_trip

__all__ = ["Environment", "ManualClock", "SeededEntropy", "activity_context", "assert_round_trip"]
