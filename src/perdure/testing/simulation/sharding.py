"""A simulated world whose store lies on several databases: each process has an engine on each, and a courier.

Beside all that goes wrong elsewhere a shard is away for a while, and couriers stand still. What couriers wait for is
short here, so that it passes while things go wrong.
"""

from __future__ import annotations

from collections import ChainMap
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from perdure import _work as work
from perdure._runtime import courier
from perdure._types import Status
from perdure.errors import UsageError
from perdure.storage.memory import MemoryStorage
from perdure.testing._clock import SeededEntropy
from perdure.testing.simulation.crew import Crew
from perdure.testing.simulation.faults import SHARD_FAULTS, WORLD_FAULTS
from perdure.testing.simulation.host import HostClock
from perdure.testing.simulation.ledger import Violation
from perdure.testing.simulation.operator import Operator
from perdure.testing.simulation.post import ShardChecks
from perdure.testing.simulation.programs import FarAuthor
from perdure.testing.simulation.users import Root
from perdure.testing.simulation.world import HEALED_HOSTS, World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perdure._ports import Clock
    from perdure.testing._dice import Dice
    from perdure.testing.simulation.checks import Checks
    from perdure.testing.simulation.host import Host

SHARDED_EVERY = 20
SHARDED = 12
"""Which of so many seeds have several databases."""

AWAY_US_MAX = 8_000_000
_STALE_US = (50_000, 1_000_000)
_DELIVERY_US = 1_000_000
_FORGET_US = 4_000_000
"""More than a delivery may take, and all by which clocks are set back between three looks."""
_REFUSED_US = 3_000_000


class ShardView:
    """The world as one of its databases has it: everything else is that of the whole."""

    def __init__(self, world: ShardedWorld, shard: work.Shard, first: ShardView | None) -> None:
        self._world = world
        self.shard = shard
        self.clock_off_us = 0
        self.away_until = 0
        entropy = SeededEntropy(world.seed + shard.number)
        self._store = MemoryStorage(HostClock(self), entropy)  # type: ignore[arg-type]  # it is one, as far as it goes
        self.checks: ShardChecks = ShardChecks(
            self._store.rows, shard, lambda: world.timeline.now, None if first is None else first.checks
        )
        self.rows = self._store.rows

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world, name)

    def connect(self, clock: Clock, entropy: SeededEntropy) -> Any:
        """A handle on the database for a process."""
        return self._store.connect(clock, entropy)


class _AllRows:
    """What is stored anywhere."""

    def __init__(self, shards: list[ShardView]) -> None:
        self.instances = ChainMap(*(shard.rows.instances for shard in shards))
        self.by_id = ChainMap(*(shard.rows.by_id for shard in shards))


class _Root(Root):
    """What becomes of children elsewhere when it is replaced or deleted is asked more often here."""

    RESTARTED, DELETED = 25, 15


