"""Random orchestrations: a program is data, drawn from the seed, and one orchestration that runs any of them.

A program is a list of parts, each a node; between two parts it continues as new. A node is `[kind, number, ...]` and
yields `[kind, number, what came of it]`, so the result of a program shows which way it took; `reference` says which
ways are allowed. What activities do is in their input: how long they take, how often they fail, for how many attempts.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from perdure import (
    ActivityContext,
    Backoff,
    Key,
    Limit,
    OrchestrationContext,
    Query,
    Registry,
    RetryPolicy,
    Update,
    activity,
    orchestration,
)
from perdure._runtime.built_in import with_built_ins
from perdure.testing.simulation.effects import ONCE, booked, held, probed
from perdure.testing.simulation.work import Bench, SimulatedEndError, SimulatedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from perdure.testing._dice import Dice

Node: TypeAlias = list[Any]
Program: TypeAlias = list[Node]

MAILBOXES = ("a", "b")
TOUCH = Update[str, str]("touch")
LAST = Query[None, str]("last")
TOUCHED = Key[str]("touched")
SHOWN = (Key[str]("x"), Key[str]("y"))
LIMITS = {
    "one": Limit("one", concurrency=1),
    "two": Limit("two", concurrency=2),
    "fast": Limit("fast", concurrency=3, rate=4, per=2),
}
TAG = "apart"
_TAGGED_EVERY = 6
"""Every so many nodes, an activity is only for workers that serve the tag."""
_IN_SESSION_EVERY = 2
"""Every so many nodes, an activity is of one of a few sessions, which all instances share."""
NAME = "simulated"
RUN = "simulated-run"
"""What schedules start: a program, and the slot that it is for."""
ATTEMPTS = 3
ATTEMPT_S = 4.0
LONG_S = 60.0
_POLICIES = {
    "none": None,
    "retry": RetryPolicy(ATTEMPTS, backoff=Backoff.exponential(0.2, max=2, jitter=0.5)),
    "limit": RetryPolicy(ATTEMPTS, backoff=Backoff.fixed(0.1), attempt_timeout=ATTEMPT_S),
}


# -- drawing ---------------------------------------------------------------------------------------------------------

_LEAVES = {
    "act": 34,
    "timer": 8,
    "sleep": 5,
    "wait": 7,
    "status": 3,
    "chance": 3,
    "detach": 3,
    "send": 4,
    "raise": 2,
    "patch": 3,
    "hold": 5,
}
_BRANCHES = {
    "seq": 10, "par": 16, "race": 10, "pick": 9, "try": 10, "child": 9, "timeout": 5, "task": 5, "guard": 5, "loose": 5,
}  # fmt: skip
_DEPTH_MAX = 3


class Author:
    """Writes programs; `targets` are the instances that they may send events to.

    `effects` are the activities that must not happen twice, `once` what else is said of them.
    """

    LEAVES = _LEAVES
    BRANCHES = _BRANCHES

    def __init__(
        self,
        dice: Dice,
        targets: int,
        effects: tuple[str, ...] = ("probed", "held"),
        once: dict[str, Any] = {},  # noqa: B006 - never changed
    ) -> None:
        self._dice = dice
        self._targets = targets
        self._effects = effects
        self._once = once
        self._number = 0

    def program(self, depth: int = 0) -> Program:
        """One to three parts."""
        parts = 1 if depth or not self._dice.chance(30) else 2 + self._dice.below(2)
        return [self._body(depth) for _ in range(parts)]

    def _body(self, depth: int) -> Node:
        return self._new("seq", [self._node(depth + 1) for _ in range(1 + self._dice.below(3 if depth else 4))])

    def _new(self, kind: str, *rest: Any) -> Node:
        self._number += 1
        return [kind, self._number, *rest]

    def _node(self, depth: int) -> Node:
        dice = self._dice
        if depth >= _DEPTH_MAX or dice.chance(55):
            return self._leaf(dice.weighted(self.LEAVES))
        return self._branch(dice.weighted(self.BRANCHES), depth)

    def _leaf(self, kind: str) -> Node:
        dice = self._dice
        match kind:
            case "act":
                act = self._act()
                if dice.chance(15):
                    act[-1]["limit"] = dice.pick(tuple(LIMITS))
                return act
            case "hold":
                # What waits in it for another place could wait for one that it has itself.
                return self._new(kind, dice.pick(tuple(LIMITS)), self._act())
            case "timer" | "sleep":
                return self._new(kind, self._seconds())
            case "wait":
                return self._new(kind, dice.pick(MAILBOXES))
            case "detach":
                return self._new(kind, [self._new("seq", [self._act()])])
            case "send":
                return self._new(kind, dice.below(self._targets), dice.pick(MAILBOXES))
            case _:
                return self._new(kind)

    def _act(self) -> Node:
        dice = self._dice
        ms = 0 if dice.chance(50) else dice.below(3_000)
        drawn = dice.below(100)
        if drawn < 48:  # noqa: PLR2004 - per cent
            return self._new("act", dice.pick(("none", "retry", "limit")), {"ms": ms})
        if drawn < 60:  # noqa: PLR2004 - per cent
            # Not to be run twice: asked for by a probe, or by a person alone.
            how = {"ms": 200 + dice.below(3_000), "once": dice.pick(self._effects), "waits": dice.chance(30)}
            how |= self._once
            if dice.chance(30):
                return self._new("act", "retry", how | {"fails": 1 + dice.below(ATTEMPTS - 1)})
            return self._new("act", dice.pick(("none", "retry", "limit")), how)
        if drawn < 75:  # noqa: PLR2004 - per cent
            # Waited for when it is cancelled, too; and some end as if they had not heard it.
            how = {"ms": ms, "waits": True, "deaf": dice.chance(40)}
            if dice.chance(30):
                # Asked until it has an answer; it counts by its heartbeats.
                how = {"ms": ms, "waits": True, "polls": 1 + dice.below(4)}
            return self._new("act", dice.pick(("none", "retry", "limit")), how)
        if drawn < 88:  # noqa: PLR2004 - per cent
            return self._new("act", "retry", {"ms": ms, "fails": 1 + dice.below(ATTEMPTS)})
        if drawn < 94:  # noqa: PLR2004 - per cent
            return self._new("act", "limit", {"ms": 0, "hangs": 1 + dice.below(ATTEMPTS)})
        return self._new("act", "retry", {"ms": ms, "ends": True})

    def _seconds(self) -> float:
        return self._dice.below(100) / 10 if self._dice.chance(85) else LONG_S

    def _branch(self, kind: str, depth: int) -> Node:
        dice = self._dice

        def some(least: int, most: int) -> list[Node]:
            return [self._node(depth + 1) for _ in range(least + dice.below(most - least + 1))]

        match kind:
            case "seq":
                return self._new(kind, some(1, 3))
            case "par" | "race":
                return self._new(kind, some(2, 3))
            case "pick":
                drawn = [self._leaf(dice.pick(("act", "timer", "wait"))) for _ in range(2 + dice.below(2))]
                return self._new(kind, drawn)
            case "try":
                return self._new(kind, self._node(depth + 1), self._act_that_ends_well())
            case "guard":
                return self._new(kind, self._node(depth + 1), self._act_that_ends_well())
            case "child":
                how = dice.pick(("cancel", "terminate", "abandon"))
                return self._new(kind, self.program(depth + 1), how)
            case "timeout":
                return self._new(kind, 0.5 + self._seconds(), self._node(depth + 1))
            case "loose":
                return self._new(kind, self._node(depth + 1))
            case _:
                return self._new("task", self._node(depth + 1), self._node(depth + 1))

    def _act_that_ends_well(self) -> Node:
        return self._new("act", "retry", {"ms": self._dice.below(500)})


class FarAuthor(Author):
    """Writes programs whose children and detached orchestrations have ids of their own, so that they are anywhere."""

    LEAVES = _LEAVES | {"detach": 8, "send": 14}
    BRANCHES = _BRANCHES | {"child": 28}

    def _new(self, kind: str, *rest: Any) -> Node:
        if kind in ("child", "detach") and self._dice.chance(75):
            return super()._new({"child": "kin", "detach": "spawn"}[kind], *rest, self._dice.chance(15))
        return super()._new(kind, *rest)


# -- running ---------------------------------------------------------------------------------------------------------


@activity(name="simulated-work")
async def work(ctx: ActivityContext, number: int, how: dict[str, Any]) -> list[int] | None:
    """Do as the input says; the number and the attempt come back."""
    ctx.state(Bench).began(ctx.idempotency_key, ctx.attempt)
    if how.get("hangs", 0) >= ctx.attempt:
        await asyncio.sleep(ATTEMPT_S * 10)
    if how["ms"]:
        try:
            await asyncio.sleep(how["ms"] / 1000)
        except asyncio.CancelledError:
            if not how.get("deaf"):
                raise
    looks = ctx.last_heartbeat(int) or 0
    if how.get("polls", 0) > looks:
        ctx.heartbeat(looks + 1)
        return None
    if how.get("ends"):
        raise SimulatedEndError(f"work {number}")
    if how.get("fails", 0) >= ctx.attempt:
        raise SimulatedError(f"work {number}, attempt {ctx.attempt}")
    return [number, ctx.attempt]


@orchestration(name=NAME, version="1.0.0")
async def first(ctx: OrchestrationContext, parts: Program, done: list[Any]) -> list[Any]:
    """Run a program."""
    return await _run(ctx, parts, done)


@orchestration(name=NAME, version="2.0.0")
async def second(ctx: OrchestrationContext, parts: Program, done: list[Any]) -> list[Any]:
    """Run a program, but ask for something else first: a history of the other version doesn't fit."""
    ctx.set_custom_status("second")
    await ctx.schedule_timer(0.01)
    return await _run(ctx, parts, done)


