"""What looks after the turns of a test: their time limit, and on an older Python what they call."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

from perdure._ports import SystemClock
from perdure._runtime.lifespans import FIRST_WATCHED, guard_orchestrations
from perdure._runtime.watchdog import TICK_S, TurnWatch

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from perdure._registry import Registry
    from perdure._runtime.guard import Profiler


class OwnTurns(TurnWatch):
    """Watches turns that run on the test's own thread, in real time."""

    _profiler: Profiler | None = None

    def __init__(self, limit_us: int | None) -> None:
        super().__init__(SystemClock(), limit_us)

    def watch(self, registry: Registry, exits: AsyncExitStack) -> None:
        """Begin, until `exits` are taken."""
        stopped = threading.Event()

        def look() -> None:
            while not stopped.wait(TICK_S):
                self.check()

        thread = threading.Thread(target=look, name="perdure-environment-watch", daemon=True)
        thread.start()
        exits.callback(thread.join)
        exits.callback(stopped.set)
        guard_orchestrations(registry, exits)
        if sys.hexversion < FIRST_WATCHED:
            from perdure._runtime.guard import Profiler  # noqa: PLC0415 - of no use to a newer Python

            versions = registry.orchestrations.values()
            self._profiler = Profiler(each for by_version in versions for each in by_version.values())

    def begin(self, instance_id: str) -> None:
        """A turn of this instance begins."""
        super().begin(instance_id)
        if self._profiler is not None:
            self._profiler.begin()

    def end(self) -> bool:
        """The turn has come back."""
        if self._profiler is not None:
            self._profiler.end()
        return super().end()
