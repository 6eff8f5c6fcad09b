"""Orders: users write a row of their own, start an orchestration and send events, in one transaction.

The row is there if and only if what was made with it is. What a user was told happened is so; what was rolled back, ran
out of its time or failed has left nothing, and holds up nobody; of what nobody knows, all or nothing is there.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from perdure.errors import (
    ClientError,
    InstanceClosedError,
    InstanceExistsError,
    InstanceNotFoundError,
    OutcomeUnknownError,
    StorageUnavailableError,
)
from perdure.testing._dice import Dice
from perdure.testing.simulation.ledger import Violation
from perdure.testing.simulation.own import OwnTransaction
from perdure.testing.simulation.programs import MAILBOXES, NAME

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure import Transaction
    from perdure._client import Client
    from perdure.testing.simulation.host import Host
    from perdure.testing.simulation.world import World

AGAIN_US = 400_000
TRIES_MAX = 4
_STRIDE = 0x3C6EF372FE94F82B
_TABLE = "CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY) WITHOUT ROWID"
_CONFLICTS = ("fail", "fail", "use_existing", "restart_if_closed")
_LASTS_S = (0.05, 0.5, 2, 5, 5)
_REFUSALS = (InstanceExistsError, InstanceClosedError, InstanceNotFoundError)
_SPAN_US = 8_000_000


class _ChangedMindError(Exception):
    """The user rolls back."""


_FINAL = (*_REFUSALS, _ChangedMindError)
"""Who is told so does not try again."""


@dataclass
class Try:
    """One transaction. `begun` are incarnations, `sent` events without a key; `is_there` is None if nobody knows."""

    row: str
    begun: list[int] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    is_over: bool = False
    is_there: bool | None = None


class Orders:
    """Those of one world. `written` tells what is in the users' table."""

    def __init__(self, world: World, written: Callable[[], frozenset[str]]) -> None:
        self.world = world
        self.dice = Dice(world.seed + _STRIDE)
        self.tries: list[Try] = []
        self.written = written

    def begin(self) -> None:
        """Announce them."""
        # Where they hold up nobody, more of them meet somebody.
        most = 4 if self.world.own is None else 6
        for number in range(1 + self.dice.below(most)):
            order = _Order(self, number)
            self.world.timeline.at(self.dice.below(_SPAN_US), order.run)

    def are_over(self) -> bool:
        """Whether nobody is about to order something."""
        return all(made.is_over for made in self.tries)

    def check(self, made: Try) -> None:
        """All of it is there, or nothing, and as its user was told.

        Raises:
            Violation: It is not so.
        """
        checks = self.world.checks
        parts = {made.row: made.row in self.written()}
        for incarnation in made.begun:
            known = incarnation in checks.chronicles or incarnation in checks.closed
            parts[f"instance {incarnation}"] = known or incarnation in checks.gone_for_good
        parts |= {text: f'"{text}"' in checks.stored_mail for text in made.sent}
        wanted = {True, False} if made.is_there is None else {made.is_there}
        if len({*parts.values()}) > 1 or not wanted.issuperset(parts.values()):
            raise Violation(f"of the order {made.row} there is {parts}; its user was told {made.is_there}")

    def judge(self) -> None:
        """What must be so in the end.

        Raises:
            Violation: It is not so.
        """
        for made in self.tries:
            self.check(made)
            if not made.is_over:
                raise Violation(f"nobody was told what has become of the order {made.row}")
        if self.world.lent is not None:
            raise Violation("a transaction has the writer for ever")


