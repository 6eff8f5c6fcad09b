"""Orchestrations whose families lie on two shards."""

import asyncio

from perdure import ActivityContext, ExternalEvent, Key, OrchestrationContext, Registry, activity, orchestration
from perdure._work import Shard

SAID = ExternalEvent[str]("said")
KEPT = Key[str]("kept")


def on(number: int, name: str = "order", count: int = 2) -> str:
    """An id that belongs to a shard."""
    shard = Shard(number=number, count=count)
    return next(each for each in (f"{name}-{n}" for n in range(1_000)) if shard.of(each) == number)


@activity
async def shout(word: str) -> str:
    return word.upper()


@orchestration
async def child(ctx: OrchestrationContext, word: str) -> str:
    return await ctx.schedule_activity(shout, word)


@orchestration
async def failing(_: OrchestrationContext, word: str) -> str:
    raise ValueError(word)


@orchestration
async def listening(ctx: OrchestrationContext) -> list[str]:
    """What was said, up to the word "end"."""
    heard = []
    while (word := await ctx.schedule_wait(SAID)) != "end":
        heard.append(word)
    return heard


@orchestration
async def patient(ctx: OrchestrationContext) -> str:
    """Waits for ever, and cleans up when it is cancelled."""
    try:
        await ctx.schedule_wait(SAID)
    except asyncio.CancelledError:
        ctx.set_custom_status("cleaned up")
        raise
    return "told"


@orchestration
async def parent(ctx: OrchestrationContext, child_id: str) -> str:
    return await ctx.schedule_sub_orchestration(child, "far", instance_id=child_id)


@orchestration
async def family(ctx: OrchestrationContext, ids: list[str]) -> list[str]:
    return await asyncio.gather(*(ctx.schedule_sub_orchestration(child, name, instance_id=name) for name in ids))


@orchestration
async def nested(ctx: OrchestrationContext, depth: int) -> int:
    """A line of children without ids of their own."""
    return depth and await ctx.schedule_sub_orchestration(nested, depth - 1)


@orchestration
async def waiting_parent(ctx: OrchestrationContext, child_id: str) -> str:
    return await ctx.schedule_sub_orchestration(patient, instance_id=child_id)


@orchestration
async def abandoning(ctx: OrchestrationContext, child_id: str) -> None:
    ctx.schedule_sub_orchestration(patient, instance_id=child_id, on_close="abandon")
    await ctx.schedule_activity(shout, "x")


@orchestration
async def catching(ctx: OrchestrationContext, child_id: str) -> str:
    try:
        await ctx.schedule_sub_orchestration(failing, "broken", instance_id=child_id)
    except Exception as error:  # noqa: BLE001 - what it says is what is asked
        return f"{type(error).__name__}: {error}"
    return "nothing"


@orchestration
async def hurrying(ctx: OrchestrationContext, child_id: str) -> str:
    """Starts a child and cancels it in the next turn."""
    task = ctx.schedule_sub_orchestration(patient, instance_id=child_id)
    await ctx.schedule_activity(shout, "x")
    task.cancel()
    return "cancelled"


@orchestration
async def talking(ctx: OrchestrationContext, listener: str) -> None:
    """Starts a listener, and tells it something, in order, over several turns."""
    ctx.schedule_orchestration(listening, instance_id=listener)
    for word in ("one", "two", "three"):
        ctx.raise_event(listener, SAID, word)
        await ctx.schedule_activity(shout, word)
    ctx.raise_event(listener, SAID, "end")


@activity
async def ask(ctx: ActivityContext, instance_id: str) -> str:
    """What another instance gives, by the client of the worker."""
    handle = await ctx.client.start_orchestration(child, "asked", instance_id=instance_id)
    return str(await handle.result())


@orchestration
async def keeping(ctx: OrchestrationContext) -> str:
    """Keeps what is said to it."""
    word = await ctx.schedule_wait(SAID)
    ctx.kv.set(KEPT, word)
    await ctx.schedule_wait(SAID)
    return word


@orchestration
async def reading(ctx: OrchestrationContext, instance_id: str) -> str | None:
    return await ctx.read_value(instance_id, KEPT)


@orchestration
async def asking(ctx: OrchestrationContext, instance_id: str) -> str:
    return await ctx.schedule_activity(ask, instance_id)


registry = Registry(
    shout, ask, child, failing, listening, patient, parent, family, nested, waiting_parent, abandoning, catching,
    hurrying, talking, asking, keeping, reading,
)  # fmt: skip
