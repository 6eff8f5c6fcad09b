"""Programs whose histories are kept as each version of Python wrote them, and the messages that they are sent.

A step is `complete NAME` or `fail NAME` (the oldest open activity of that name), `fire` (the timer due first), `raise
NAME`, or `cancel`. A program is never changed: its recorded histories would no longer be its own. Add another instead.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from perdure import OrchestrationContext, orchestration
from perdure import _events as ev
from perdure.errors import ActivityError
from tests.core.harness import Conversation


async def act(ctx: OrchestrationContext, name: str) -> object:
    return await ctx.schedule_activity(name)


@orchestration(name="golden::gathers")
async def gathers(ctx: OrchestrationContext) -> list[object]:
    return await asyncio.gather(act(ctx, "a"), ctx.schedule_activity("b"), act(ctx, "c"))


@orchestration(name="golden::groups")
async def groups(ctx: OrchestrationContext) -> str:
    outcome = "done"
    try:
        async with asyncio.TaskGroup() as group:
            for name in "abcd":
                group.create_task(_with_cleanup(ctx, name))
    except* ActivityError:
        outcome = "failed"
    return outcome


async def _with_cleanup(ctx: OrchestrationContext, name: str) -> None:
    try:
        await ctx.schedule_activity(name)
    finally:
        await ctx.schedule_activity(f"cleanup {name}")


@orchestration(name="golden::waits-for-coroutines")
async def waits_for_coroutines(ctx: OrchestrationContext) -> list[object]:
    """Python 3.11 wraps what it waits for in a task, so that b is asked for before a; later ones do not."""
    return await asyncio.gather(asyncio.wait_for(act(ctx, "a"), 60), act(ctx, "b"))


@orchestration(name="golden::times-out")
async def times_out(ctx: OrchestrationContext) -> str:
    with suppress(TimeoutError):
        await asyncio.wait_for(act(ctx, "slow"), 5)
    try:
        async with asyncio.timeout(5):
            await asyncio.gather(act(ctx, "a"), act(ctx, "b"))
    except TimeoutError:
        return "late"
    return "in time"


@orchestration(name="golden::waits-for-some")
async def waits_for_some(ctx: OrchestrationContext) -> int:
    tasks = {asyncio.create_task(act(ctx, name)) for name in "abcdef"}
    done, pending = await asyncio.wait(tasks, timeout=60, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    for _ in done:
        await ctx.schedule_activity("after")
    return len(done)


@orchestration(name="golden::takes-as-completed")
async def takes_as_completed(ctx: OrchestrationContext) -> list[object]:
    taken = []
    for next_done in asyncio.as_completed([asyncio.create_task(act(ctx, name)) for name in "abc"]):
        taken.append(await next_done)
        await ctx.schedule_activity(f"took {len(taken)}")
    return taken


@orchestration(name="golden::queues")
async def queues(ctx: OrchestrationContext) -> int:
    queue: asyncio.Queue[str] = asyncio.Queue(maxsize=1)
    worked: list[object] = []

    async def work() -> None:
        while True:
            worked.append(await ctx.schedule_activity(await queue.get()))
            queue.task_done()

    workers = [asyncio.create_task(work()) for _ in range(2)]
    for name in "abcd":
        await queue.put(name)
    await queue.join()
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    return len(worked)


@orchestration(name="golden::locks")
async def locks(ctx: OrchestrationContext) -> None:
    lock, condition = asyncio.Lock(), asyncio.Condition()

    async def locked(name: str) -> None:
        async with lock:
            await ctx.schedule_activity(name)
        async with condition:
            condition.notify_all()

    async def listen() -> None:
        async with condition:
            await condition.wait()
        await ctx.schedule_activity("heard")

    await asyncio.gather(listen(), *(locked(name) for name in "ab"))


@orchestration(name="golden::compensates")
async def compensates(ctx: OrchestrationContext) -> None:
    try:
        async with asyncio.timeout(3600), asyncio.TaskGroup() as group:
            group.create_task(act(ctx, "a"))
            group.create_task(act(ctx, "b"))
    except asyncio.CancelledError:
        await asyncio.shield(act(ctx, "undo"))
        raise


@orchestration(name="golden::generates")
async def generates(ctx: OrchestrationContext) -> int:
    async def steps() -> AsyncIterator[int]:
        try:
            for number in range(9):
                await ctx.schedule_activity(f"step {number}")
                yield number
        finally:
            await ctx.schedule_activity("cleanup")

    async for number in steps():
        if number == 1:
            return number
    return -1


@orchestration(name="golden::listens")
async def listens(ctx: OrchestrationContext) -> object:
    first = await ctx.schedule_wait("go")
    winner, value = await ctx.select(
        ctx.schedule_wait("go"), ctx.schedule_timer(60), asyncio.create_task(act(ctx, "a"))
    )
    return [first, winner, value]


@orchestration(name="golden::swallows-a-cancel")
async def swallows_a_cancel(ctx: OrchestrationContext) -> str:
    """From Python 3.13 on, the failing group asks for the swallowed cancellation again, which ends the next wait."""
    with suppress(asyncio.CancelledError):
        await ctx.schedule_activity("a")
    with suppress(BaseException):
        async with asyncio.TaskGroup() as group:
            group.create_task(_fail())
    await ctx.schedule_activity("b")
    return "result"


async def _fail() -> None:
    raise ValueError


SCRIPTS = {
    gathers: ("complete c", "complete a", "complete b"),
    groups: (
        "complete b", "complete cleanup b", "fail c", "complete cleanup c", "complete cleanup a", "complete cleanup d",
    ),
    waits_for_coroutines: ("complete b", "complete a"),
    times_out: ("fire", "complete b", "fire"),
    waits_for_some: ("complete d", "complete after"),
    takes_as_completed: (
        "complete b", "complete c", "complete took 1", "complete took 2", "complete a", "complete took 3",
    ),
    queues: ("complete b", "complete c", "complete a", "complete d"),
    locks: ("complete a", "complete heard", "complete b"),
    compensates: ("complete b", "cancel", "complete undo"),
    generates: ("complete step 0", "complete step 1", "complete cleanup"),
    listens: ("raise go", "raise other", "fire"),
    swallows_a_cancel: ("cancel", "complete b"),
}  # fmt: skip
PROGRAMS = {program.name: program for program in SCRIPTS}


def play(program: "Conversation", steps: tuple[str, ...]) -> Conversation:
    """Send a program its messages; those that nothing waits for are left out."""
    program.start()
    for step in steps:
        _send(program, *step.partition(" ")[::2])
    return program


def _send(talk: Conversation, verb: str, name: str) -> None:
    waiting = [talk.history[event_id - 1] for event_id in sorted(talk.execution.open)]
    activities = [event.id for event in waiting if isinstance(event, ev.ActivityScheduled) and event.name == name]
    timers = [(event.fire_at, event.id) for event in waiting if isinstance(event, ev.TimerCreated)]
    match verb:
        case "complete" if activities:
            talk.complete(activities[0], name)
        case "fail" if activities:
            talk.fail(activities[0])
        case "fire" if timers:
            talk.fire(min(timers)[1])
        case "raise":
            talk.raise_event(name)
        case "cancel":
            talk.cancel()
