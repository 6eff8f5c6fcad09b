"""Random asyncio programs made from a seed, and a random world that answers what they ask for.

`main` takes FIRST LAST RUBBISH from the command line and prints one line for each program: a digest of every turn's
events. `RUBBISH` objects are allocated first, so that addresses differ from another process's.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from hashlib import blake2b
from random import Random
from typing import Any

from perdure import OrchestrationContext, orchestration
from perdure import _events as ev
from perdure._core.ending import StuckError
from perdure.errors import ActivityError
from tests.core.harness import Conversation, dropped, replayed

# ruff: noqa: S311 - programs and worlds are random so that a seed repeats them

MESSAGES_MAX = 80
DEPTH_MAX = 3
LEAVES = ("act",) * 7 + ("sleep", "sleep", "hear", "fail", "futures", "pass")
BRANCHES = (
    "gather", "group", "group", "some", "within", "wait_for", "shield", "each", "queue", "lock", "try", "background",
    "select", "generator", "seq", "seq",
)  # fmt: skip
MODES = (asyncio.FIRST_COMPLETED, asyncio.FIRST_EXCEPTION, asyncio.ALL_COMPLETED)

Plan = tuple[Any, ...]


class BrokenPlan(Exception):
    """A program fails on purpose."""


def plan(rng: Random, depth: int = 0) -> Plan:
    """A random program as nested tuples."""
    kind = rng.choice(LEAVES if depth == DEPTH_MAX or (depth and rng.random() < 0.3) else BRANCHES)
    match kind:
        case "act" | "hear":
            return (kind, rng.choice("abcd"))
        case "sleep":
            return (kind, rng.choice((0, 0, 1, 2, 3)))
        case "futures":
            return (kind, [rng.choice("abcd") for _ in range(rng.randrange(2, 5))])
        case "fail" | "pass":
            return (kind,)
        case _:
            parts = [plan(rng, depth + 1) for _ in range(rng.randrange(2, 5))]
            return (kind, parts, rng.randrange(3))


async def run(ctx: OrchestrationContext, spec: Plan) -> None:
    """Carry out a plan."""
    await _KINDS[spec[0]](ctx, *spec[1:])


def task(ctx: OrchestrationContext, spec: Plan) -> "asyncio.Task[None]":
    return asyncio.create_task(run(ctx, spec))


async def _act(ctx: OrchestrationContext, name: str) -> None:
    await ctx.schedule_activity(name)


async def _sleep(ctx: OrchestrationContext, seconds: int) -> None:
    await asyncio.sleep(seconds)


async def _hear(ctx: OrchestrationContext, name: str) -> None:
    await ctx.schedule_wait(name)


async def _fail(ctx: OrchestrationContext) -> None:
    raise BrokenPlan


async def _pass(ctx: OrchestrationContext) -> None:
    pass


async def _futures(ctx: OrchestrationContext, names: list[str]) -> None:
    futures = {ctx.schedule_activity(name) for name in names}
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
    for future in futures:
        future.cancel()


async def _gather(ctx: OrchestrationContext, parts: list[Plan], choice: int) -> None:
    await asyncio.gather(*(run(ctx, part) for part in parts), return_exceptions=choice == 0)


async def _group(ctx: OrchestrationContext, parts: list[Plan], choice: int) -> None:
    async with asyncio.TaskGroup() as group:
        for part in parts:
            group.create_task(run(ctx, part))
        if choice == 0:
            await ctx.schedule_activity("body")


async def _some(ctx: OrchestrationContext, parts: list[Plan], choice: int) -> None:
    tasks = [task(ctx, part) for part in parts]
    done, pending = await asyncio.wait(tasks, timeout=choice or None, return_when=MODES[choice])
    for late in pending:
        late.cancel()
    for each in done:
        if not each.cancelled() and each.exception() is None:
            await ctx.schedule_activity("after")


async def _within(ctx: OrchestrationContext, parts: list[Plan], choice: int) -> None:
    try:
        async with asyncio.timeout(choice):
            await _seq(ctx, parts, choice)
    except TimeoutError:
        await ctx.schedule_activity("late")


async def _wait_for(ctx: OrchestrationContext, parts: list[Plan], choice: int) -> None:
    for part in parts:
        await asyncio.wait_for(run(ctx, part), choice + 1)


async def _shield(ctx: OrchestrationContext, parts: list[Plan], choice: int) -> None:
    await asyncio.gather(*(asyncio.shield(task(ctx, part)) for part in parts))


async def _each(ctx: OrchestrationContext, parts: list[Plan], choice: int) -> None:
    for next_done in asyncio.as_completed([task(ctx, part) for part in parts], timeout=choice or None):
        try:
            await next_done
        except BrokenPlan:
            await ctx.schedule_activity("broken")


async def _queue(ctx: OrchestrationContext, parts: list[Plan], choice: int) -> None:
    queue: asyncio.Queue[Plan] = asyncio.Queue(maxsize=choice)

    async def consume() -> None:
        while True:
            await run(ctx, await queue.get())
            queue.task_done()

    consumers = [asyncio.create_task(consume()) for _ in range(2)]
    for part in parts:
        await queue.put(part)
    joined = asyncio.create_task(queue.join())
    await asyncio.wait([joined, *consumers], return_when=asyncio.FIRST_COMPLETED)
    for consumer in consumers:
        consumer.cancel()


async def _lock(ctx: OrchestrationContext, parts: list[Plan], choice: int) -> None:
    lock = asyncio.Semaphore(choice or 1)

    async def locked(part: Plan) -> None:
        async with lock:
            await run(ctx, part)

    await asyncio.gather(*(locked(part) for part in parts))


async def _try(ctx: OrchestrationContext, parts: list[Plan], choice: int) -> None:
    try:
        await run(ctx, parts[0])
    except (BrokenPlan, ActivityError, TimeoutError):
        await ctx.schedule_activity("caught")
    finally:
        await run(ctx, parts[1])


async def _background(ctx: OrchestrationContext, parts: list[Plan], choice: int) -> None:
    background = set()
    for part in parts:
        started = task(ctx, part)
        background.add(started)
        started.add_done_callback(background.discard)
    await asyncio.sleep(choice)
    for each in background:
        each.cancel()


async def _select(ctx: OrchestrationContext, parts: list[Plan], choice: int) -> None:
    await ctx.select(ctx.schedule_activity("a"), *(task(ctx, part) for part in parts))


async def _generator(ctx: OrchestrationContext, parts: list[Plan], choice: int) -> None:
    async def steps() -> AsyncIterator[int]:
        try:
            for number, part in enumerate(parts):
                await run(ctx, part)
                yield number
        finally:
            await ctx.schedule_activity("cleanup")

    async for number in steps():
        if number == choice:
            break


async def _seq(ctx: OrchestrationContext, parts: list[Plan], choice: int) -> None:
    for part in parts:
        await run(ctx, part)


_KINDS: dict[str, Any] = {
    "act": _act,
    "sleep": _sleep,
    "hear": _hear,
    "fail": _fail,
    "pass": _pass,
    "futures": _futures,
    "gather": _gather,
    "group": _group,
    "some": _some,
    "within": _within,
    "wait_for": _wait_for,
    "shield": _shield,
    "each": _each,
    "queue": _queue,
    "lock": _lock,
    "try": _try,
    "background": _background,
    "select": _select,
    "generator": _generator,
    "seq": _seq,
}


@orchestration(name="random-program")
async def random_program(ctx: OrchestrationContext, seed: int) -> None:
    await run(ctx, plan(Random(seed)))


def play(seed: int) -> Conversation:
    """Run one program against its world, to its end, to a deadlock, or until the world grows tired of it."""
    talk = Conversation(random_program, always_replay=False)
    world = Random(seed + 1_000_000)
    with suppress(StuckError):
        talk.start(seed, secret=f"{seed:064x}")
        for _ in range(MESSAGES_MAX):
            if talk.execution.ending is not None:
                break
            _answer(talk, world)
    return talk


def _answer(talk: Conversation, world: Random) -> None:
    chance = world.random()
    if chance < 0.03:
        talk.cancel()
    elif chance < 0.2:
        talk.raise_event(world.choice("abcd"))
    else:
        asked = [talk.history[event_id - 1] for event_id in sorted(talk.execution.open)]
        timers = [event for event in asked if isinstance(event, ev.TimerCreated)]
        others = [event for event in asked if isinstance(event, ev.ActivityScheduled)]
        due = min(timers, key=lambda timer: (timer.fire_at, timer.id), default=None)
        choice = world.randrange(len(others) + 1)
        if due is not None and choice == len(others):
            talk.fire(due.id)
        elif others:
            source = others[choice % len(others)].id
            if world.random() < 0.15:
                talk.fail(source)
            else:
                talk.complete(source)


def digest(talk: Conversation) -> str:
    """Equal for two runs that asked for the same in the same order, turn by turn."""
    state = blake2b(digest_size=12)
    for turn in talk.turns:
        state.update(ev.encode_events(turn) + b"\n")
    return state.hexdigest()


def report(seed: int) -> str:
    """Run one program, replay it, and say what it did: one line."""
    talk = play(seed)
    for cut in sorted({Random(seed).randrange(len(talk.turns) + 1), len(talk.turns)}):
        twin = replayed(talk.stage, random_program, [event for turn in talk.turns[:cut] for event in turn])
        dropped(talk.stage, twin)
    stubborn = talk.drop()
    return f"{seed} {len(talk.turns)} {digest(talk)} {stubborn}"


def main() -> None:
    """Print the reports of a range of programs."""
    first, last, rubbish = map(int, sys.argv[1:])
    kept = [bytearray(Random(number).randrange(1, 500)) for number in range(rubbish)]
    for seed in range(first, last):
        print(report(seed))  # noqa: T201 - read by the process that compares
    del kept
