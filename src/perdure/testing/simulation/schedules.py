"""The schedules of some simulated worlds, who steers them, and what has to hold of what they start.

The slots are worked out here a second time, by plain division, and so is which runs are open: from the books.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from perdure import SLOT, Cron, Every
from perdure import _events as ev
from perdure import _work as work
from perdure._schedules.spec import SCHEDULE
from perdure._types import Status, instant_us
from perdure.errors import InstanceNotFoundError
from perdure.testing._dice import Dice
from perdure.testing.simulation.errands import Errand
from perdure.testing.simulation.host import EPOCH_US
from perdure.testing.simulation.ledger import Violation
from perdure.testing.simulation.programs import RUN, Author

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from perdure._client import Client
    from perdure.testing.simulation.chronicle import Chronicle
    from perdure.testing.simulation.world import World

PLANNED = 8
"""The last digit of the seeds of worlds that have schedules."""

MORE: dict[str, Any] = {"effects": ("probed", "held", "held", "booked", "booked"), "once": {"given_up": True}}
"""What is written into the programs of such worlds: transactional activities, and that held ones may be given up."""

_STRIDE = 0x1F83D9ABFB41BD6B
_PACE_US = 2_500_000
_OVERLAPS = ("skip", "skip", "buffer_one", "buffer_all", "allow", "cancel_other", "terminate_other")
_EVERY_S = (2, 5, 13)
_LATE_S = 40
_JITTER_S = 2
_ON_US = 25_000_000
"""So long a schedule goes on after healing."""
_ALIVE_US = 600_000_000
"""By then it must have."""
_EACH_MINUTE = (60_000_000, 0)
_ENDS = {"cancel_other": Status.CANCELLED, "terminate_other": Status.TERMINATED}


@dataclass
class _Book:
    """One schedule, from its making to its end."""

    created_us: int
    slots: set[int] = field(default_factory=set)
    runs: list[str] = field(default_factory=list)
    handled_us: int = 0


@dataclass
class _Plan:
    """What is known of a schedule by its id: all that it was ever told, whichever of those that had the id heard it."""

    schedule_id: str
    timings: set[tuple[int, int]] = field(default_factory=set)
    overlaps: set[str] = field(default_factory=set)
    is_made: bool = False
    is_steered: bool = False
    """Whether somebody has asked for more than that it be made: what it skips can't be told from its timing alone."""
    has_others: bool = False
    """Whether it may know of other runs than it has started, or has known another policy."""
    is_paused: bool = False
    """Whether it has said so, and nobody has asked since that it go on."""
    pause: str = ""
    """The note of a pause behind which nothing can come that would end it."""
    going_on: int = 0
    """How many have asked that it go on, and were not told that it has heard it."""


