"""Activities of a simulated world that end in a transaction of their own, or because somebody gives them up.

What a transactional one has written and its outcome are one commit: what is in the table has succeeded, and nothing is
there twice. What is given up has failed, and is never called again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from perdure import _events as ev
from perdure import _work as work
from perdure._types import idempotency_key
from perdure.errors import OutcomeUnknownError, StorageUnavailableError
from perdure.testing._dice import Dice
from perdure.testing.simulation.ledger import Violation
from perdure.testing.simulation.work import BOOKED

if TYPE_CHECKING:
    from perdure.testing.simulation.host import Host
    from perdure.testing.simulation.world import World

_STRIDE = 0x6A09E667F3BCC909
_POISONED = "PoisonedError"
_OF_THE_STORE = ("OutcomeUnknownError", "StorageUnavailableError")
_FAULTS = {"": 55, "lost": 25, "applied": 20}


class Bookings:
    """The table of one world, and what histories say of the activities that write into it."""

    def __init__(self, world: World) -> None:
        self._checks = world.checks
        self.dice = Dice(world.seed + _STRIDE)
        self.rows: set[str] = set()
        self._asked: set[str] = set()
        self._ended: dict[str, str] = {}
        self._given_up: set[str] = set()

    def write(self, keys: list[str]) -> None:
        """A transaction is committed."""
        for key in keys:
            if key in self.rows:
                raise Violation(f"{key} was booked twice")
            self.rows.add(key)

    def committed(self, batch: work.Batch, answer: work.Committed) -> None:
        """A batch was applied."""
        for item, outcome in zip(batch.items, answer.outcomes, strict=True):
            if isinstance(item, work.Turn) and isinstance(outcome, work.Applied) and item.history is not None:
                for event in ev.decode_events(item.history.data):
                    self._told(item, event)

    def _told(self, turn: work.Turn, event: Any) -> None:
        if isinstance(event, ev.ActivityScheduled):
            if event.name == BOOKED:
                self._asked.add(idempotency_key(turn.incarnation, turn.execution, event.id))
        elif isinstance(event, ev.ActivityCompleted | ev.ActivityFailed):
            key = idempotency_key(turn.incarnation, turn.execution, event.source)
            how = "well" if isinstance(event, ev.ActivityCompleted) else event.error.type
            self._ended[key] = how
            if key in self._asked and (key in self.rows) != (how == "well"):
                raise Violation(f"{key} has ended: {how}; {'it has' if key in self.rows else 'nothing was'} written")
            if key in self._asked and how.endswith(_OF_THE_STORE):
                raise Violation(f"{key} has failed, as the store could not be reached: {how}")
            if key in self._given_up:
                self.give_up(key)

    def give_up(self, key: str) -> None:
        """Somebody was told that a held activity is given up."""
        self._given_up.add(key)
        how = self._ended.get(key, _POISONED)
        if not how.endswith(_POISONED):
            raise Violation(f"{key} was given up, and has ended: {how}")

    def is_given_up(self, key: str) -> bool:
        """Whether somebody was told so."""
        return key in self._given_up


class SimulatedLoan:
    """A `Loan` of a simulated process; what the store is asked is asked beside its event loop."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._bookings = host.world.bookings
        self._keys: list[str] = []
        self._breaks = self._bookings.dice.chance(20) and not host.world.faults.healed
        self.is_lost = False
        self.connection = self

    def book(self, key: str) -> None:
        """Write into the table: what an activity calls."""
        if self._breaks:
            self.is_lost = True
            raise StorageUnavailableError("simulated: the connection broke")
        self._keys.append(key)

    async def open(self) -> None:
        """Make the connection ready."""
        await asyncio.sleep(self._bookings.dice.below(2_000) / 1e6)
        if self._bookings.dice.chance(20) and not self._host.world.faults.healed:
            raise StorageUnavailableError("simulated: no connection can be had")

    def guarded(self, function: Any) -> Any:
        """The same function: there are no threads."""
        return function

    async def land(self, done: work.TaskDone, worker: int) -> work.Outcome:
        """Commit, together with the end of the task."""
        fault = self._bookings.dice.weighted(_FAULTS) if not self._host.world.faults.healed else ""
        if fault == "lost":
            raise OutcomeUnknownError("simulated: the connection broke before the store had heard of the commit")
        outcome = await self._host.gateway.read(self._host.port.land, done, worker, self._keys)
        if fault == "applied":
            raise OutcomeUnknownError("simulated: the connection broke behind the commit")
        return outcome

    async def drop(self) -> None:
        """Let nothing have happened."""
        self._keys = []
