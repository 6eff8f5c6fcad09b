"""A simulated world: one store, some processes, users, and a time that jumps. The seed decides everything in it.

It has two ages. At first all kinds of things go wrong; then the world heals, and everything that can finish must.
"""

from __future__ import annotations

import gc
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from perdure import _work as work
from perdure._core.stage import Stage
from perdure._runtime.hands import POLL_FAST_US
from perdure._schedules import program as schedules
from perdure._types import Status
from perdure.errors import _record
from perdure.storage.memory import MemoryStorage
from perdure.testing._clock import SeededEntropy
from perdure.testing._dice import Dice
from perdure.testing.simulation.booking import Bookings
from perdure.testing.simulation.checks import Checks
from perdure.testing.simulation.faults import WORLD_FAULTS, Faults
from perdure.testing.simulation.host import Host, HostClock
from perdure.testing.simulation.ledger import Violation
from perdure.testing.simulation.once import AGAIN_US, Outside
from perdure.testing.simulation.operator import OPERATED, RETENTION, Operator
from perdure.testing.simulation.orders import Orders
from perdure.testing.simulation.own import OWN, OwnTransactions
from perdure.testing.simulation.programs import MAILBOXES, TAG, Author
from perdure.testing.simulation.reference import Verdict, program_may_fail
from perdure.testing.simulation.schedules import MORE, PLANNED, Planner, store_us
from perdure.testing.simulation.timeline import Timeline
from perdure.testing.simulation.twins import SQLITE_EVERY, Twins
from perdure.testing.simulation.users import Root

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator

    from perdure._ports import Clock
    from perdure.storage.memory.rows import Tables
    from perdure.testing.simulation.lent import SimulatedLent

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
STEPS_MAX = 60_000
SETTLE_US_MAX = 2 * HOUR_US
NUDGE_US = 5_000_000
REST_US = 8_000_000
"""How long a world goes on after the last instance has ended: what still runs then runs for ever."""
HEALED_HOSTS = 2
"""Processes of a world that has healed: with more of them, more would look in vain for what another does."""
ANSWER_US = 4_000_000
"""How long a client of a world at rest may wait for its answer."""
LOOK_US = 100_000
"""Within this time a process finds out that another has written."""
LOOK_HEALED_US = 500_000
"""The same in a world that has healed, where it is time to get done."""
_NESTED_MAX = 12
EVENTS_OF_SCHEDULES = 40
"""So soon does a schedule continue as new: within a world that lives for a minute."""
_SERVES = (
    work.Serves(tags=(TAG,), session_idle_us=2_000_000),
    work.Serves(sessions=1),
    work.Serves(others=True, sessions=0),
    work.Serves(untagged=False, tags=(TAG,), sessions=2, session_idle_us=5_000_000),
)
"""Which activities workers take: one that is to be able to do everything, the first."""