@orchestration(name=RUN, version="1.0.0")
async def run(ctx: OrchestrationContext, parts: Program, _slot: str) -> list[Any]:
    """Run a program for a slot of a schedule."""
    return await _run(ctx, parts, [])


REGISTRIES = {
    kit: with_built_ins(Registry(*parts))
    for kit, parts in {
        "all": (work, held, probed, booked, first, second, run),
        "old": (work, held, probed, booked, first, run),
        "new": (work, held, probed, booked, second),
        "code": (first, second, run),
        "work": (work, held, probed, booked),
    }.items()
}
"""What a worker may have registered; "all" is what every instance can end with."""


async def _run(ctx: OrchestrationContext, parts: Program, done: list[Any]) -> list[Any]:
    async def touch(word: str) -> str:
        """Answer at once, or after a while."""
        if len(word) % 2:
            await ctx.schedule_timer(0.5)
        ctx.kv.set(TOUCHED, word)
        return f"{ctx.instance_id} touched by {word}"

    ctx.on_query(LAST, lambda: ctx.kv.get(TOUCHED, ""))
    ctx.on_update(TOUCH, touch)
    out = await _do(ctx, parts[0])
    if len(parts) > 1:
        ctx.continue_as_new(parts[1:], [*done, out])
    return [*done, out]


