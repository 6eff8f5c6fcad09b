"""Transactions that a simulated SQLite store lends: the production ones, on the file of the world.

They hold the file's one writer while the world goes on, and by its clock. What is in them reaches the reference when
they commit, as of the moments at which they were asked for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure import _work as work
from perdure.storage.sqlite.lending import LentTransaction

if TYPE_CHECKING:
    from perdure.testing.simulation.host import Host
    from perdure.testing.simulation.twins import Twin

_NEVER_US = 86_400_000_000
"""The time of this machine takes nothing back."""


class SimulatedLent(LentTransaction):
    """One of them, of one process. `joined` is what was made part of it, and when."""

    def __init__(self, host: Host, twin: Twin, limit_us: int) -> None:
        super().__init__(twin.lending, _NEVER_US)
        self._host = host
        self._twin = twin
        self._lasts_us = limit_us
        self.joined: list[tuple[int, work.ClientItem, work.Outcome]] = []

    def apply(self, item: work.Item, worker: int | None = None) -> work.Outcome:
        """Make an item part of it."""
        now = self._twin.now()
        outcome = super().apply(item, worker)
        assert isinstance(item, work.ClientItem)  # noqa: S101 - what ends an activity is lent otherwise here
        self.joined.append((now, item, outcome))
        return outcome

    def _begin(self) -> None:
        begun = super()._begin

        def begin() -> None:
            begun()
            # Its time begins with it, however late the answer is.
            self._host.world.timeline.after(self._lasts_us, self._time_is_up)

        self._host.port.begin_lent(self, begin)

    def _time_is_up(self, _: None) -> None:
        if self._host.world.timeline.now < self._host.paused_until:
            # The thread that looks at the time stands still, too.
            self._host.world.timeline.at(self._host.paused_until, self._time_is_up)
        elif self.is_open and self._host.alive:
            self._host.world.note(self._host.name, "takes back what it has lent")
            self._take_back()

    def _pass_on(self, guarded: Any) -> None:
        super()._pass_on(guarded)
        if self._host.world.lent is self:
            self._host.world.lent = None

    def commit(self) -> None:
        """Make it durable."""
        self._host.port.end_lent(self, super().commit)

    def is_of(self, host: Host) -> bool:
        """Whether this process has it."""
        return self._host is host

    def arrive(self) -> work.Committed:
        """It is committed: the reference takes it over."""
        return self._twin.take_over(self.joined)