class Planner:
    """One who makes schedules and steers them, with dice of its own."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._dice = dice = Dice(world.seed + _STRIDE)
        author = Author(dice, len(world.roots), **MORE)
        self._programs = [author.program(depth=2)[:1] for _ in range(1 + dice.below(2))]
        self._plans = [_Plan(f"plan-{number}") for number in range(len(self._programs))]
        self._books: dict[int, _Book] = {}
        self._asked = 0

    def begin(self) -> None:
        """Announce the schedules, and what happens to some of them."""
        dice, timeline = self._dice, self._world.timeline
        for plan in self._plans:
            timeline.after(dice.below(2_000_000), self._make, plan)
            if dice.chance(60):
                timeline.after(2_000_000 + dice.below(_PACE_US), self._steer, plan)

    # -- making and steering ---------------------------------------------------------------------------------------

    def _options(self, plan: _Plan) -> dict[str, Any]:
        dice = self._dice
        overlap = dice.pick(_OVERLAPS)
        if plan.overlaps - {overlap}:
            plan.has_others = True
        plan.overlaps.add(overlap)
        # Each time another jitter: what is asked for twice is told apart.
        self._asked += 1
        how: dict[str, Any] = {"overlap": overlap, "jitter": timedelta(microseconds=self._asked)}
        if dice.chance(30):
            how["jitter"] += timedelta(seconds=_JITTER_S)
        if dice.chance(40):
            how |= {"catch_up": "all", "late_max": _LATE_S}
        if dice.chance(15):
            plan.timings.add(_EACH_MINUTE)
            return how | {"when": Cron("* * * * *", zone="Europe/Berlin")}
        every, offset = dice.pick(_EVERY_S), dice.below(2)
        plan.timings.add((every * 1_000_000, offset * 1_000_000))
        return how | {"when": Every(timedelta(seconds=every), timedelta(seconds=offset))}

    def _make(self, plan: _Plan) -> None:
        number = self._plans.index(plan)
        options = self._options(plan)

        async def make(client: Client) -> None:
            await client.schedules.create(
                plan.schedule_id, RUN, self._programs[number], SLOT, on_conflict="update", **options
            )

        # Once it is there, the same again would be an order, which may not be given twice.
        self._let_go_on(plan)
        self._ask(f"make {plan.schedule_id}", make, partial(self._made, plan), may_repeat=not plan.is_made)

    def _made(self, plan: _Plan, _: Any) -> None:
        if plan.schedule_id not in self._world.checks.by_id and not plan.is_steered:
            raise Violation(f"{plan.schedule_id} was said to be made, and is not there")
        plan.is_made = True
        plan.going_on -= 1

    def _steer(self, plan: _Plan) -> None:
        world, dice = self._world, self._dice
        if world.faults.healed:
            return
        world.timeline.after(1 + dice.below(2 * _PACE_US), self._steer, plan)
        if not plan.is_made:
            return
        plan.is_steered = True
        match dice.weighted({"pause": 4, "resume": 2, "look": 4, "trigger": 2, "update": 2, "remake": 2}):
            case "pause":
                note = self._order(plan, "pause")
                plan.pause = "" if plan.going_on else note
            case "resume":
                self._resume(plan)
            case "look":
                self._look(plan)
            case "trigger":
                self._trigger(plan)
            case "update":
                plan.has_others = True
                changes = self._options(plan)
                self._ask(f"update {plan.schedule_id}", lambda client: self._of(client, plan).update(**changes))
            case _:
                plan.has_others = True
                self._delete(plan)
                world.timeline.after(dice.below(_PACE_US), self._make, plan)

    def _order(self, plan: _Plan, verb: str, told: Callable[[Any], None] = lambda _: None) -> str:
        self._asked += 1
        note = f"note {self._asked}"
        self._ask(f"{verb} {plan.schedule_id}", lambda client: getattr(self._of(client, plan), verb)(note), told)
        return note

    def _let_go_on(self, plan: _Plan) -> None:
        plan.is_paused, plan.pause = False, ""
        plan.going_on += 1

    def _resume(self, plan: _Plan) -> None:
        def told(_: Any) -> None:
            plan.going_on -= 1

        self._let_go_on(plan)
        self._order(plan, "resume", told)

    def _delete(self, plan: _Plan) -> None:
        plan.is_steered = True
        self._ask(f"delete {plan.schedule_id}", lambda client: self._of(client, plan).delete())

    def _look(self, plan: _Plan) -> None:
        def told(status: Any) -> None:
            plan.is_paused = status.paused and status.note == plan.pause

        self._ask(f"look at {plan.schedule_id}", lambda client: self._of(client, plan).status(), told)

    def _trigger(self, plan: _Plan) -> None:
        plan.has_others = True

        def told(handle: Any) -> None:
            if handle.instance_id not in self._world.checks.by_id:
                raise Violation(f"{handle.instance_id} was said to be triggered, and is not there")

        self._ask(f"trigger {plan.schedule_id}", lambda client: self._of(client, plan).trigger(), told)

    @staticmethod
    def _of(client: Client, plan: _Plan) -> Any:
        return client.schedules.get(plan.schedule_id)

    def _ask(
        self,
        what: str,
        make: Callable[[Client], Coroutine[Any, Any, Any]],
        told: Callable[[Any], None] = lambda _: None,
        *,
        may_repeat: bool = False,
    ) -> None:
        def over(result: Any, error: BaseException | None) -> None:
            if error is None:
                told(result)
            elif not isinstance(error, InstanceNotFoundError):
                raise Violation(f"{what} ended with {error!r}")

        Errand(self._world, what, make, over, may_repeat=may_repeat).run()

    # -- the end ---------------------------------------------------------------------------------------------------

    def tidy(self) -> None:
        """In a world that has healed: have all go on, see that they do, and then remove them."""
        world = self._world
        for plan in self._plans:
            incarnation = world.checks.by_id.get(plan.schedule_id)
            if incarnation is None:
                continue
            book = self._books.get(incarnation)
            if book is not None and book.handled_us >= world.healed_us + _ON_US:
                self._delete(plan)
            elif world.timeline.now > world.heal_at + _ALIVE_US:
                raise Violation(f"{plan.schedule_id} has not gone on")
            elif plan.is_steered:
                self._resume(plan)

    def may_have_ended(self, chronicle: Chronicle, status: Status | None) -> bool:
        """Whether it is a run that its schedule may have ended."""
        asked = {_ENDS[policy] for plan in self._plans for policy in plan.overlaps & _ENDS.keys()}
        return chronicle.name == RUN and status in asked

    # -- what has to hold ------------------------------------------------------------------------------------------

    def committed(self, batch: work.Batch, answer: work.Committed) -> None:
        """A batch was applied, and is in the books."""
        for item, outcome in zip(batch.items, answer.outcomes, strict=True):
            if isinstance(item, work.Turn) and isinstance(outcome, work.Applied) and item.history is not None:
                chronicle = self._world.checks.chronicles.get(item.incarnation)
                if chronicle is not None and chronicle.name == SCHEDULE:
                    self._turned(chronicle, ev.decode_events(item.history.data))

    def _turned(self, chronicle: Chronicle, events: list[Any]) -> None:
        incarnation = chronicle.incarnation
        plan = next(each for each in self._plans if each.schedule_id == chronicle.instance_id)
        book = self._books.get(incarnation)
        if book is None:
            book = self._books[incarnation] = _Book(self._world.rows.instances[incarnation].record.created_at)
        for event in events:
            match event:
                case ev.DetachedStarted():
                    self._started(plan, book, event.instance_id, chronicle.at)
                case ev.StatusSet():
                    self._said(plan, book, msgspec.json.decode(bytes(event.value))["state"])

    def _started(self, plan: _Plan, book: _Book, run: str, at: int) -> None:
        checks = self._world.checks
        schedule_id, _, instant = run.rpartition("@")
        slot = instant_us(datetime.fromisoformat(instant))
        if schedule_id != plan.schedule_id or not any(slot % every == offset for every, offset in plan.timings):
            raise Violation(f"{plan.schedule_id} has started {run}, which is no slot of {plan.timings}")
        if slot in book.slots:
            raise Violation(f"{run} was started twice")
        if not book.created_us < slot <= at:
            raise Violation(f"{run} was started at {at}, by a schedule of {book.created_us}")
        if plan.is_paused:
            raise Violation(f"{run} was started, and {plan.schedule_id} is paused")
        if run not in checks.by_id:
            raise Violation(f"{run} was started, and is not there")
        is_open = [each for each in book.runs if checks.by_id[each] in checks.chronicles]
        if is_open and not plan.has_others and "allow" not in plan.overlaps:
            raise Violation(f"{run} was started while {is_open} are open; what overlaps: {plan.overlaps}")
        book.slots.add(slot)
        book.runs.append(run)

    def _said(self, plan: _Plan, book: _Book, state: dict[str, Any]) -> None:
        """What it says of itself: every slot behind its making is started, skipped, or waits."""
        book.handled_us = state["handled_us"]
        if plan.is_steered or not book.handled_us:
            return
        [(every, offset)] = plan.timings
        due = (book.handled_us - offset) // every - (book.created_us - offset) // every
        told = len(book.runs), state["started"], state["started"] + state["skipped"] + len(state["buffered"])
        if told != (state["started"], len(book.runs), due):
            raise Violation(f"{plan.schedule_id} had {due} slots, has started {len(book.runs)}, and says {state}")


def store_us(world: World) -> int:
    """What time it is by the store."""
    return EPOCH_US + world.timeline.now + world.clock_off_us