async def _do(ctx: OrchestrationContext, node: Node) -> Any:
    kind, number, *rest = node
    return [kind, number, await _DO[kind](ctx, number, *rest)]


def _schedule(ctx: OrchestrationContext, node: Node) -> Any:
    """The durable future of a node that is no more than that."""
    kind, number, *rest = node
    match kind:
        case "act":
            policy, how = rest
            retry, limit = _POLICIES[policy], LIMITS.get(how.get("limit", ""))
            where = _where(number)
            if how.get("polls"):
                return ctx.poll_until(work, number, how, every=0.3, retry=retry, limit=limit, on_cancel="wait")
            if how.get("once"):
                on_cancel: Any = "wait" if how["waits"] else "leave"
                return ctx.schedule_activity(
                    ONCE[how["once"]], number, how, retry=retry, limit=limit, on_cancel=on_cancel, **where
                )
            if how.get("waits"):
                return ctx.schedule_activity(work, number, how, retry=retry, limit=limit, on_cancel="wait", **where)
            return ctx.schedule_activity(work, number, how, retry=retry, limit=limit, **where)
        case "timer":
            return ctx.schedule_timer(rest[0])
        case _:
            return ctx.schedule_wait(rest[0])


def _where(number: int) -> dict[str, Any]:
    """Which workers an activity is for."""
    session = None if number % _IN_SESSION_EVERY else f"session {number // 2 % 2}"
    return {"tag": None if number % _TAGGED_EVERY else TAG, "session": session}


async def _plain(ctx: OrchestrationContext, kind: str, number: int, *rest: Any) -> Any:
    return await _schedule(ctx, [kind, number, *rest])


async def _hold(ctx: OrchestrationContext, _: int, key: str, body: Node) -> Any:
    async with ctx.limit(LIMITS[key]):
        return await _do(ctx, body)


async def _sleep(_: OrchestrationContext, __: int, seconds: float) -> None:
    await asyncio.sleep(seconds)


async def _patch(ctx: OrchestrationContext, number: int) -> bool:
    """Code that was changed: whether the change applies is the same at every call."""
    applies = ctx.patched(f"change {number % 2}")
    await asyncio.sleep(0)
    return applies and ctx.patched(f"change {number % 2}")


async def _status(ctx: OrchestrationContext, number: int) -> list[Any]:
    """Show something of oneself: what is shown is read back, and cleared or pruned by the number of the node."""
    ctx.set_custom_status("soon")
    ctx.set_custom_status(number)
    key = SHOWN[number % len(SHOWN)]
    if number % 5 == 0:
        ctx.kv.prune(ctx.utc_now() - timedelta(seconds=2))
    if number % 7 == 0:
        ctx.kv.clear()
    ctx.kv.set(key, f"{ctx.instance_id}/{number}")
    return [ctx.custom_status, ctx.kv.get(key)]


async def _chance(ctx: OrchestrationContext, _: int) -> str:
    return f"{ctx.new_guid()} {ctx.random.random()} {ctx.utc_now()}"