class _Order:
    """One order, tried by whatever process lives until it is told to be there, or can't be."""

    def __init__(self, orders: Orders, number: int) -> None:
        dice = orders.dice
        self._orders = orders
        self._world = orders.world
        self._number = number
        self._tries = 0
        self._id = dice.pick((f"order-{number}", f"order-{number}", None, f"own-{dice.below(4)}", "root-1"))
        self._program = dice.pick(orders.world.roots).program
        self._starts = dice.chance(80)
        self._sends = not self._starts or dice.chance(50)
        self._on_conflict: Any = dice.pick(_CONFLICTS)
        if orders.world.own is not None:
            self._starts, self._on_conflict = True, "fail"
            # Others want it, too.
            self._id = dice.pick((self._id, f"own-{dice.below(4)}", f"root-{dice.below(3)}"))
        self._lasts_s = dice.pick(_LASTS_S)
        self._has_key = dice.chance(50)
        self._goes_on = dice.chance(50)
        self._rolls_back = dice.chance(20)
        self._pauses_us = (1_000, 50_000, 1_000_000) if orders.world.own is None else (50_000, 1_000_000, 8_000_000)

    def run(self, _: Any = None) -> None:
        """Try, now or as soon as a process lives."""
        host = self._world.some_host()
        if host is None:
            self._world.timeline.after(AGAIN_US, self.run)
            return
        self._tries += 1
        made = Try(f"order-{self._number}/{self._tries}")
        self._orders.tries.append(made)
        self._world.note(host.name, "is asked to take", made.row, self._id or "")
        task: asyncio.Task[None] = host.loop.call(lambda: host.loop.create_task(self._transact(host, made)))
        # It is told of one that was cancelled before it began, too.
        task.add_done_callback(partial(self._over, made))

    async def _transact(self, host: Host, made: Try) -> None:
        client = host.client_for_tasks()
        own: Any = self._world.own
        opened = client.transaction(timeout=self._lasts_s) if own is None else OwnTransaction(host, own)
        async with opened as tx:
            tx.execute(_TABLE)
            tx.execute("INSERT INTO orders VALUES (?)", (made.row,))
            await self._think()
            try:
                await self._fill(client, tx, made)
            except _REFUSALS:
                if not self._goes_on:
                    raise
            await self._think()
            if self._rolls_back:
                raise _ChangedMindError

    async def _fill(self, client: Client, tx: Transaction | OwnTransaction, made: Try) -> None:
        checks = self._world.checks
        receiver: Any = None
        if self._starts:
            is_new = self._on_conflict != "use_existing" or self._id not in checks.by_id
            receiver = await client.start_orchestration(
                NAME, self._program, [], instance_id=self._id, on_conflict=self._on_conflict, connection=tx
            )
            if is_new:
                made.begun.append(receiver._receiver.incarnation)  # noqa: SLF001 - by which the books know it
            await self._think()
        if self._sends:
            text = f"{made.row}#{'k' if self._has_key else 'e'}"
            key = f"order-{self._number}" if self._has_key else None
            if receiver is None:
                receiver = client.get_handle(f"root-{self._orders.dice.below(len(self._world.roots))}")
            await receiver.raise_event(self._orders.dice.pick(MAILBOXES), text, dedup_key=key, connection=tx)
            if key is None:
                made.sent.append(text)

    async def _think(self) -> None:
        dice = self._orders.dice
        if dice.chance(70):
            await asyncio.sleep(dice.below(dice.pick(self._pauses_us)) / 1e6)

    def _over(self, made: Try, task: asyncio.Task[None]) -> None:
        world = self._world
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        world.note("user", made.row, "done" if error is None else type(error).__name__)
        made.is_over = True
        if error is None:
            made.is_there = True
        elif isinstance(error, (*_FINAL, TimeoutError, StorageUnavailableError)):
            made.is_there = False
        elif not isinstance(error, OutcomeUnknownError | ClientError | asyncio.CancelledError):
            world.fail(Violation(f"the order {made.row} ended with {error!r}"))
        try:
            self._orders.check(made)
        except Violation as violation:
            world.fail(violation)
        if error is not None and not isinstance(error, _FINAL) and self._tries < TRIES_MAX:
            world.timeline.after(AGAIN_US, self.run)
