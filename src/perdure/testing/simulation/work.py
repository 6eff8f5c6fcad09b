"""What the activities of a simulated worker are told of the world they are in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.testing.simulation.host import Host
    from perdure.testing.simulation.once import Outside


class Bench:
    """The state of a worker's activities: it hears of every attempt that begins, and leads to the world outside."""

    def __init__(self, began: Callable[[str, int], None], host: Host, outside: Outside) -> None:
        self.began = began
        self.host = host
        self.outside = outside
