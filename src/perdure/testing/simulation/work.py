"""What the activities of a simulated worker are told of the world they are in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure import NonRetryableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.testing.simulation.host import Host
    from perdure.testing.simulation.once import Outside


BOOKED = "simulated-booked"
"""The activity that writes into a table of the store."""


class SimulatedError(Exception):
    """What a simulated activity fails with when another attempt may help."""


class SimulatedEndError(NonRetryableError):
    """What it fails with for good, and what a program raises."""


class Bench:
    """The state of a worker's activities: it hears of every attempt that begins, and leads to the world outside."""

    def __init__(self, began: Callable[[str, int], None], host: Host, outside: Outside) -> None:
        self.began = began
        self.host = host
        self.outside = outside
