"""What the activities of a simulated worker are told of the world they are in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Bench:
    """The state of a worker's activities: it hears of every attempt that begins."""

    def __init__(self, began: Callable[[str, int], None]) -> None:
        self.began = began
