"""What clients do with the canonical orchestrations, and what has to come of it, whatever fails on the way."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from perdure import Every, Registry, Status
from tests.crashes import cancellations as c
from tests.crashes import effects as e
from tests.crashes import lent_programs as l
from tests.crashes import mended as m
from tests.crashes import patience as w
from tests.crashes import programs as p
from tests.crashes import scheduled as s
from tests.crashes import showing
from tests.crashes.teller import Teller

Drive = Callable[[Teller], Awaitable[None]]


@dataclass(frozen=True)
class Scenario:
    """One orchestration, what is done with it, and its promised ending and effects."""

    name: str
    drive: Drive
    ending: object
    """The result of the instance "main", or the status that it ends in without one."""
    effects: tuple[str, ...] = ()
    """What activities do to the world, in any order."""
    once: bool = False
    """Whether nothing may be done twice, whatever fails."""
    again: int = 0
    """How often what is done may be done again because somebody has put an instance back."""


def registry(world: p.World) -> Registry:
    """All canonical orchestrations."""
    everything = vars(p) | vars(c) | vars(e) | vars(l) | vars(m) | vars(s) | vars(w) | vars(showing)
    kinds = type(p.order) | type(p.broken)
    made = e.once_in(world), *m.mendable_in(world)
    return Registry(world, *made, *(each for each in everything.values() if isinstance(each, kinds)))


def _runs(program: Any, *inputs: object, mail: tuple[int, ...] = ()) -> Drive:
    """Start it, and send it these."""

    async def drive(teller: Teller) -> None:
        await teller.start(program, *inputs)
        await teller.mail("main", p.MAIL, *mail)

    return drive


def _is_cancelled(program: Any) -> Drive:
    """Start it, wait until it says that it waits, and cancel it."""

    async def drive(teller: Teller) -> None:
        await teller.start(program)
        await teller.until("main", "waiting")
        await teller.cancel("main")

    return drive


async def _is_terminated(teller: Teller) -> None:
    await teller.start(p.terminated)
    await teller.until("main", "waiting")
    await teller.terminate("main")


async def _visits(teller: Teller) -> None:
    await teller.start(p.gatekeeper, 3)
    for number in range(3):
        await teller.start(p.visitor, f"visitor {number}", instance_id=f"visitor {number}")


async def _begins_with_the_old_version(teller: Teller) -> None:
    await teller.start(p.versioned_1, 1, version="1.0.0")


async def _is_scheduled(teller: Teller) -> None:
    """A schedule of every hour, which its second run ends."""
    await teller.schedule(s.scheduled, Every(3600))


async def _is_told_too_early(teller: Teller) -> None:
    """Events, and a cancel, for an instance whose start is not due yet."""
    await teller.start_tomorrow(p.mailbox)
    await teller.mail("main", p.MAIL, 4, 0)


async def _is_cancelled_before_it_begins(teller: Teller) -> None:
    await teller.start_tomorrow(p.sequence)
    await teller.cancel("main")


async def _is_paid(teller: Teller) -> None:
    await teller.start(showing.till)
    for cents in (1, 2, 3):
        assert await teller.update("main", showing.PAY, cents) == f"thanks for {cents}"


async def _is_rewound(teller: Teller) -> None:
    await teller.start(m.to_rewind)
    await teller.mail("main", p.MAIL, 1)
    await teller.rewind("main")
    await teller.mail("main", p.MAIL, 1, 2)


async def _is_reset(teller: Teller) -> None:
    await teller.start(m.to_reset)
    await teller.reset("main", to_event=2)
    await teller.mail("main", p.MAIL, 1)


async def _is_reset_in_its_second_execution(teller: Teller) -> None:
    await teller.start(m.wrong_later, 1)
    await teller.mail("main", p.MAIL, 1, 2)
    await teller.reset("main", to="start")


async def _is_forked(teller: Teller) -> None:
    await teller.start(m.to_fork)
    await teller.mail("main", p.MAIL, 1)
    await teller.until("main", "waiting")
    await teller.fork("main", "fork", from_event=7)
    await teller.mail("fork", p.MAIL, 3)
    await teller.mail("main", p.MAIL, 1, 2)


async def _is_beside_a_delete(teller: Teller) -> None:
    await teller.start(m.beside_a_delete)
    await teller.until("main", "waiting")
    await teller.delete("detached")
    await teller.delete_a_child("below")
    await teller.mail("main", p.MAIL, 1)


def _steps(pattern: str, count: int) -> tuple[str, ...]:
    return tuple(pattern.format(n) for n in range(count))


SCENARIOS = [
    Scenario("sequence", _runs(p.sequence), [*_steps("step {}", 4)], _steps("step {}", 4)),
    Scenario("fan-out", _runs(p.fan_out), [*_steps("part {}", 5)], _steps("part {}", 5)),
    Scenario("sync activities", _runs(p.in_threads), [*_steps("thread {}", 3)], _steps("thread {}", 3)),
    Scenario(
        "kv store",
        _runs(showing.bookkeeping, 1),
        [4, None, "generation 2", "total", "page 2"],
        _steps("total {}", 5)[1:],
    ),
    Scenario("updates", _is_paid, [1, 2, 3], ("count 2", "count 3", "close")),
    Scenario("race", _runs(p.race), "1 first after the race", ("first", "after the race")),
    Scenario("timer", _runs(p.timer), "in the morning", ("in the morning",)),
    Scenario("timeout", _runs(p.timeout), "too late", ("too late",)),
    Scenario("events", _runs(p.events, mail=(1, 2, 3)), [1, 2, 3], ("mail 1",)),
    Scenario("mailbox", _runs(p.mailbox, mail=(1, 2, 0)), 3, ("so far 1", "so far 3")),
    Scenario("select", _runs(p.select, mail=(7,)), ["mail", 7, "taken"], ("taken",)),
    Scenario("child", _runs(p.child), ["derived", "named"], ("derived", "named")),
    Scenario("child tree", _runs(p.tree, 2), 4, ("leaf",) * 4),
    Scenario("detached", _runs(p.detached), "begun", ("begun", "on its own")),
    Scenario("abandoned child", _runs(p.abandoning), "goes", ("goes", "left alone")),
    Scenario("child left behind", _runs(p.leaving_a_child), "returns", ("returns", "tidied waiting")),
    Scenario("child in time", _runs(p.child_in_time), "gave up on it", ("gave up on it", "tidied waiting")),
    Scenario("failing child", _runs(p.failing_child), "caught True", ("caught True",)),
    Scenario("taken id", _runs(p.taken_id), "another way", ("another way",)),
    Scenario("failing", _runs(p.failing), Status.FAILED, ("before",)),
    Scenario("continue-as-new", _runs(p.generations, 1), 3, ("generation 1", "generation 2", "generation 3")),
    Scenario(
        "carried events",
        _runs(p.carrying, [], mail=(5, 6, 7, 8)),
        [5, 6, 7, 8],
        ("read 5", "read 6", "read 7", "read 8"),
    ),
    Scenario("cancel with compensation", _is_cancelled(c.compensating), Status.CANCELLED, ("reserve", "release")),
    Scenario("cancel that waits", _is_cancelled(c.careful), Status.CANCELLED, ("begun", "undone begun")),
    Scenario("cancel with a shield", _is_cancelled(c.shielding), Status.CANCELLED, ("important",)),
    Scenario("cancel of a parent", _is_cancelled(p.parent_of_waiting), Status.CANCELLED, ("tidied waiting",)),
    Scenario("cancel before the start", _is_cancelled_before_it_begins, Status.CANCELLED),
    Scenario("terminate", _is_terminated, Status.TERMINATED, ("begun",)),
    Scenario("retry", _runs(p.retry), "at last", ("at last",)),
    Scenario("total timeout", _runs(p.total_timeout), "without it", ("without it",)),
    Scenario("attempt timeout", _runs(p.attempt_timeout), "twice too slow", ("twice too slow",)),
    Scenario(
        "never twice",
        _runs(e.never_twice),
        ["alone", "second try", "left", "right"],
        ("alone", "second try", "left", "right"),
        once=True,
    ),
    Scenario("poll until", _runs(w.polling), "ready", ("ready",)),
    Scenario("map", _runs(w.mapping), [*_steps("item {}", 3)], _steps("item {}", 3)),
    Scenario("limits", _runs(w.limited), [*_steps("inside {}", 3)], _steps("inside {}", 3)),
    Scenario("saga", _runs(p.saga), "no car", ("book flight", "book hotel", "cancel hotel", "cancel flight")),
    Scenario("approval", _runs(p.approval), "expired", ("reminder 0", "reminder 1")),
    Scenario("actor", _runs(p.actor, 100, mail=(1, 2, 3, 4, 5, 0)), 115),
    Scenario("semaphore between instances", _visits, "closed", _steps("visitor {}", 3)),
    Scenario("semaphore", _runs(p.semaphore), [*_steps("one of two {}", 4)], _steps("one of two {}", 4)),
    Scenario(
        "versions",
        _begins_with_the_old_version,
        "new code in generation 2",
        ("old code", "new code in generation 2"),
    ),
    Scenario("schedule", _is_scheduled, Status.CANCELLED, ("slot 01:00", "slot 02:00")),
    Scenario("rewind", _is_rewound, [1, "below", "beside", "mended", 2], ("below", "beside", "mended"), again=1),
    Scenario("reset", _is_reset, ["kept", "right", "below", 1], ("kept",)),
    Scenario("reset of a second execution", _is_reset_in_its_second_execution, [1, "right", 2]),
    Scenario("fork", _is_forked, [1, "before", 2, "apart"], ("before", "apart", "apart")),
    Scenario("delete beside a parent", _is_beside_a_delete, ["below", 1], ("detached",)),
    Scenario("task group", _runs(p.group), "the group is over", ("the group is over", "tidied waiting")),
    Scenario("queue", _runs(p.queue), [*_steps("consumed {}", 3)], _steps("consumed {}", 3)),
    Scenario("as completed", _runs(p.as_completed), [*_steps("any {}", 3)], _steps("any {}", 3)),
    Scenario("chance", _runs(p.chance), ending=True, effects=("looked",)),
    Scenario("conversation", _runs(p.conversation), 10, ("0 is 0", "1 is 10")),
    Scenario("delayed start", _is_told_too_early, 4, ("so far 4",)),
    Scenario(
        "order",
        _runs(p.order, 1, mail=(1, 2)),
        ["charge", "child", 1, 2, "2"],
        ("reserve", "detached", "charge", "child"),
    ),
]