class World:
    """Everything that one seed decides.

    Args:
        seed: Repeats the world.
        allowed: The classes of faults that may happen; all by default.
        roots: Which of the programs are started; all by default.
        timeline: The time of several worlds; one of its own by default.
    """

    ROOT = Root
    books: ClassVar[type[Checks]] = Checks
    BACK_US: tuple[int, ...] = (1_000_000, 20_000_000)
    """How far a store's clock may be set back."""
    OFF_US = 10_000_000
    """How far a worker's clock may be from the others."""

    def __init__(
        self,
        seed: int,
        *,
        allowed: frozenset[str] | None = None,
        roots: frozenset[int] | None = None,
        timeline: Timeline | None = None,
    ) -> None:
        self.seed = seed
        self.dice = Dice(seed)
        self.timeline = Timeline() if timeline is None else timeline
        self.clock_off_us = 0
        self.trace: list[tuple[Any, ...]] = []
        self.failure: BaseException | None = None
        self.faults = Faults(Dice(self.dice.below(1 << 60)), allowed, self._mishaps())
        self._twins: Twins | None = None
        self.checks = self._open()
        self.outside = Outside(self)
        self._nested = 0
        self.hosts: list[Host] = []
        self._booted = 0
        self._given = 0
        self._runs: dict[str, int] = {}
        self.bookings = Bookings(self)
        author_dice = Dice(self.dice.below(1 << 60))
        count = 2 + author_dice.below(4)
        self.roots = [self.ROOT(self, number, self._author(author_dice, count).program()) for number in range(count)]
        self._operator = self._hired()
        self.planner = Planner(self) if seed % 10 == PLANNED else None
        self.lends = self._twins is not None
        """Whether the store lends transactions."""
        self.own = OwnTransactions(self) if seed % 10 == OWN else None
        self.orders = self._order_books()
        self.lent: SimulatedLent | None = None
        """The transaction that has the store's one writer, if it is lent."""
        self.healed_us = 0
        """When it healed, by the store's time."""
        self.retention = None if self._operator is None else RETENTION
        self._wanted = self.roots if roots is None else [self.roots[number] for number in sorted(roots)]
        self.heal_at = self.dice.pick((4_000_000, 10_000_000, 30_000_000))

    def _open(self) -> Checks:
        """Make the store; the books on it."""
        clock, entropy = HostClock(self), SeededEntropy(self.seed)
        self._twins = None if self.seed % SQLITE_EVERY else Twins(clock, entropy)
        self._store = self._twins or MemoryStorage(clock, entropy)
        return self.books(self._store.rows)

    def _author(self, dice: Dice, targets: int) -> Author:
        """Who writes the programs."""
        return Author(dice, targets, **(MORE if self.seed % 10 == PLANNED else {}))

    def _mishaps(self) -> dict[str, int]:
        """What happens to a worker or to all, and how likely each is."""
        return WORLD_FAULTS

    def _order_books(self) -> Orders | None:
        """Who borrows transactions, where the store lends any, or has some of his own."""
        source = self.own if self._twins is None else self._twins
        return None if source is None else Orders(self, source.written)

    def _hired(self) -> Operator | None:
        """Who repairs, if anybody does."""
        return Operator(self) if self.seed % 10 == OPERATED else None

    # -- the run ---------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Live through both ages. `failure` is what went wrong, None if all is well."""
        # In an outer stage those of the engines have less to prepare, each time.
        with quiet(), Stage():
            try:
                self.begin()
                while self.failure is None and self.timeline.now < self.heal_at + SETTLE_US_MAX:
                    self._live(self.heal_at + SETTLE_US_MAX)
                    ended = len(self.checks.endings)
                    self.go_on(REST_US, lambda: False)
                    # Whoever waits for what has just ended hears of it within the same rest.
                    if not self.checks.chronicles and len(self.checks.endings) == ended and self._nobody_orders():
                        break
                if self.failure is None:
                    self.judge()
            except Violation as violation:
                self.fail(violation)
            finally:
                self.end()

    def begin(self) -> None:
        """Boot the first processes, and announce what users do and what goes wrong."""
        for _ in range(1 + self.dice.below(3)):
            self._boot(None)
        for root in self._wanted:
            root.plan()
        self.timeline.after(self.dice.below(self.faults.pace_us), self._something_goes_wrong)
        self.timeline.at(self.heal_at, self._heal)
        self.timeline.after(AGAIN_US, self.outside.look)
        if self._operator is not None:
            self._operator.act()
        if self.planner is not None:
            self.planner.begin()
        if self.orders is not None:
            self.orders.begin()

    def _live(self, until: int) -> None:
        timeline, faults, chronicles = self.timeline, self.faults, self.checks.chronicles
        while self.failure is None:
            # Asked at every step, of which few are so late.
            if faults.healed and not chronicles and self.has_settled():
                return
            if not timeline.step(until):
                return
            self.lose_patience()

    def lose_patience(self) -> None:
        """Fail if so much has happened that it never comes to rest."""
        if self.timeline.steps > STEPS_MAX:
            self.fail(Violation(f"the world did not come to rest within {STEPS_MAX:,} steps"))

    def go_on(self, us: int, until: Callable[[], bool]) -> None:
        """Let the world go on for so long, or until something is so; for a process that waits in its own call."""
        timeline = self.timeline
        end = timeline.now + us
        self._nested += 1
        try:
            while self.failure is None and timeline.now < end and not until():
                if self._nested > _NESTED_MAX:
                    timeline.now = end
                else:
                    timeline.step(end)
                    self.lose_patience()
        finally:
            self._nested -= 1

    def end(self) -> None:
        """Let go of everything."""
        for host in list(self.hosts):
            host.kill()
        self.checks.drop_all()
        if self._twins is not None:
            self._twins.close()

    # -- processes -------------------------------------------------------------------------------------------------

    @property
    def happened(self) -> Counter[str]:
        """The faults that have happened, by their names."""
        return self.faults.happened

    @property
    def rows(self) -> Tables:
        """What is stored."""
        return self._store.rows

    def connect(self, clock: Clock, entropy: SeededEntropy) -> Any:
        """A handle on the store for a process."""
        return self._store.connect(clock, entropy)

    def _boot(self, _: Any) -> None:
        self._booted += 1
        first = self._booted == 1
        able = first or self.faults.healed
        kit = "all" if able else self.dice.pick(("all", "all", "old", "new", "code", "work"))
        serves = _SERVES[0 if able else self._booted % len(_SERVES)]
        self._boot_process(f"w{self._booted}", kit, serves)

    def _boot_process(self, name: str, kit: str, serves: work.Serves) -> None:
        host = Host(self, name, kit, serves)
        self.hosts.append(host)
        self.note(host.name, "boots", kit)
        host.boot()

    def died(self, host: Host) -> None:
        """A process is gone; another is started in its place, unless it was asked to leave a world that has healed."""
        self.hosts.remove(host)
        if self.failure is None and (not self.faults.healed or len(self.hosts) < HEALED_HOSTS):
            self.timeline.after(1_000 + self.dice.below(3_000_000), self._boot)

    def some_host(self) -> Host | None:
        """A process that a user can turn to."""
        hosts = [host for host in self.hosts if host.has_booted and not host.engine.leaving]
        return self.dice.pick(hosts) if hosts else None

    def others_see_change(self, author: Host) -> None:
        """Somebody has written: the others find out when they look next, which a fault may put off."""
        within = LOOK_HEALED_US if self.faults.healed else LOOK_US
        for host in self.hosts:
            if host is not author and host.has_booted and host.world is author.world:
                fault = self.faults.of_wake_up()
                if fault == "wake-up lost":
                    continue
                late = 2_000_000 if fault == "wake-up late" else POLL_FAST_US
                host.look_at(self.timeline.now + late + self.dice.below(within))

    def committed(self, host: Host, batch: work.Batch, answer: work.Committed) -> None:
        """A batch was applied and is as it should be."""
        taken = answer.work
        has_taken = taken is not None and bool(taken.instances or taken.tasks)
        if not batch.items and not has_taken:
            # An idle process has looked for work in vain: no news.
            return
        if self.planner is not None:
            self.planner.committed(batch, answer)
            self.bookings.committed(batch, answer)
        outcomes = list(zip(batch.items, answer.outcomes, strict=True))
        applied = [type(item).__name__ for item, outcome in outcomes if isinstance(outcome, work.Applied)]
        refused = [outcome.reason.value for outcome in answer.outcomes if isinstance(outcome, work.Refused)]
        claimed = () if taken is None else (len(taken.instances), len(taken.tasks))
        self.note(host.name, "commits", applied, refused, claimed)
        if applied or has_taken:
            host.has_worked = True
            self.others_see_change(host)

    def was_replaced(self, incarnation: int, since: int) -> None:
        """Somebody who has asked since then for an instance to be replaced was told that it is."""

    def was_deleted(self, incarnation: int, since: int) -> None:
        """The same of a delete."""

    def began(self, host: Host, key: str, attempt: int) -> None:
        """An activity begins."""
        self.note(host.name, "runs", key, attempt)
        self._runs[key] = self._runs.get(key, 0) + 1

    # -- what goes wrong -------------------------------------------------------------------------------------------

    def _something_goes_wrong(self, _: Any) -> None:
        if self.faults.healed:
            return
        self.timeline.after(self.dice.below(2 * self.faults.pace_us), self._something_goes_wrong)
        fault = self.faults.of_world()
        host = self.dice.pick(self.hosts) if self.hosts else None
        if fault is None or host is None:
            return
        self.note("world", fault, host.name)
        match fault:
            case "killed":
                host.kill()
            case "paused":
                host.pause()
            case "shut down":
                host.leave()
            case "store's clock forward":
                host.world.clock_off_us += self.dice.below(self.dice.pick((1_000_000, 60_000_000, HOUR_US, DAY_US)))
            case "store's clock back":
                host.world.clock_off_us -= self.dice.below(self.dice.pick(self.BACK_US))
            case "worker's clock moved":
                host.clock.off_us = self.dice.below(2 * self.OFF_US) - self.OFF_US
            case _:
                self._another_mishap(fault, host)

    def _another_mishap(self, fault: str, host: Host) -> None:
        """What only happens in worlds of a kind."""
        raise NotImplementedError(f"{fault} of {host.name}")

    def _heal(self, _: Any) -> None:
        self.note("world", "heals")
        self.faults.heal()
        self.healed_us = store_us(self)
        stays = next((host for host in self.hosts if host.kit == "all" and host.serves is _SERVES[0]), None)
        for host in list(self.hosts):
            if stays is not None and host.is_one_with(stays):
                continue
            if host.has_booted:
                host.leave()
            else:
                # It would come into the healed world with its own idea of what to serve, and of the time.
                host.kill()
        # What was held for want of code goes on with a worker that comes later.
        self._boot(None)
        self.timeline.after(NUDGE_US, self._nudge)

    def _nudge(self, _: Any) -> None:
        """Users send what is still waited for."""
        for chronicle in list(self.checks.chronicles.values()):
            # What a schedule waits for is nobody's gift.
            for name in sorted({*chronicle.waits.values()}.intersection(MAILBOXES)):
                self._give(chronicle.instance_id, name)
        if self._operator is not None:
            self._operator.tidy()
        if self.planner is not None:
            self.planner.tidy()
        if any(row.record.status is Status.HELD for row in self.rows.instances.values()):
            # Only a worker that starts after the hold, by the store's time, takes up what was held.
            self._boot(None)
        self.timeline.after(NUDGE_US, self._nudge)

    def _give(self, instance_id: str, mailbox: str) -> None:
        host = self.some_host()
        if host is not None:
            data = self._gift()
            host.gateway.open(
                lambda: host.client.raise_event(instance_id, mailbox, data, dedup_key=data), lambda *_: None
            )

    def _gift(self) -> str:
        self._given += 1
        return f"gift#{self._given}"

    def has_settled(self) -> bool:
        """Whether nobody waits in a call of its own, stands still, or is about to order something."""
        return (
            self._nobody_orders()
            and not self._nested
            and all(host.paused_until <= self.timeline.now for host in self.hosts)
        )

    def _nobody_orders(self) -> bool:
        return self.orders is None or self.orders.are_over()

    # -- the end ---------------------------------------------------------------------------------------------------

    def judge(self) -> None:
        """What must be so when everything has ended."""
        checks = self.checks
        if checks.chronicles:
            rows = self.rows.instances
            stuck = [
                f"{each.instance_id} ({rows[each.incarnation].record.status})" for each in checks.chronicles.values()
            ]
            raise Violation(f"after healing these did not end: {', '.join(stuck)}")
        self._check_answers()
        if self.orders is not None:
            self.orders.judge()
        for host in self.hosts:
            # An orchestration may have ended without an activity that runs elsewhere, which is not told of it.
            if host.has_booted and host.engine.capacity.busy != host.activities.under_way:
                counted, there = host.engine.capacity.busy, host.activities.under_way
                raise Violation(f"{host.name} counts {counted} activities, and {there} are under way")
        for incarnation, chronicle in checks.closed.items():
            if incarnation in checks.away:
                continue
            change = checks.endings[incarnation]
            why = self._why_not(chronicle, change)
            if why is not None:
                raise Violation(f"{chronicle.instance_id} ended {change.status} and can't have: {why}")

    def _check_answers(self) -> None:
        for host in self.hosts:
            # A client that has just asked, or asks again and again, has its answer on the way.
            unanswered = host.gateway.unanswered(since=self.timeline.now - ANSWER_US)
            if unanswered:
                raise Violation(f"{host.name} has left {unanswered} clients without an answer")

    def _why_not(self, chronicle: Any, change: work.InstanceChange) -> str | None:
        incarnation = chronicle.incarnation
        if self.planner is not None and self.planner.may_have_ended(chronicle, change.status):
            return None
        if chronicle.first_input is None and change.status in (Status.COMPLETED, Status.FAILED):
            # It was forked in a later execution of one that is no more.
            return None
        asked = {root.instance_id for root in self.roots if root.is_cancelled}
        cancelled = incarnation in self.checks.cancels or chronicle.instance_id in asked
        match change.status:
            case Status.COMPLETED:
                parts, _ = self.decode(chronicle.first_input)
                return Verdict().result(parts, self.unsealed(change.output))
            case Status.FAILED:
                parts, _ = self.decode(chronicle.first_input)
                name = chronicle.ended.error.type.rpartition(".")[2]
                return None if name in program_may_fail(parts) else f"nothing in it raises {name}"
            case Status.CANCELLED:
                return None if cancelled else "nobody asked for that"
            case Status.TERMINATED:
                return None if incarnation in self.checks.terminates else "nobody asked for that"
            case _:
                return "that is no ending"

    @staticmethod
    def decode(data: Any) -> Any:
        """A payload as data."""
        return None if data is None else msgspec.json.decode(bytes(data))

    @staticmethod
    def unsealed(stored: bytes | None) -> Any:
        """A stored payload as data."""
        return None if stored is None else msgspec.json.decode(work.unsealed(stored, "a payload"))

    def fail(self, error: BaseException) -> None:
        """Something is not as it should be; the first finding counts."""
        if self.failure is None:
            self.failure = error
            self.note("world", "FAILS", f"{type(error).__name__}: {error}")

    def note(self, who: str, *what: Any) -> None:
        """Write into the trace."""
        self.trace.append((self.timeline.now, who, *what))


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing of a seed is logged or collected while it runs, and no traceback is kept, as nobody reads them."""
    logger = logging.getLogger("perdure")
    level, was_enabled = logger.level, gc.isenabled()
    logger.setLevel(logging.CRITICAL + 1)
    frames, _record.TRACEBACK_FRAMES_MAX = _record.TRACEBACK_FRAMES_MAX, 0
    events, schedules.EVENTS_PER_EXECUTION = schedules.EVENTS_PER_EXECUTION, EVENTS_OF_SCHEDULES
    gc.disable()
    try:
        yield
    finally:
        _record.TRACEBACK_FRAMES_MAX = frames
        schedules.EVENTS_PER_EXECUTION = events
        logger.setLevel(level)
        if was_enabled:
            gc.enable()