class ShardedWorld(World):
    """A world on two or three databases."""

    ROOT = _Root
    BACK_US = (200_000,)
    OFF_US = 100_000

    def _open(self) -> Checks:
        count = 2 + self.seed // SHARDED_EVERY % 2
        self.shards: list[ShardView] = []
        for number in range(count):
            shard = work.Shard(number=number, count=count)
            self.shards.append(ShardView(self, shard, self.shards[0] if self.shards else None))
        self._rows = _AllRows(self.shards)
        return self.shards[0].checks

    def _author(self, dice: Dice, targets: int) -> FarAuthor:
        return FarAuthor(dice, targets)

    def _mishaps(self) -> dict[str, int]:
        mishaps = WORLD_FAULTS | SHARD_FAULTS
        # A fork on another shard waits for what is due by the clock of the first: they have to agree.
        return {name: weight for name, weight in mishaps.items() if not (self._has_operator and "store's" in name)}

    @property
    def _has_operator(self) -> bool:
        return self.seed % (3 * SHARDED_EVERY) == SHARDED

    def _hired(self) -> Operator | None:
        # What has children elsewhere is refused.
        return Operator(self, refusals=(UsageError,)) if self._has_operator else None

    def run(self) -> None:
        """Live through both ages, at the pace of couriers that are in a hurry."""
        with _hurried(self.dice.pick(_STALE_US)):
            super().run()

    @property
    def rows(self) -> Any:
        """What is stored on all shards."""
        return self._rows

    # -- processes -------------------------------------------------------------------------------------------------

    def _boot_process(self, name: str, kit: str, serves: work.Serves) -> None:
        crew = Crew(self, name, kit, serves)
        self.hosts += crew.stations
        self.note(name, "boots", kit)
        crew.boot()

    @staticmethod
    def _crew_of(host: Any) -> Crew:
        crew: Crew = host.crew
        return crew

    def died(self, host: Host) -> None:
        """A station is gone; when the last one of its process is, another process is started in its place."""
        self.hosts.remove(host)
        crews = {self._crew_of(each) for each in self.hosts}
        if (
            self._crew_of(host) not in crews
            and self.failure is None
            and (not self.faults.healed or len(crews) < HEALED_HOSTS)
        ):
            self.timeline.after(1_000 + self.dice.below(3_000_000), self._boot)

    # -- what goes wrong -------------------------------------------------------------------------------------------

    def _another_mishap(self, fault: str, host: Host) -> None:
        if fault == "shard away":
            shard = self.dice.pick(self.shards)
            shard.away_until = self.timeline.now + 1 + self.dice.below(AWAY_US_MAX)
        else:
            self._crew_of(host).stand_still()

    def _heal(self, _: Any) -> None:
        for shard in self.shards:
            shard.away_until = 0
        super()._heal(None)

    # -- the end ---------------------------------------------------------------------------------------------------

    def was_replaced(self, incarnation: int, since: int) -> None:
        """Its children elsewhere were told so, too."""
        books = self.shards[0].checks
        for child in books.children_of(incarnation, since) if incarnation in books.post.replaced else ():
            # What its own worker was asked for is in its history, and was never a row.
            if not (child.is_closed or child.cancel_requested or child.incarnation in books.cancels | books.terminates):
                raise Violation(f"{child.instance_id} was not cancelled when the instance above it was replaced")

    def was_deleted(self, incarnation: int, since: int) -> None:
        """Nothing is left of its tree."""
        left = self.shards[0].checks.children_of(incarnation, since)
        if left and incarnation not in self.shards[0].checks.post.replaced:
            raise Violation(f"of a tree that was deleted these are left: {[each.instance_id for each in left]}")

    def _why_not(self, chronicle: Any, change: work.InstanceChange) -> str | None:
        parent = chronicle.parent
        is_orphan = parent is not None and parent.incarnation in self.shards[0].checks.post.replaced
        return None if is_orphan and change.status is Status.CANCELLED else super()._why_not(chronicle, change)

    def has_settled(self) -> bool:
        """Whether nobody waits, and nothing is on its way."""
        return super().has_settled() and not any(shard.rows.outbox for shard in self.shards)

    def judge(self) -> None:
        """What must be so when everything has ended."""
        for shard in self.shards:
            if shard.rows.outbox:
                raise Violation(f"after healing shard {shard.shard.number} has in its outbox: {shard.rows.outbox}")
        super().judge()


@contextmanager
def _hurried(stale_us: int) -> Iterator[None]:
    before = courier.STALE_US, courier.DELIVERY_US_MAX, courier.FORGET_US, courier.REFUSED_US
    courier.STALE_US, courier.DELIVERY_US_MAX = stale_us, _DELIVERY_US
    courier.FORGET_US, courier.REFUSED_US = _FORGET_US, _REFUSED_US
    try:
        yield
    finally:
        courier.STALE_US, courier.DELIVERY_US_MAX, courier.FORGET_US, courier.REFUSED_US = before