async def _detach(ctx: OrchestrationContext, _: int, parts: Program) -> None:
    ctx.schedule_orchestration(first, parts, [])


async def _send(ctx: OrchestrationContext, number: int, target: int, mailbox: str) -> str | None:
    """Send an event; every second one looks at its receiver, too."""
    ctx.raise_event(f"root-{target}", mailbox, f"{ctx.instance_id}/{ctx.execution_id}/{number}")
    return await ctx.read_value(f"root-{target}", SHOWN[number % len(SHOWN)]) if number % 2 else None


async def _raise(_: OrchestrationContext, number: int) -> None:
    raise SimulatedEndError(f"node {number}")


async def _seq(ctx: OrchestrationContext, _: int, nodes: list[Node]) -> list[Any]:
    return [await _do(ctx, node) for node in nodes]


async def _par(ctx: OrchestrationContext, _: int, nodes: list[Node]) -> list[Any]:
    return list(await asyncio.gather(*(_do(ctx, node) for node in nodes)))


async def _race(ctx: OrchestrationContext, _: int, nodes: list[Node]) -> list[Any]:
    return list(await ctx.select(*(_do(ctx, node) for node in nodes)))


async def _pick(ctx: OrchestrationContext, _: int, nodes: list[Node]) -> list[Any]:
    index, value = await ctx.select(*(_schedule(ctx, node) for node in nodes))
    return [index, [*nodes[index][:2], value]]


async def _try(ctx: OrchestrationContext, _: int, body: Node, last: Node) -> list[Any]:
    try:
        outcome = [True, await _do(ctx, body)]
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        outcome = [False, type(error).__name__]
    finally:
        await _do(ctx, last)
    return outcome


async def _guard(ctx: OrchestrationContext, _: int, body: Node, last: Node) -> list[Any]:
    try:
        return [True, await _do(ctx, body)]
    except asyncio.CancelledError:
        # A program may refuse to be cancelled, after having cleared up.
        return [False, await _do(ctx, last)]


async def _child(ctx: OrchestrationContext, _: int, parts: Program, on_close: Any) -> Any:
    return await ctx.schedule_sub_orchestration(NAME, parts, [], returns=list, on_close=on_close)


async def _kin(ctx: OrchestrationContext, number: int, parts: Program, on_close: Any, is_contested: bool) -> Any:  # noqa: FBT001 - a program is data
    id_ = _own_id(ctx, number, is_contested=is_contested)
    return await ctx.schedule_sub_orchestration(NAME, parts, [], returns=list, on_close=on_close, instance_id=id_)


async def _spawn(ctx: OrchestrationContext, number: int, parts: Program, is_contested: bool) -> None:  # noqa: FBT001 - the same
    ctx.schedule_orchestration(first, parts, [], instance_id=_own_id(ctx, number, is_contested=is_contested))


def _own_id(ctx: OrchestrationContext, number: int, *, is_contested: bool) -> str:
    return f"own-{number % 4}" if is_contested else f"{ctx.instance_id}-{ctx.execution_id}-{number}"


async def _timeout(ctx: OrchestrationContext, _: int, seconds: float, body: Node) -> Any:
    async with asyncio.timeout(seconds):
        return await _do(ctx, body)


async def _task(ctx: OrchestrationContext, _: int, beside: Node, body: Node) -> list[Any]:
    task = asyncio.create_task(_do(ctx, beside))
    value = await _do(ctx, body)
    return [value, await task]


async def _loose(ctx: OrchestrationContext, _: int, body: Node) -> None:
    # Nobody awaits it: what it waits for when the execution ends, in whatever way, is given up then.
    asyncio.create_task(_never_fails(ctx, body))  # noqa: RUF006 - the loop of an orchestration keeps its tasks


async def _never_fails(ctx: OrchestrationContext, body: Node) -> None:
    with suppress(Exception):
        await _do(ctx, body)


def _leaf(kind: str) -> Callable[..., Awaitable[Any]]:
    async def run(ctx: OrchestrationContext, number: int, *rest: Any) -> Any:
        return await _plain(ctx, kind, number, *rest)

    return run


_DO: dict[str, Callable[..., Awaitable[Any]]] = {
    "act": _leaf("act"),
    "timer": _leaf("timer"),
    "wait": _leaf("wait"),
    "sleep": _sleep,
    "status": _status,
    "patch": _patch,
    "hold": _hold,
    "chance": _chance,
    "detach": _detach,
    "send": _send,
    "raise": _raise,
    "seq": _seq,
    "par": _par,
    "race": _race,
    "pick": _pick,
    "try": _try,
    "guard": _guard,
    "child": _child,
    "kin": _kin,
    "spawn": _spawn,
    "timeout": _timeout,
    "task": _task,
    "loose": _loose,
}
